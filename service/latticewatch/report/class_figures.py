"""Figures of the classes of defects and of the columns around dopants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from latticewatch.report.keys import ClassImage, Field

#: A picometre is drawn as this many lattice constants, so that displacements can be seen.
_ARROW = 0.07


def mean_images(classes: Sequence[ClassImage]) -> Figure:
    """Draw the mean image of every class, all on one scale."""
    n = len(classes)
    figure = Figure(figsize=(max(2.1 * n, 4.5), 3.2), layout="constrained")
    axes = figure.subplots(1, n, squeeze=False)[0]
    low = min(float(one.image.min()) for one in classes)
    high = max(float(one.image.max()) for one in classes)
    for ax, one in zip(axes, classes, strict=True):
        shown = ax.imshow(one.image, cmap="gray", vmin=low, vmax=high)
        title = f"class {one.number}: {one.species}\n{one.members:.0f} looks\n"
        ax.set_title(f"{title}{_ratio(one)}", fontsize=9)
        ax.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes, shrink=0.6, label="difference (host columns)")
    return figure


def _ratio(one: ClassImage) -> str:
    """Intensity over the host column's, its interval, and what the reading expects."""
    if not np.isfinite(one.ratio.value):
        return "ratio -"
    text = f"ratio {one.ratio.value:.2f}"
    if np.isfinite([one.ratio.low, one.ratio.high]).all():
        text += f" [{one.ratio.low:.2f}, {one.ratio.high:.2f}]"
    return text + (f"\nexpected {one.expected:.2f}" if np.isfinite(one.expected) else "")


def displacements(fields: Sequence[Field]) -> Figure:
    """Draw mean displacements as arrows and the standard error as ellipses, pm."""
    from matplotlib.patches import Ellipse

    figure = Figure(figsize=(3.3 * len(fields), 3.9), layout="constrained")
    axes = figure.subplots(1, len(fields), squeeze=False)[0]
    angles = np.arange(6) * np.pi / 3
    sites = np.vstack([[0, 0], np.column_stack([np.cos(angles), np.sin(angles)])])
    for ax, field in zip(axes, fields, strict=True):
        tips = sites + _ARROW * field.mean
        ax.plot(*sites.T, "o", color="#999999", ms=5, mfc="none")
        for tip, error in zip(tips, field.error, strict=True):
            size = 2 * _ARROW * error
            ax.add_patch(
                Ellipse(tuple(tip), size[0], size[1], color="#56B4E9", alpha=0.7, lw=0, zorder=3)
            )
        arrows = (tips - sites).T
        ax.quiver(*sites.T, *arrows, angles="xy", scale_units="xy", scale=1, width=0.008, zorder=4)
        x, y = field.mean[0]
        ax.set_title(
            f"{field.state}, {field.looks} looks\ndopant ({x:.1f}, {y:.1f}) pm", fontsize=9
        )
        ax.plot([-1.2, -1.2 + 10 * _ARROW], [-1.35, -1.35], "k-", lw=2)
        ax.text(-1.2, -1.3, "10 pm", fontsize=8, va="bottom")
        ax.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal", xlabel="along a1 (a)")
    axes[0].set_ylabel("90 degrees on (a)")
    return figure
