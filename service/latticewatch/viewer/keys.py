"""Values out of the published statistics; what is missing or of another form is None."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Band:
    """An estimate and its interval."""

    value: float
    low: float
    high: float


def at(data: Any, *keys: str) -> Any:
    """Return what lies below these keys."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def number(value: Any) -> float | None:
    """Return a finite number."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if known and math.isfinite(value) else None


def text(value: Any) -> str | None:
    """Return a text."""
    return value if isinstance(value, str) else None


def rows(value: Any) -> Sequence[Any]:
    """Return a list, an empty one for what is none."""
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def band(row: Any, key: str = "value") -> Band | None:
    """Return an estimate with its interval; the estimate's own name is `key`."""
    value, low, high = (number(at(row, name)) for name in (key, "low", "high"))
    if value is None or low is None or high is None:
        return None
    return Band(value, low, high)


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
