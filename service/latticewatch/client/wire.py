"""msgpack with numeric arrays: an extension type with a short list of dtypes and checked sizes.

Nothing here can make an object of a class that the sender names: no pickle, no other extension.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np

from latticewatch.client.errors import MessageError

#: msgpack extension code of an array.
ARRAY_CODE = 1

#: Dtypes that an array on the wire may have; all little-endian.
ARRAY_DTYPES = frozenset(
    ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
     "float32", "float64")
)  # fmt: skip

#: Most dimensions of an array on the wire: a stack of patches has 3, none needs more than 4.
MAX_DIMENSIONS = 4

#: Largest result message. An overlay of 8192 x 8192 uint8 is 64 MiB.
MAX_MESSAGE_BYTES = 96 * 2**20

#: What msgpack raises on bytes that are no message; RecursionError from its pure-Python fallback.
UNPACK_ERRORS = (
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
    msgpack.UnpackException,
)


def little_endian(dtype: np.dtype[Any] | str) -> np.dtype[Any]:
    """Return the dtype as it stands on the wire."""
    return np.dtype(dtype).newbyteorder("<")


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        name = value.dtype.name
        if name not in ARRAY_DTYPES or value.ndim > MAX_DIMENSIONS:
            raise TypeError(
                f"an array of dtype {name} and {value.ndim} dimensions has no place on the wire"
            )
        raw = np.ascontiguousarray(value, dtype=little_endian(value.dtype))
        head = msgpack.packb([name, list(value.shape)])
        return msgpack.ExtType(ARRAY_CODE, head + raw.tobytes())
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} has no place on the wire")


def _decode(code: int, data: bytes) -> Any:
    if code != ARRAY_CODE:
        raise MessageError(f"extension type {code} is not known: sender and receiver differ")
    unpacker = msgpack.Unpacker(max_buffer_size=len(data) or 1, max_array_len=MAX_DIMENSIONS)
    unpacker.feed(data)
    head = unpacker.unpack()
    if not (isinstance(head, list) and len(head) == 2 and isinstance(head[1], list)):
        raise MessageError("an array lacks its dtype and shape")
    name, shape = head
    if name not in ARRAY_DTYPES:
        raise MessageError(f"arrays of dtype {name!r} are not accepted")
    if not all(type(side) is int and 0 <= side <= MAX_MESSAGE_BYTES for side in shape):
        raise MessageError(f"an array claims the shape {shape}")
    raw = memoryview(data)[unpacker.tell() :]
    dtype = little_endian(name)
    if math.prod(shape) * dtype.itemsize != len(raw):
        raise MessageError(f"an array of shape {shape} and dtype {name} has {len(raw)} bytes")
    return np.frombuffer(raw, dtype).reshape(shape)


def pack(value: Any) -> bytes:
    """Encode plain values and numeric arrays; raises TypeError for anything else."""
    return bytes(msgpack.packb(value, default=_encode))


def unpack(data: bytes | memoryview, limit: int = MAX_MESSAGE_BYTES) -> Any:
    """Decode what `pack` wrote; arrays come back read-only.

    Raises
    ------
    MessageError
        The bytes are more than `limit`, damaged, or hold something that is not accepted.
    """
    if len(data) > limit:
        raise MessageError(f"a message of {len(data)} bytes is over the limit of {limit}")
    try:
        return msgpack.unpackb(data, ext_hook=_decode, strict_map_key=True)
    except MessageError:
        raise
    except UNPACK_ERRORS as error:
        raise MessageError(f"not a msgpack message ({error or type(error).__name__})") from error
