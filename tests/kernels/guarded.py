"""What the tests of the CUDA C kernels share: drawn inputs, and memory that shows what is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: The double stands in for CuPy and keeps nothing from one example to the next. Several threads,
#: which `test_cuda_races` asks for, take long.
drawn = settings(
    deadline=None,
    max_examples=10 if "CUDA_ON_HOST_THREADS" in os.environ else 60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

#: Numbers on either side of an array that a kernel is given: more than two rows of any image.
GUARD = 32

seeds = st.integers(0, 2**32 - 1)


def above(double: SimpleNamespace, array: np.ndarray):
    """Array on the device, with NaN before and after it in memory: what is read there shows.

    Around whole numbers it is their greatest.
    """
    guarded = np.full(array.size + 2 * GUARD, _beyond(array.dtype), array.dtype)
    guarded[GUARD : GUARD + array.size] = array.reshape(-1)
    return double.ndarray(guarded[GUARD : GUARD + array.size].reshape(array.shape))


@contextmanager
def fenced(double: Any) -> Iterator[None]:
    """Surround what the device allocates as `above` does, and hold against it what was written.

    What `empty` gives holds the same, so that reading what nobody wrote shows, too.
    """
    if hasattr(double, "real"):  # there memory is CUDA's to guard (compute-sanitizer)
        yield
        return
    xp, made = double.cupy, []

    def allocate(shape: int | tuple[int, ...], dtype: Any, value: Any) -> Any:
        size = int(np.prod(shape))
        memory = np.full(size + 2 * GUARD, _beyond(np.dtype(dtype)), dtype)
        inner = memory[GUARD : GUARD + size]
        if value is not None:
            inner[:] = value
        made.append(memory)
        return double.ndarray(inner.reshape(shape))

    def zeros(shape: int | tuple[int, ...], dtype: Any) -> Any:
        double.traffic.count_operation("zeros")
        return allocate(shape, dtype, 0)

    xp.empty, xp.zeros = (lambda shape, dtype: allocate(shape, dtype, None)), zeros
    try:
        yield
    finally:
        del xp.empty, xp.zeros
    for memory in made:
        outside = np.concatenate([memory[:GUARD], memory[-GUARD:]])
        expected = np.full(len(outside), _beyond(memory.dtype), memory.dtype)
        np.testing.assert_array_equal(outside, expected, "written outside of an array")


def _beyond(dtype: np.dtype) -> Any:
    return np.nan if dtype.kind == "f" else np.iinfo(dtype).max
