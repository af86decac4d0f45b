"""Change points as the report lists and draws them."""

from __future__ import annotations

from dataclasses import dataclass

from latticewatch.report.contents import Contents
from latticewatch.report.values import estimate
from latticewatch.report.words import told

#: Units of the series whose names do not tell them.
_UNITS = {
    "lattice.constant_px": ("lattice constant", "px"),
    "defect_density_nm2": ("defect density", "/nm²"),
    "fractions.crystalline": ("crystalline share", ""),
    "fractions.disordered": ("disordered share", ""),
    "fractions.hole": ("hole share", ""),
}


@dataclass(frozen=True)
class Jump:
    """A change point: its label in figure and table, first frame at the new level, and levels."""

    label: str
    frame: int
    reported: int
    name: str
    before: str
    after: str


def _named(series: str) -> tuple[str, str]:
    """Name and unit of a series; what is counted is counted in a frame."""
    part, _, counted = series.partition(".")
    state = "state " if part == "states" else ""
    return _UNITS.get(series, (f"{state}{counted or series}", "in a frame" if counted else ""))


def jumps(contents: Contents) -> tuple[Jump, ...]:
    """List them in order; with intervals where the statistics still hold them."""
    known = contents.statistics.get("changes")
    last = known.get("last") if isinstance(known, dict) else None
    details = {
        (one.get("series"), one.get("reported")): one
        for one in (last if isinstance(last, list) else [])
        if isinstance(one, dict)
    }
    found = []
    for at, row in enumerate(contents.changes, 1):
        series, _, before = str(row["before"]).partition(" = ")
        level, _, first = str(row["after"]).partition(" = ")[2].partition(" from frame ")
        name, unit = _named(series)
        one = details.get((series, row["frame"]))
        found.append(
            Jump(
                str(at),
                int(first) if first.isdigit() else int(row["frame"]),
                int(row["frame"]),
                name,
                told(estimate(one, "before"), unit) if one else f"{before} {unit}".strip(),
                told(estimate(one, "after"), unit) if one else f"{level} {unit}".strip(),
            )
        )
    return tuple(found)
