"""Figures of how the vacancies move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from latticewatch.client.table import DefectTable
from latticewatch.report.keys import Estimate, Motion

#: More paths than these cannot be told apart.
_MOST_PATHS = 40


def motion(found: Motion, table: DefectTable) -> Figure:
    """Draw paths (nm), D (nm^2/s) and hop rates by lattice line (1/s)."""
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.3, 1, 1])
    mine = table.select((table.species == found.species) & (table.track >= 0))
    tracks, counts = np.unique(mine.track, return_counts=True)
    for track in tracks[np.argsort(-counts, kind="stable")][:_MOST_PATHS]:
        path = mine.track == track
        left.plot(mine.x_nm[path], mine.y_nm[path], ".-", lw=0.9, ms=3)
    left.set(xlabel="x (nm)", ylabel="y (nm)", aspect="equal", title=f"paths of {found.species}")
    left.invert_yaxis()
    values = [np.median([one.value for one in found.windows])] if found.windows else []
    rows = [("all", found.diffusion), ("free", found.free)]
    _bars(middle, rows, "D (nm²/s)")
    if values:
        middle.plot([2], values, "x", color="#D55E00")
        middle.set_xticks([0, 1, 2], ["all", "free", "original's\n(biased)"])
    middle.set(title="diffusion coefficient")
    _bars(right, found.lines, "hops (1/s)")
    right.set(title="hop rate along each line")
    return figure


def _bars(ax: Any, rows: Sequence[tuple[str, Estimate]], unit: str) -> None:
    for at, (_, one) in enumerate(rows):
        ax.plot([at, at], [one.low, one.high], "-", color="#0072B2", lw=2)
        ax.plot([at], [one.value], "o", color="#0072B2")
    ax.set_xticks(range(len(rows)), [name for name, _ in rows])
    ax.set_ylabel(unit)
    ax.set_ylim(bottom=0)
    ax.margins(x=0.25)
