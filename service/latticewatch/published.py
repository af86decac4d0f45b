"""Values out of published statistics, of which any may be missing; shared by viewer and report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its interval."""

    value: float
    low: float
    high: float


def at(data: Any, *keys: str) -> Any:
    """Return what lies below these keys; None where anything on the way is missing."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def number(value: Any) -> float | None:
    """Return a finite number; None for anything else."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if known and math.isfinite(value) else None
