"""What passes between a frame and the rules: its numbers, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Value:
    """A quantity of a frame, with its credible interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Seen:
    """A change point that the tracker reported: series in its words, and both levels in words."""

    series: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Reading:
    """What one frame says.

    Attributes
    ----------
    frame, time_s
        Number in the session and time of acquisition, None where it is not known.
    values
        Quantities by name; one that is not known is left out.
    signs
        Whether each sign is there; one that cannot be told is left out.
    changes
        Change points; None for a frame that could not show any.
    dose
        Of this frame alone, e/Å²; None where its header does not tell.
    lost
        The frame brought no result.
    """

    frame: int
    time_s: float | None = None
    values: Mapping[str, Value] = field(default_factory=dict)
    signs: Mapping[str, bool] = field(default_factory=dict)
    changes: tuple[Seen, ...] | None = None
    dose: float | None = None
    lost: bool = False


@dataclass(frozen=True)
class Alarm:
    """A rule that has come true with this frame, or has ceased to (`active` False)."""

    frame: int
    time_s: float | None
    rule: str
    severity: str
    active: bool
    text: str
    values: Mapping[str, Any]
