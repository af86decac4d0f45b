"""An overlay picture: one frame with its defects marked, as a file for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from latticewatch.client.messages import DefectTable
from latticewatch.palette import style_of

#: Pixels of the picture along its longer side, before the legend.
_SIDE_PX = 1100

#: Share of the pixels that are clipped to black and to white.
_CLIP_PERCENT = 0.5

#: Area of a marker in the legend, points squared.
_LEGEND_MARKER = 60.0


def save_overlay(
    path: Path,
    frame: np.ndarray,
    table: DefectTable,
    *,
    title: str = "",
    pixel_size_nm: float | None = None,
    lattice_px: float = 10.0,
) -> None:
    """Write the frame with a marker around each defect.

    Parameters
    ----------
    path
        ``.png``, ``.pdf`` or ``.svg``.
    frame
        (rows, columns) image as acquired.
    table
        Its defects, positions in pixels of that frame.
    title
        One line above the picture.
    pixel_size_nm
        Draws a scale bar where it is known.
    lattice_px
        Lattice constant in pixels: the markers' size.
    """
    from matplotlib.figure import Figure

    rows, columns = frame.shape
    inches = _SIDE_PX / 100 / max(rows, columns)
    figure = Figure(figsize=(columns * inches + 2.3, rows * inches + 0.5), layout="constrained")
    axes = figure.add_subplot()
    low, high = np.percentile(frame, [_CLIP_PERCENT, 100 - _CLIP_PERCENT])
    axes.imshow(frame, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    marker_area = (0.75 * lattice_px * inches * 72) ** 2
    for label in sorted(set(_labels(table))):
        chosen = table.select(np.array([name == label for name in _labels(table)]))
        colour, marker = style_of(chosen.species[0], chosen.state[0])
        filled: dict[str, Any] = (
            {"facecolors": "none", "edgecolors": colour} if marker != "x" else {"c": colour}
        )
        axes.scatter(
            chosen.x_px,
            chosen.y_px,
            s=marker_area,
            marker=marker,
            linewidths=1.4,
            label=f"{label} ({len(chosen)})",
            **filled,
        )
    if pixel_size_nm:
        _scale_bar(axes, rows, columns, pixel_size_nm)
    if len(table):
        legend = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
        handles: list[Any] = legend.legend_handles
        for handle in handles:
            handle.set_sizes([_LEGEND_MARKER])
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xticks=[], yticks=[])
    axes.set_title(title, loc="left", fontsize=10)
    figure.savefig(path, dpi=100, bbox_inches="tight")


def _labels(table: DefectTable) -> list[str]:
    """Species, and for a dopant with a bound vacancy that it has one."""
    return [
        f"{species}+vacancy" if "+" in state else species
        for species, state in zip(table.species.tolist(), table.state.tolist(), strict=True)
    ]


def _scale_bar(axes: Any, rows: int, columns: int, pixel_size_nm: float) -> None:
    from matplotlib.patheffects import withStroke

    length_nm = next((n for n in (20, 10, 5, 2, 1, 0.5) if n / pixel_size_nm < columns / 4), 0.2)
    length = length_nm / pixel_size_nm
    x, y = 0.03 * columns, 0.965 * rows
    outline = [withStroke(linewidth=6, foreground="black")]
    axes.plot(
        [x, x + length],
        [y, y],
        color="white",
        linewidth=4,
        solid_capstyle="butt",
        path_effects=outline,
    )
    axes.text(
        x + length / 2,
        y - 0.012 * rows,
        f"{length_nm:g} nm",
        color="white",
        ha="center",
        va="bottom",
        fontsize=13,
        fontweight="bold",
        path_effects=outline,
    )
