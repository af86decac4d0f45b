"""Change points: a mark on the series at its new level, and a line in the log."""

from __future__ import annotations

import rerun as rr

from latticewatch.viewer.drawing import Entry
from latticewatch.viewer.turns import Turn

#: Entities of the marks, by the part of the statistics that the series belongs to; series that are
#: not drawn have no mark, only their line in the log.
_MARKED = {
    "populations": "populations/changes",
    "fractions.hole": "fractions/changes",
    "fractions.disordered": "fractions/changes",
}

_WHITE, _YELLOW = (255, 255, 255), (240, 228, 66)

_SIZE = 5.0


def mark_styles() -> list[Entry]:
    """How marks are drawn; holds for all times."""
    style = rr.SeriesPoints(colors=_WHITE, markers="diamond", names="change", marker_sizes=_SIZE)
    return [(entity, style) for entity in sorted(set(_MARKED.values()))]


def mark_entry(turn: Turn) -> Entry | None:
    """Return the mark, which belongs to the first frame at the new level."""
    group = turn.series.partition(".")[0]
    entity = _MARKED.get(turn.series) or _MARKED.get(group)
    return None if entity is None else (entity, rr.Scalars(turn.factor * turn.after.value))


def log_entry(turn: Turn) -> Entry:
    """Return the line in the log, which belongs to the frame that showed the change."""
    return ("alerts", rr.TextLog(str(turn), level="WARN", color=_YELLOW))
