"""Figures of how the vacancies move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from latticewatch.client.table import DefectTable
from latticewatch.published import Estimate
from latticewatch.report.movement import Motion, Walk
from latticewatch.report.parts import WIDTH
from latticewatch.report.words import ten_to

#: More paths than these cannot be told apart.
_MOST_PATHS = 40

_COLOURS = {"all": "#0072B2", "free": "#E69F00"}
_MARKERS = {"all": "o", "free": "s"}


def motion(found: Motion, table: DefectTable) -> Figure:
    """Draw paths (nm), D by direction and in all (nm^2/s), and hop rates by lattice line (1/s)."""
    figure = Figure(figsize=(WIDTH, 6.4), layout="constrained")
    (paths, tensor), (whole, lines) = figure.subplots(2, 2, height_ratios=[1.25, 1])
    _paths(paths, found.species, table)
    walks = [("all", found.all), ("free", found.free)]
    _directions(tensor, walks)
    rows = [(name, walk.diffusion) for name, walk in walks]
    for at, (name, one) in enumerate(rows):
        _bar(whole, at, one, name)
    names = ["all", "free"]
    if found.windows:
        middle = float(np.median([one.value for one in found.windows]))
        whole.plot([2], [middle], "x", color="#D55E00", ms=8, mew=2)
        names.append("original's\n(biased)")
    whole.set_xticks(range(len(names)), names)
    whole.set(ylabel="D (nm²/s)", title="diffusion coefficient", ylim=(0, None))
    whole.margins(x=0.25)
    for shift, (name, walk) in zip((-0.12, 0.12), walks, strict=True):
        for at, (_, one) in enumerate(walk.lines):
            _bar(lines, at + shift, one, name)
    lines.set_xticks(range(len(found.all.lines)), [line for line, _ in found.all.lines])
    lines.set(ylabel="hops (1/s)", title="hop rate along each line", ylim=(0, None))
    lines.margins(x=0.25)
    return figure


def _paths(ax: Any, species: str, table: DefectTable) -> None:
    mine = table.select((table.species == species) & (table.track >= 0))
    tracks, counts = np.unique(mine.track, return_counts=True)
    for track in tracks[np.argsort(-counts, kind="stable")][:_MOST_PATHS]:
        path = mine.track == track
        ax.plot(mine.x_nm[path], mine.y_nm[path], ".-", lw=0.9, ms=3)
    ax.set(xlabel="x (nm)", ylabel="y (nm)", aspect="equal", title=f"paths of {species}")
    ax.invert_yaxis()


def _directions(ax: Any, walks: Sequence[tuple[str, Walk]]) -> None:
    """Draw D along every direction u, u D u, as the distance from the centre."""
    turn = np.linspace(0, 2 * np.pi, 361)
    ways = np.stack([np.cos(turn), np.sin(turn)])
    curves = [(name, *_along(walk, ways)) for name, walk in walks]
    most = max((float(np.nanmax(one)) for _, one, _ in curves if np.isfinite(one).any()), default=0)
    power = int(np.floor(np.log10(most))) if most > 0 else 0
    for name, along, mean in curves:
        ax.plot(*(ways * along / 10.0**power), color=_COLOURS[name], lw=1.8, label=name)
        ax.plot(*(ways * mean / 10.0**power), color=_COLOURS[name], lw=0.9, ls=":")
    reach = 1.3 * most / 10.0**power or 1.0
    for (line, _), angle in zip(walks[0][1].lines, walks[0][1].angles, strict=True):
        way = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        ax.plot(*np.outer(way, [-reach, reach]), color="#bbbbbb", lw=0.8, zorder=0)
        box = {"fc": "white", "ec": "none", "pad": 1.5}
        ax.text(*(0.87 * reach * way), line, ha="center", va="center", bbox=box)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title="D by direction")
    unit = f"({ten_to(power)} nm²/s)" if power else "(nm²/s)"
    ax.set(xlabel=f"D along a1 {unit}", ylabel=f"D 90° on {unit}")
    ax.legend(loc="lower right", frameon=False)


def _along(walk: Walk, ways: np.ndarray) -> tuple[np.ndarray, float]:
    """D along unit vectors (2, n), and its mean over all directions."""
    xx, xy, yy = (one.value for one in walk.tensor)
    along = xx * ways[0] ** 2 + 2 * xy * ways[0] * ways[1] + yy * ways[1] ** 2
    return along, (xx + yy) / 2


def _bar(ax: Any, at: float, one: Estimate, name: str) -> None:
    ax.plot([at, at], [one.low, one.high], "-", color=_COLOURS[name], lw=2)
    ax.plot([at], [one.value], _MARKERS[name], color=_COLOURS[name])
