"""What the tests of the CUDA C kernels share: drawn inputs, and memory that shows what is read."""

from __future__ import annotations

import os
from types import SimpleNamespace

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
    beyond = np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    guarded = np.full(array.size + 2 * GUARD, beyond, array.dtype)
    guarded[GUARD : GUARD + array.size] = array.reshape(-1)
    return double.ndarray(guarded[GUARD : GUARD + array.size].reshape(array.shape))
