"""Numbers and estimates in words, as the report's text and tables give them."""

from __future__ import annotations

from typing import Any

import numpy as np

from latticewatch.published import Estimate
from latticewatch.report.values import dig

NOT_KNOWN = "not known"

#: Numbers from the one up to the other are written without a power of ten.
_LEAST, _MOST = 1e-3, 1e5

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain(value: float, unit: str = "") -> str:
    """Give a number with four digits and its unit."""
    if not np.isfinite(value):
        return NOT_KNOWN
    power = 0 if value == 0 or _LEAST <= abs(value) < _MOST else _power(abs(value))
    digits = np.format_float_positional(
        value / 10.0**power, precision=4, fractional=False, trim="-"
    )
    return f"{digits}{_scale(power)} {unit}".strip()


def told(one: Estimate, unit: str = "") -> str:
    """Give an estimate with, in brackets, its interval, and its unit.

    As many digits as the interval is wide: its half with two. Small and large numbers share a
    power of ten.
    """
    if not np.isfinite(one.value):
        return NOT_KNOWN
    known = [end for end in (one.value, one.low, one.high) if np.isfinite(end)]
    most = max(map(abs, known))
    power = 0 if most == 0 or _LEAST <= most < _MOST else _power(most)
    half = (max(known) - min(known)) / max(len(known) - 1, 1) / 10.0**power
    decimals = max(0, 1 - _power(half)) if half > 0 else 3 if power else 0
    value, low, high = (
        f"{end / 10.0**power:.{decimals}f}" for end in (one.value, one.low, one.high)
    )
    if np.isfinite([one.low, one.high]).all():
        within = f"{low} to {high}"
    elif np.isfinite(one.low):
        within = f"at least {low}"
    else:
        within = f"at most {high}" if np.isfinite(one.high) else "interval not known"
    return f"{value} ({within}){_scale(power)} {unit}".strip()


def _scale(power: int) -> str:
    return f" \N{MULTIPLICATION SIGN} {ten_to(power)}" if power else ""


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
