"""Numbers and estimates in words, as the report's text and tables give them."""

from __future__ import annotations

from typing import Any

import numpy as np

from latticewatch.report.keys import Estimate, dig

NOT_KNOWN = "not known"


def plain(value: float, unit: str = "") -> str:
    """Give a number with its unit."""
    return f"{value:.4g} {unit}".strip() if np.isfinite(value) else NOT_KNOWN


def told(one: Estimate, unit: str = "") -> str:
    """Give an estimate with its unit and, in brackets, its interval; three digits of each."""
    if not np.isfinite(one.value):
        return NOT_KNOWN
    return f"{one.value:.3g} {unit}".strip() + f" ({one.low:.3g} to {one.high:.3g})"


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
