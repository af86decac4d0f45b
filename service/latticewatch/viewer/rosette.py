"""How vacancies move by direction: hop rates along the lattice lines and the tensor of D."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import rerun as rr

from latticewatch.viewer.drawing import Entry, rgb
from latticewatch.viewer.motion import Directions
from latticewatch.viewer.words import banded

#: The view reaches so far from its middle; the longest line and the ellipse's longer axis.
REACH = 118.0
_LONGEST, _AXIS = 72.0, 58.0

#: Its middle stands above the view's, to leave room for two lines of text.
_UP, _CAPTION, _SPACING = 22.0, 62.0, 22.0

#: Points of the ellipse.
_POINTS = 72

_LINE, _ELLIPSE, _CIRCLE, _INK = "#D55E00", "#56B4E9", (120, 120, 120), (235, 235, 235)


def rosette_entries(told: Directions) -> list[Entry]:
    """Draw it with x along a1 to the right and y towards a2 downwards, as a frame is drawn.

    Thick lines are the hop rates along each lattice line (half of it either way), thin ones reach
    to the end of their intervals. The ellipse has D along every direction's principal axes, the
    circle is what it would be if D were alike in all directions.
    """
    middle = np.array([0.0, -_UP])
    scale = _LONGEST / max(*(line.rate.high for line in told.lines), 1e-300)
    strips, radii, places, texts = [], [], [], []
    for line in told.lines:
        angle = math.radians(line.angle_deg)
        along = np.array([math.cos(angle), math.sin(angle)])
        for length, radius in ((line.rate.value, 2.5), (line.rate.high, 0.75)):
            end = scale * length * along
            strips.append([(middle - end).tolist(), (middle + end).tolist()])
            radii.append(radius)
        up = -along if along[1] > 0 else along
        places.append((middle + (_LONGEST + 12) * up - (0.0, 10.0)).tolist())
        texts.append(f"{line.name} {line.rate.value:.2g}/s")
    captions = list(_captions(told))
    places += [[0.0, _CAPTION + k * _SPACING] for k in range(len(captions))]
    curves = [np.asarray(curve) + middle for curve in outlines(told.tensor)]
    return [
        ("rosette/lines", rr.LineStrips2D(
            strips, colors=rgb(_LINE), radii=rr.Radius.ui_points(radii), draw_order=20
        )),
        ("rosette/names", rr.Points2D(
            places, colors=[_INK] * len(places), radii=rr.Radius.ui_points(0.0),
            labels=[*texts, *captions], show_labels=True,
        )),
        ("rosette/tensor", rr.LineStrips2D(
            curves, colors=[rgb(_ELLIPSE), _CIRCLE], radii=rr.Radius.ui_points([1.5, 0.75]),
            draw_order=30,
        )),
    ]  # fmt: skip


def _captions(told: Directions) -> Iterator[str]:
    if told.ratio is not None:
        yield f"D fast over slow {banded(told.ratio, digits=2)}"
    if told.p_value is not None:
        yield f"isotropic: p {told.p_value:.2g}"


def outlines(tensor: np.ndarray) -> list[list[list[float]]]:
    """Ellipse of a tensor (2, 2), then the circle of its mean, in units of the view.

    A negative principal value, which noise may bring, is drawn as none.
    """
    values, axes = np.linalg.eigh(tensor)
    values = np.maximum(values, 0.0)
    scale = _AXIS / max(float(values.max()), 1e-300)
    angle = np.linspace(0, 2 * math.pi, _POINTS + 1)
    round_ = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    ellipse = round_ * (scale * values) @ axes.T
    return [ellipse.tolist(), (round_ * scale * float(values.mean())).tolist()]
