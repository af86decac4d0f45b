"""Figures of where the defects are: frames, maps, and space-time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from latticewatch.client.table import DefectTable
from latticewatch.palette import style_of

#: Share of the pixels that are clipped to black and to white.
_CLIP_PERCENT = 0.5

#: More points than these hide one another in the scatter and make the page heavy.
_MOST_POINTS = 20_000


def maps(tables: Sequence[tuple[int, DefectTable]]) -> Figure:
    """Draw the defects of some frames, by species; nm, or pixels where the scale is not known."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots(1, len(tables), squeeze=False, sharex=True, sharey=True)[0]
    scaled = all(np.isfinite(table.x_nm).all() for _, table in tables)
    for ax, (frame, table) in zip(axes, tables, strict=True):
        x, y = (table.x_nm, table.y_nm) if scaled else (table.x_px, table.y_px)
        _scatter(ax, table, x, y, 26)
        ax.set(title=f"frame {frame}: {len(table.frame)} defects", aspect="equal")
        ax.set_xlabel(f"x ({'nm' if scaled else 'px'})")
    axes[0].set_ylabel(f"y ({'nm' if scaled else 'px'})")
    axes[0].invert_yaxis()
    _legend(figure, axes)
    return figure


def overlays(frames: Sequence[tuple[int, np.ndarray, DefectTable]]) -> Figure:
    """Draw frames (rows, columns) with their defects, pixels."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots(1, len(frames), squeeze=False)[0]
    for ax, (frame, image, table) in zip(axes, frames, strict=True):
        low, high = np.percentile(image, [_CLIP_PERCENT, 100 - _CLIP_PERCENT])
        ax.imshow(image, cmap="gray", vmin=low, vmax=high)
        _scatter(ax, table, table.x_px, table.y_px, 70, hollow=True)
        ax.set(title=f"frame {frame}", xlabel="x (px)")
    axes[0].set_ylabel("y (px)")
    _legend(figure, axes)
    return figure


def space_time(table: DefectTable) -> Figure:
    """Draw all defects over place and time; the newest points where there are too many."""
    figure = Figure(figsize=(8, 6.2))
    ax = figure.add_subplot(projection="3d")
    table = table.select(np.arange(len(table.frame)) >= len(table.frame) - _MOST_POINTS)
    scaled = bool(np.isfinite(table.x_nm).all())
    timed = bool(np.isfinite(table.time_s).all())
    x, y = (table.x_nm, table.y_nm) if scaled else (table.x_px, table.y_px)
    _scatter(ax, table, x, y, 6, table.time_s if timed else table.frame)
    unit = "nm" if scaled else "px"
    ax.set(xlabel=f"x ({unit})", ylabel=f"y ({unit})", zlabel="time (s)" if timed else "frame")
    ax.set_box_aspect((1, 1, 1), zoom=0.88)
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
