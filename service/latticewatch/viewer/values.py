"""Published statistics in the forms that the viewer wants; what is missing or unfit is None."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from latticewatch.published import Estimate, at, number


def text(value: Any) -> str | None:
    """Return a text."""
    return value if isinstance(value, str) else None


def rows(value: Any) -> Sequence[Any]:
    """Return a list, an empty one for what is none."""
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def band(row: Any, key: str = "value") -> Estimate | None:
    """Return an estimate with its interval; the estimate's own name is `key`."""
    value, low, high = (number(at(row, name)) for name in (key, "low", "high"))
    if value is None or low is None or high is None:
        return None
    return Estimate(value, low, high)


def floats(value: Any) -> np.ndarray | None:
    """Return rows of numbers as a matrix, None in them as NaN."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.ndim == 2 and array.size else None


def matrix(value: Any, *shape: int) -> np.ndarray | None:
    """Return a matrix of finite or unknown (NaN) numbers that has this shape."""
    array = floats(value)
    return array if array is not None and array.shape == shape else None
