"""What crosses between host and device: little, in one piece, and tables only once.

Every crossing down makes the host wait until the device is done, and every crossing costs some ten
microseconds whatever its size. On the host arrays are handed through as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from latticewatch_kernels.arrays import (
    ALIGNMENT,
    array_module,
    device_number,
    on_device,
    to_host,
)
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.recording import held

#: Tables that are kept: a dozen for each shape of frames, so that five shapes fit.
TABLES = 64

#: Tables that depend on a frame's lattice, too: two for each thread, while its frame lasts.
PASSING_TABLES = 16


def table(like: Array, make: Callable[..., np.ndarray], *key: Any) -> Array:
    """Give ``make(*key)`` on the side of ``like``, where it is kept for the next frame.

    Parameters
    ----------
    like
        An array of the side where the table is wanted.
    make
        A pure function whose result depends on the key alone; nothing may write into it.
    key
        Its arguments, hashable: what frames of one shape have in common.
    """
    return held(_kept(array_module(like), device_number(like), make, key))


def passing_table(like: Array, make: Callable[..., np.ndarray], *key: Any) -> Array:
    """Like `table`, for a key that the next frame does not share: kept only for this one."""
    return _kept_for_now(array_module(like), device_number(like), make, key)


def _made(xp: Any, device: int, make: Callable[..., np.ndarray], key: tuple[Any, ...]) -> Array:
    # Threads share it: all of them work on CuPy's one default stream, so that the table is there
    # before whatever is asked of the device next. The device is part of the key, not of the work.
    del device
    made = make(*key)
    made.flags.writeable = False
    return xp.asarray(made)


_kept, _kept_for_now = lru_cache(maxsize=TABLES)(_made), lru_cache(maxsize=PASSING_TABLES)(_made)


def up(like: Array, *arrays: np.ndarray) -> tuple[Array, ...]:
    """Take arrays of the host to the side of ``like``, in one crossing."""
    if not on_device(like):
        return arrays
    starts = np.cumsum([0, *(-(-a.nbytes // ALIGNMENT) * ALIGNMENT for a in arrays)])
    packed = np.zeros(starts[-1], np.uint8)
    for start, array in zip(starts, arrays, strict=False):
        packed[start : start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view("u1")
    above = array_module(like).asarray(packed)
    return tuple(
        above[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        for start, array in zip(starts, arrays, strict=False)
    )


def down(*arrays: Array) -> tuple[np.ndarray, ...]:
    """Bring arrays to the host, in one crossing; all lie on the same side."""
    if not on_device(arrays[0]):
        return tuple(np.asarray(array) for array in arrays)
    if len(arrays) == 1:
        return (to_host(arrays[0]),)
    xp = array_module(arrays[0])
    parts = [xp.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays]
    packed = to_host(xp.concatenate(parts))
    ends = np.cumsum([array.nbytes for array in arrays])
    return tuple(
        # a copy is aligned, which a part of the packed bytes need not be
        packed[end - array.nbytes : end].copy().view(array.dtype).reshape(array.shape)
        for end, array in zip(ends, arrays, strict=True)
    )
