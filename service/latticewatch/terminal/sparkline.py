"""A series of numbers as one row of characters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from latticewatch.terminal.glyphs import Glyphs


def binned(values: Sequence[float], width: int) -> list[float]:
    """Means of at most `width` groups of successive values, as even as can be; NaN is left out.

    A group without any number is NaN.
    """
    groups = min(width, len(values))
    edges = [k * len(values) // groups for k in range(groups + 1)] if groups > 0 else [0]
    return [_mean(values[first:last]) for first, last in itertools.pairwise(edges)]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def sparkline(values: Sequence[float], width: int, glyphs: Glyphs) -> str:
    """Draw values between their least and their greatest; a blank is no value.

    Where all are alike it is a line at the lowest level.

    Parameters
    ----------
    values
        Oldest first; NaN where nothing is known.
    width
        Most characters; more values are averaged in groups.
    glyphs
        What to draw with.
    """
    bins = binned(values, width)
    known = [value for value in bins if math.isfinite(value)]
    if not known:
        return " " * len(bins)
    low, high = min(known), max(known)
    step = (high - low) / len(glyphs.levels)
    top = len(glyphs.levels) - 1

    def level(value: float) -> str:
        if not math.isfinite(value):
            return " "
        return glyphs.levels[min(top, int((value - low) / step)) if step > 0 else 0]

    return "".join(level(value) for value in bins)


def extent(values: Sequence[float], width: int) -> tuple[float, float] | None:
    """Return the least and the greatest value that `sparkline` draws."""
    known = [value for value in binned(values, width) if math.isfinite(value)]
    return (min(known), max(known)) if known else None
