"""Figures of the classes of defects and of the columns around dopants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from latticewatch.report.parts import WIDTH
from latticewatch.report.surroundings import Field
from latticewatch.report.values import ClassImage

#: The longest arrow, lattice constants; and what a picometre is drawn as at most, so that noise
#: does not look like a displacement.
_LONGEST, _LARGEST_SCALE = 0.75, 0.3

#: Lengths that the bar may stand for, pm.
_BARS = (1, 2, 5, 10, 20, 50)

#: Panels in a row.
_MOST_CLASSES, _MOST_FIELDS = 5, 3

#: Lattice constants that a mean image spans; `detections.PATCH_SPAN`.
_SPAN = 2.0


def mean_images(classes: Sequence[ClassImage]) -> Figure:
    """Draw the mean image of every class, all on one scale."""
    figure, panels = _grid(len(classes), _MOST_CLASSES, 1.95)
    low = min(float(one.image.min()) for one in classes)
    high = max(float(one.image.max()) for one in classes)
    half = _SPAN / 2
    for ax, one in zip(panels, classes, strict=True):
        shown = ax.imshow(
            one.image, cmap="gray", vmin=low, vmax=high, extent=(-half, half, half, -half)
        )
        ax.set_title(f"class {one.number}: {one.species}\n{one.members:.0f} looks")
        ax.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1], xlabel="along a1 (a)")
    panels[0].set_ylabel("90° on (a)")
    figure.colorbar(
        shown, ax=panels, location="bottom", shrink=0.5, label="difference (host columns)"
    )
    return figure


def displacements(fields: Sequence[Field]) -> Figure:
    """Draw mean displacements as arrows and the standard error as ellipses, pm."""
    figure, panels = _grid(len(fields), _MOST_FIELDS, 2.35)
    angles = np.arange(6) * np.pi / 3
    sites = np.vstack([[0, 0], np.column_stack([np.cos(angles), np.sin(angles)])])
    longest = max(float(np.hypot(*field.mean.T).max()) for field in fields)
    scale = min(_LONGEST / max(longest, 1e-9), _LARGEST_SCALE)
    for ax, field in zip(panels, fields, strict=True):
        _field(ax, field, sites, scale)
    for ax in panels[::_MOST_FIELDS]:
        ax.set_ylabel("90° on (a)")
    for ax in panels[-_MOST_FIELDS:]:
        ax.set_xlabel("along a1 (a)")
    return figure


def _field(ax: Any, field: Field, sites: np.ndarray, scale: float) -> None:
    """Draw one field, a picometre as `scale` lattice constants."""
    from matplotlib.patches import Ellipse

    tips = sites + scale * field.mean
    ax.plot(*sites.T, "o", color="#999999", ms=5, mfc="none")
    for tip, error in zip(tips, field.error, strict=True):
        size = 2 * scale * error
        ax.add_patch(
            Ellipse(tuple(tip), size[0], size[1], color="#56B4E9", alpha=0.7, lw=0, zorder=3)
        )
    arrows = (tips - sites).T
    ax.quiver(*sites.T, *arrows, angles="xy", scale_units="xy", scale=1, width=0.01, zorder=4)
    x, y = field.mean[0]
    ax.set_title(f"{field.state}, {field.note}\ndopant ({x:.1f}, {y:.1f}) pm", fontsize=8)
    bar = max((one for one in _BARS if one * scale <= 1.0), default=_BARS[0])
    ax.plot([-1.5, -1.5 + bar * scale], [-1.3, -1.3], "k-", lw=2)
    ax.text(-1.5, -1.27, f"{bar} pm", va="bottom", fontsize=8)
    ax.set(xlim=(-1.65, 1.65), ylim=(-1.4, 1.4), aspect="equal", xticks=[-1, 0, 1])
    ax.set_yticks([-1, 0, 1])


def _grid(count: int, columns: int, row_height: float) -> tuple[Figure, list[Any]]:
    """Panels in rows of equal width; those of the last row that are not needed stay away."""
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, row_height * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[count:]:
        ax.remove()
    return figure, list(axes[:count])
