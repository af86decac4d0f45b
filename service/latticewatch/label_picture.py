"""Pictures of a labelled frame: its mask, and the five steps from the frame to its labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from latticewatch_models.labelled import CLASSES, LabelledFrame

#: Colours of the classes, Okabe and Ito's; the crystal is left as it is.
_COLOURS = ("#000000", "#D55E00", "#0072B2", "#F0E442", "#CC79A7", "#E69F00", "#009E73")

#: Inches of each panel, and pixels to an inch.
_PANEL, _DPI = 5.0, 110

#: Share of the pixels that are clipped to black and to white.
_CLIP_PERCENT = 0.5

#: Standard deviations at which the colours of the significance end.
_Z_LIMIT = 8.0

#: The Fourier plane is shown out to this many times the first ring of peaks.
_RINGS_SHOWN = 4.2


def save_mask(path: Path, mask: np.ndarray) -> None:
    """Write the classes as a picture, a pixel for a pixel."""
    from matplotlib.colors import ListedColormap
    from matplotlib.image import imsave

    imsave(path, mask, cmap=ListedColormap(_COLOURS), vmin=0, vmax=len(CLASSES) - 1)


def save_steps(path: Path, frame: LabelledFrame, title: str = "") -> None:
    """Draw frame, Fourier plane, periodic part, significance of the residual, and labels."""
    from matplotlib.figure import Figure

    rows, columns = frame.image.shape
    size = (3 * _PANEL * columns / max(rows, columns), 2 * (_PANEL * rows / max(rows, columns)))
    figure = Figure(figsize=(size[0], size[1] + 0.8), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    low, high = np.percentile(frame.image, [_CLIP_PERCENT, 100 - _CLIP_PERCENT])
    gray: dict[str, Any] = {"cmap": "gray", "vmin": low, "vmax": high, "interpolation": "nearest"}
    axes[0].imshow(frame.image, **gray)
    axes[0].set_title("1  frame, background flattened")
    _draw_fourier(axes[1], frame)
    level = np.percentile(frame.labels.periodic, [_CLIP_PERCENT, 100 - _CLIP_PERCENT])
    axes[2].imshow(frame.labels.periodic, cmap="gray", vmin=level[0], vmax=level[1])
    axes[2].set_title("3  periodic part, from the peaks alone")
    shown = axes[3].imshow(frame.labels.z, cmap="RdBu_r", vmin=-_Z_LIMIT, vmax=_Z_LIMIT)
    axes[3].set_title("4  residual in standard deviations of its noise")
    bar = axes[3].inset_axes((0.62, 0.02, 0.36, 0.025))
    figure.colorbar(shown, cax=bar, orientation="horizontal", ticks=[-_Z_LIMIT, 0, _Z_LIMIT])
    bar.xaxis.set_ticks_position("top")
    axes[4].imshow(frame.image, **gray)
    _draw_labels(axes[4], frame)
    for panel in (*axes[:1], *axes[2:5]):
        panel.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    for panel in axes:
        panel.set(xticks=[], yticks=[])
    _draw_legend(axes[5], frame)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    figure.savefig(path, dpi=_DPI)


def _draw_fourier(axes: Any, frame: LabelledFrame) -> None:
    """Power of the Fourier plane with the Bragg peaks circled, and other maxima crossed."""
    rows, columns = frame.image.shape
    window = np.hanning(rows)[:, None] * np.hanning(columns)[None, :]
    plane = np.fft.fftshift(np.fft.fft2((frame.image - frame.image.mean()) * window))
    power = np.log(np.abs(plane) ** 2 + 1e-12)
    peaks = np.concatenate([frame.peaks.peaks, -frame.peaks.peaks])
    lattice = np.tile(frame.peaks.indexed, 2)
    # a bin is centred on its frequency; 0 is at column columns // 2 and row rows // 2
    left, top = -(columns // 2 + 0.5) / columns, -(rows // 2 + 0.5) / rows
    axes.imshow(
        power,
        cmap="magma",
        extent=(left, left + 1.0, top + 1.0, top),
        vmin=float(np.median(power)),
        vmax=float(np.quantile(power, 0.9995)),
        interpolation="nearest",
    )
    circle: dict[str, Any] = {"s": 90, "marker": "o", "facecolors": "none", "edgecolors": "#56B4E9"}
    axes.scatter(*peaks[lattice].T, linewidths=1.2, **circle)
    axes.scatter(*peaks[~lattice].T, s=40, marker="x", c="#999999", linewidths=1.0)
    reach = min(0.5, _RINGS_SHOWN * frame.peaks.radius)
    axes.set_facecolor("black")
    axes.set(xlim=(-reach, reach), ylim=(reach, -reach))
    axes.set_title("2  Fourier plane, Bragg peaks circled")


def _draw_labels(axes: Any, frame: LabelledFrame) -> None:
    """Areas tinted, defects ringed."""
    from matplotlib.colors import to_rgb

    tint = np.zeros((*frame.mask.shape, 4))
    for number, name in enumerate(CLASSES):
        if name in ("contamination", "disorder", "hole"):
            chosen = frame.mask == number
            tint[chosen, :3], tint[chosen, 3] = to_rgb(_COLOURS[number]), 0.4
    axes.imshow(tint, interpolation="nearest")
    found = frame.points
    inches = _PANEL / max(frame.image.shape)
    area = (0.7 * frame.lattice.constant * inches * 72) ** 2
    for sign, name in ((1, "bright defect"), (-1, "dark defect")):
        chosen = found.points[np.sign(found.significance) == sign]
        style: dict[str, Any] = {"facecolors": "none", "edgecolors": _colour(name)}
        axes.scatter(*chosen.T, s=area, marker="o", linewidths=1.4, **style)
    axes.scatter(*found.doubtful.T, s=0.12 * area, marker=".", c=_colour("in doubt"), linewidths=0)
    axes.set_title("5  labels")


def _colour(name: str) -> str:
    return _COLOURS[CLASSES.index(name)]


def _draw_legend(axes: Any, frame: LabelledFrame) -> None:
    """Say what the marks mean, and how many there are."""
    axes.axis("off")
    found = frame.points
    counts = {
        "bright defect": f"{(found.significance > 0).sum()}",
        "dark defect": f"{(found.significance < 0).sum()}",
        "in doubt": f"{len(found.doubtful)} sites",
    }
    for line, name in enumerate(CLASSES[1:]):
        share = f"{(frame.mask == CLASSES.index(name)).mean():.1%} of the area"
        height = 0.92 - 0.08 * line
        ringed: dict[str, Any] = {"facecolors": "none", "edgecolors": _colour(name)}
        filled: dict[str, Any] = {"c": _colour(name)}
        style, marker = (ringed, "o") if name.endswith("defect") else (filled, "s")
        marker = "." if name == "in doubt" else marker
        axes.scatter(0.05, height, s=120, marker=marker, transform=axes.transAxes, **style)
        text = f"{name}: {counts.get(name, share)}"
        axes.text(0.12, height, text, transform=axes.transAxes, va="center", fontsize=12)
    lattice = frame.lattice
    axes.text(
        0.03,
        0.36,
        f"lattice constant {lattice.constant:.2f} px, a1 at {lattice.rotation:.1f}°\n"
        f"strongest Bragg peak {lattice.significance:.0f} times the noise\n"
        f"column heights {lattice.heights[0]:.2f}, {lattice.heights[1]:.2f}, "
        f"{lattice.heights[2]:.2f}",
        transform=axes.transAxes,
        va="top",
        fontsize=12,
        linespacing=1.6,
    )
