"""Numbers in as few characters as tell them."""

from __future__ import annotations

import math

from latticewatch.published import Estimate


def brief(value: float | None, digits: int = 3) -> str:
    """Write a number with so many significant digits, ``-`` for none."""
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    if abs(value) >= 10.0 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def interval(band: Estimate | None, *, factor: float = 1.0, digits: int = 3) -> str:
    """Write the ends of an interval times a factor, empty for none."""
    if band is None:
        return ""
    return f"[{brief(factor * band.low, digits)}, {brief(factor * band.high, digits)}]"


def banded(band: Estimate | None, *, factor: float = 1.0, digits: int = 3) -> str:
    """Write an estimate with its interval."""
    if band is None:
        return "-"
    return f"{brief(factor * band.value, digits)} {interval(band, factor=factor, digits=digits)}"
