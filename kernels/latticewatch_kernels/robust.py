"""Medians of many short arrays, for which `numpy.median` spends most of its time on its checks."""

from __future__ import annotations

import numpy as np

#: Standard deviations of a normal distribution to its median absolute deviation.
NORMAL_SIGMAS = 1.4826


def median(values: np.ndarray) -> float:
    """Median of a one-dimensional array that holds no NaN, on the host.

    Raises
    ------
    ValueError
        The array is empty.
    """
    if not len(values):
        raise ValueError("nothing has no median: give at least one value")
    half = len(values) // 2
    parted = np.partition(values, half)
    if len(values) % 2:
        return float(parted[half])
    return 0.5 * (float(parted[half]) + float(parted[:half].max()))


def spread(values: np.ndarray) -> float:
    """Tell a normal variable's standard deviation about 0 by the median of its absolute values."""
    return NORMAL_SIGMAS * median(np.abs(values))
