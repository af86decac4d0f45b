"""State as bytes: msgpack, with arrays as their raw buffers. Equal states give equal bytes."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np

_ARRAY = 1


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        dtype = np.lib.format.dtype_to_descr(value.dtype)
        body = [dtype, list(value.shape), np.ascontiguousarray(value).tobytes()]
        return msgpack.ExtType(_ARRAY, msgpack.packb(body))
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be saved: use numbers, strings and arrays")


def _dtype(description: Any) -> np.dtype[Any]:
    if isinstance(description, str):
        return np.dtype(description)
    fields = [(f[0], f[1]) if len(f) == 2 else (f[0], f[1], tuple(f[2])) for f in description]
    return np.dtype(fields)


def _decode(code: int, data: bytes) -> Any:
    if code != _ARRAY:
        raise ValueError(f"unknown extension {code} in a saved state: it is from another version")
    dtype, shape, body = msgpack.unpackb(data)
    return np.frombuffer(body, _dtype(dtype)).reshape(shape).copy()


def pack(state: dict[str, Any]) -> bytes:
    """Turn nested dicts, lists, numbers, strings and arrays into bytes."""
    return bytes(msgpack.packb(state, default=_encode))


def unpack(data: bytes) -> dict[str, Any]:
    """Undo `pack`; raises ValueError if `data` is no saved state."""
    try:
        state = msgpack.unpackb(data, ext_hook=_decode, strict_map_key=False)
    except (msgpack.exceptions.ExtraData, msgpack.exceptions.FormatError, ValueError) as error:
        raise ValueError(f"this is no saved tracker state ({error}): start afresh") from error
    if not isinstance(state, dict):
        raise ValueError("this is no saved tracker state: start afresh")  # noqa: TRY004 - content
    return state
