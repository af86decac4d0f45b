"""Numbers and estimates in words, as the report's text and tables give them."""

from __future__ import annotations

from typing import Any

import numpy as np

from latticewatch.report.keys import Estimate, dig

NOT_KNOWN = "not known"

#: Numbers from the one up to the other are written without a power of ten.
_LEAST, _MOST = 1e-3, 1e5

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain(value: float, unit: str = "") -> str:
    """Give a number with its unit."""
    return f"{value:.4g} {unit}".strip() if np.isfinite(value) else NOT_KNOWN


def told(one: Estimate, unit: str = "") -> str:
    """Give an estimate with, in brackets, its interval, and its unit.

    As many digits as the interval is wide: its half with two. Small and large numbers share a
    power of ten.
    """
    if not np.isfinite(one.value):
        return NOT_KNOWN
    ends = (one.value, one.low, one.high)
    most = max(map(abs, ends), default=0.0)
    power = 0 if not np.isfinite(most) or _LEAST <= most < _MOST or most == 0 else _power(most)
    half = (one.high - one.low) / 2 / 10.0**power
    decimals = max(0, 1 - _power(half)) if np.isfinite(half) and half > 0 else 3 if power else 0
    value, low, high = (f"{end / 10.0**power:.{decimals}f}" for end in ends)
    scale = f" \N{MULTIPLICATION SIGN} {ten_to(power)}" if power else ""
    return f"{value} ({low} to {high}){scale} {unit}".strip()


def ten_to(power: int) -> str:
    """Write a power of ten."""
    return f"10{str(power).translate(_RAISED)}"


def _power(value: float) -> int:
    return int(np.floor(np.log10(value)))


def word(data: Any, path: str) -> str:
    """Give whatever lies at a dotted path."""
    found = dig(data, path)
    return NOT_KNOWN if found is None else shown(found)


def shown(value: Any) -> str:
    """Give a setting or another plain value as a reader expects it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value)) or "none"
    return str(value) or "none"


def probability(value: float) -> str:
    """Give the p-value of a test; a very small one as a bound."""
    if not np.isfinite(value):
        return f"p {NOT_KNOWN}"
    return f"p = {value:.2g}" if value >= 1e-4 else "p < 0.0001"
