"""Figures of where the defects are: frames, maps, and space-time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from latticewatch.client.table import DefectTable
from latticewatch.palette import style_of
from latticewatch.report.parts import WIDTH

#: More points than these hide one another in the scatter and make the page heavy.
_MOST_POINTS = 20_000

#: Side of a frame in the overlays, room around it and for the legend, inches.
_PANEL, _LEFT, _BETWEEN, _ABOVE, _BELOW, _LEGEND = 2.75, 0.6, 0.7, 0.25, 0.45, 0.3


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame that is shown: 8-bit image (rows, columns), frame pixels to one of it, defects."""

    frame: int
    title: str
    image: np.ndarray
    block: int
    table: DefectTable


def maps(tables: Sequence[tuple[int, DefectTable]]) -> Figure:
    """Draw the defects of some frames, by species; nm, or pixels where the scale is not known."""
    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    axes = figure.subplots(1, len(tables), squeeze=False, sharex=True, sharey=True)[0]
    scaled = all(np.isfinite(table.x_nm).all() for _, table in tables)
    for ax, (frame, table) in zip(axes, tables, strict=True):
        x, y = (table.x_nm, table.y_nm) if scaled else (table.x_px, table.y_px)
        _scatter(ax, table, x, y, 18)
        ax.set(title=f"frame {frame}: {len(table.frame)} defects", aspect="equal")
        ax.set_xlabel(f"x ({'nm' if scaled else 'px'})")
    axes[0].set_ylabel(f"y ({'nm' if scaled else 'px'})")
    axes[0].invert_yaxis()
    _legend(figure, axes)
    return figure


def overlays(shots: Sequence[Shot], pixel_nm: float) -> Figure:
    """Draw frames with their defects; nm, or pixels where `pixel_nm` is NaN."""
    rows = -(-len(shots) // 2)
    high_in = rows * (_PANEL + _ABOVE + _BELOW) + _LEGEND
    # placed by hand: the layout engines let the titles of a single row run over the edge
    figure = Figure(figsize=(WIDTH, high_in))
    axes = []
    for at in range(len(shots)):
        left = _LEFT + at % 2 * (_PANEL + _BETWEEN)
        bottom = high_in - (at // 2 + 1) * (_PANEL + _ABOVE + _BELOW) + _BELOW
        place = (left / WIDTH, bottom / high_in, _PANEL / WIDTH, _PANEL / high_in)
        axes.append(figure.add_axes(place))
    scale = pixel_nm if np.isfinite(pixel_nm) else 1.0
    unit = "nm" if np.isfinite(pixel_nm) else "px"
    for ax, shot in zip(axes, shots, strict=True):
        high, wide = (side * shot.block for side in shot.image.shape)
        # the first pixel's centre is (0, 0)
        edges = np.array([-0.5, wide - 0.5, high - 0.5, -0.5]) * scale
        ax.imshow(shot.image, cmap="gray", vmin=0, vmax=255, extent=tuple(edges))
        table = shot.table
        _scatter(ax, table, table.x_px * scale, table.y_px * scale, 40, hollow=True)
        ax.set(xlim=edges[:2], ylim=edges[2:], title=shot.title, xlabel=f"x ({unit})")
        ax.set_ylabel(f"y ({unit})")
    _legend(figure, axes)
    return figure


def space_time(table: DefectTable) -> Figure:
    """Draw all defects over place and time; the newest points where there are too many."""
    figure = Figure(figsize=(WIDTH, 5.4))
    ax: Any = figure.add_axes((0.0, 0.06, 1.0, 0.94), projection="3d")
    table = table.select(np.arange(len(table.frame)) >= len(table.frame) - _MOST_POINTS)
    scaled = bool(np.isfinite(table.x_nm).all())
    timed = bool(np.isfinite(table.time_s).all())
    x, y = (table.x_nm, table.y_nm) if scaled else (table.x_px, table.y_px)
    _scatter(ax, table, x, y, 6, table.time_s if timed else table.frame)
    unit = "nm" if scaled else "px"
    ax.set(xlabel=f"x ({unit})", ylabel=f"y ({unit})", zlabel="time (s)" if timed else "frame")
    ax.set_box_aspect((1, 1, 1), zoom=0.92)
    _legend(figure, [ax])
    return figure


def _scatter(
    ax: Any,
    table: DefectTable,
    x: np.ndarray,
    y: np.ndarray,
    size: float,
    *z: np.ndarray,
    hollow: bool = False,
) -> None:
    for species in sorted(set(table.species.tolist())):
        mine = table.species == species
        colour, marker = style_of(species)
        face: dict[str, Any] = {"c": colour}
        if hollow and marker != "x":
            # what is marked stays to be seen
            face = {"facecolors": "none", "edgecolors": colour, "linewidths": 1.4}
        elif marker != "x":
            face |= {"edgecolors": "black", "linewidths": 0.3}
        places = [values[mine] for values in (x, y, *z)]
        ax.scatter(*places, s=size, marker=marker, label=species, **face)


def _legend(figure: Figure, axes: Sequence[Any]) -> None:
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        # only a figure with a layout keeps room outside its axes
        laid_out = figure.get_layout_engine() is not None
        figure.legend(
            list(found.values()),
            list(found),
            loc="outside lower center" if laid_out else "lower center",
            ncols=len(found),
            frameon=False,
        )
