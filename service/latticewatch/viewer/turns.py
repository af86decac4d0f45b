"""Change points as the statistics tell them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from latticewatch.published import Estimate, at, number
from latticewatch.viewer.values import band, rows, text


@dataclass(frozen=True)
class Turn:
    """A change point.

    Attributes
    ----------
    series
        Which series changed, as the place of its statistics: ``populations.VS``.
    frame, reported
        The first frame at the new level, and the one that showed it.
    before, after
        Levels with their intervals.
    """

    series: str
    frame: int
    reported: int
    before: Estimate
    after: Estimate

    @property
    def name(self) -> str:
        """What changed, in short: ``VS``, ``hole fraction``, ``defect density``."""
        group, _, name = self.series.rpartition(".")
        if group == "fractions":
            return f"{name} fraction"
        return name.replace("defect_density_nm2", "defect density").replace("_px", "")

    @property
    def unit(self) -> str:
        """Of the levels; fractions are told in per cent."""
        group, _, name = self.series.rpartition(".")
        if group == "fractions":
            return " %"
        return " /nm²" if name == "defect_density_nm2" else " px" if name.endswith("_px") else ""

    @property
    def factor(self) -> float:
        """What the levels are multiplied by for that unit."""
        return 100.0 if self.series.startswith("fractions.") else 1.0

    def __str__(self) -> str:
        before, after, low, high = (
            self.factor * level
            for level in (self.before.value, self.after.value, self.after.low, self.after.high)
        )
        return (
            f"{self.name} {before:.3g} → {after:.3g} [{low:.3g}, {high:.3g}]{self.unit}"
            f" from frame {self.frame}"
        )


def read_turns(data: Mapping[str, Any]) -> tuple[Turn, ...]:
    """Return the last change points, oldest first; at most as many as the service remembers."""
    return tuple(turn for row in rows(at(data, "changes", "last")) for turn in _turn(row))


def _turn(row: Any) -> Iterator[Turn]:
    series, before, after = text(at(row, "series")), band(at(row, "before")), band(at(row, "after"))
    frame, reported = number(at(row, "frame")), number(at(row, "reported"))
    if series and before and after and frame is not None and reported is not None:
        yield Turn(series, int(frame), int(reported), before, after)
