"""Frames a second, by when they came or were published."""

from __future__ import annotations

from collections.abc import Sequence

#: Frames that it takes to tell a rate: frames that were committed together come together.
LEAST_FOR_RATE = 10


def per_second(times_s: Sequence[float]) -> float | None:
    """Return the rate of events by their times (n,), oldest first; None where they are too few."""
    if len(times_s) < LEAST_FOR_RATE:
        return None
    span = times_s[-1] - times_s[0]
    return (len(times_s) - 1) / span if span > 0 else None
