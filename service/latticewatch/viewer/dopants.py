"""The dopants' surroundings: mean image, mean displacements and the first modes of every state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import rerun as rr

from latticewatch.palette import style_of
from latticewatch.viewer.drawing import Entry, rgb
from latticewatch.viewer.markers import OUTLINES
from latticewatch.viewer.surroundings import COLUMNS, Field, Surroundings

#: Size of the view, in points of the interface on the page that the blueprint lays out; of one of
#: its cells (a state is a row: image, mean, two modes), and where in a cell its middle and its
#: caption stand.
WIDTH, HEIGHT = 768.0, 216.0
_CELL_WIDTH, _CELL_HEIGHT = WIDTH / 4, HEIGHT / 2
_MIDDLE, _CAPTION = 42.0, 84.0

#: Distance of a neighbour from the dopant, length of the longest arrow, and side of an image.
_NEIGHBOUR, _LONGEST, _IMAGE = 38.0, 30.0, 80.0

#: Lengths of the arrow that tells the scale, picometres; the longest that is not too long is taken.
_SCALES_PM = (50.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5)

#: Percent of an image's pixels that are clipped to black and to white.
_CLIP_PERCENT = 0.5

_INK, _COLUMN, _ARROW, _ERROR = (235, 235, 235), (120, 120, 120), "#F0E442", (190, 190, 190)


def dopant_entries(told: Sequence[Surroundings]) -> list[Entry]:
    """Draw a row for each of the first two states.

    Arrows are displacements, all to one scale, the ellipse at the tip of each one standard error in
    x and y. x runs along the lattice vector a1; the vacancy, where there is one, lies along +y.
    """
    told = tuple(told)[:2]
    fields = [field for one in told for field in (one.mean, *one.modes[:2]) if field is not None]
    scale = _scale(fields)
    entries: list[Entry] = [_outline()]
    captions: list[tuple[float, float, str]] = []
    for row, one in enumerate(told):
        y = row * _CELL_HEIGHT
        entries += _image(one, row)
        captions.append((0.5 * _CELL_WIDTH, y, f"{one.state}, {one.looks} looks"))
        for column, (name, field) in enumerate(_named(one), start=1):
            origin = ((column + 0.5) * _CELL_WIDTH, y + _MIDDLE)
            captions.append((origin[0], y, f"{name} {_told(field)}"))
            entries += _drawn(f"{row}-{column}", one.state, field, origin, scale)
        if one.mean is None:
            captions.append((1.5 * _CELL_WIDTH, y, "too few looks for displacements"))
    if fields:
        entries.append(_key(scale))
    places = [(x, y + _CAPTION) for x, y, _ in captions]
    return [*entries, ("dopants/captions", _texts(places, [text for _, _, text in captions]))]


def _named(one: Surroundings) -> Iterator[tuple[str, Field]]:
    if one.mean is not None:
        yield "toward vacancy" if "+" in one.state else "mean, along y", one.mean
    for k, mode in enumerate(one.modes[:2], start=1):
        yield f"mode {k}", mode


def _told(field: Field) -> str:
    # adding zero makes -0.0 a plain zero
    return f"{round(field.size[0], 1) + 0.0:.1f} ± {field.size[1]:.1f} pm"


def _scale(fields: Sequence[Field]) -> float:
    """Units of the view for a picometre."""
    longest = max((float(np.hypot(*field.vectors.T).max()) for field in fields), default=0.0)
    return _LONGEST / longest if longest > 0 else 1.0


def _outline() -> Entry:
    """Draw a box around nothing: the view's bounds are what is in it."""
    box = rr.Boxes2D(
        array=[[0, 0, WIDTH, HEIGHT]], array_format=rr.Box2DFormat.XYWH, colors=(0, 0, 0)
    )
    return ("dopants/outline", box)


def _image(one: Surroundings, row: int) -> list[Entry]:
    if one.image is None:
        return []
    low, high = np.percentile(one.image, [_CLIP_PERCENT, 100 - _CLIP_PERCENT])
    grey = np.round(255 * np.clip((one.image - low) / max(high - low, 1e-12), 0, 1))
    scale = _IMAGE / max(one.image.shape)
    corner = [0.5 * (_CELL_WIDTH - _IMAGE), row * _CELL_HEIGHT + _MIDDLE - 0.5 * _IMAGE, 0.0]
    where = rr.Transform3D(translation=corner, scale=scale)
    entity = f"dopants/image/{row}"
    return [(entity, where), (entity, rr.Image(grey.astype(np.uint8), color_model="L"))]


def places() -> np.ndarray:
    """Where the dopant and its neighbours stand, (7, 2): from a1 on in steps of 60 degrees."""
    angles = np.arange(COLUMNS - 1) * math.pi / 3
    around = _NEIGHBOUR * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.concatenate([np.zeros((1, 2)), around])


def _drawn(
    cell: str, state: str, field: Field, origin: tuple[float, float], scale: float
) -> list[Entry]:
    at = places() + origin
    colours = [rgb(style_of(state.partition("+")[0])[0])] + [_COLUMN] * (COLUMNS - 1)
    tips = at + scale * field.vectors
    entries: list[Entry] = [
        (f"dopants/columns/{cell}", rr.Points2D(at, colors=colours, radii=3.0)),
        (f"dopants/arrows/{cell}", rr.Arrows2D(
            origins=at, vectors=scale * field.vectors, colors=rgb(_ARROW),
            radii=rr.Radius.ui_points(1.0), draw_order=30,
        )),
        (f"dopants/errors/{cell}", rr.Ellipses2D(
            centers=tips, half_sizes=np.maximum(scale * field.errors, 0.1), colors=_ERROR,
            line_radii=rr.Radius.ui_points(0.5), draw_order=35,
        )),
    ]  # fmt: skip
    if "+" in state:
        colour, marker = style_of(state.partition("+")[2])
        outline = OUTLINES[marker] * 5.0 + (origin[0], origin[1] + _NEIGHBOUR / math.sqrt(3))
        vacancy = rr.LineStrips2D([outline], colors=rgb(colour), radii=rr.Radius.ui_points(0.75))
        entries.append((f"dopants/vacancy/{cell}", vacancy))
    return entries


def _key(scale: float) -> Entry:
    """Return an arrow of a round length, beside the first image."""
    length = next((pm for pm in _SCALES_PM if pm * scale < 1.6 * _LONGEST), _SCALES_PM[-1])
    x, y = _CELL_WIDTH - 24.0, 14.0
    arrow = rr.Arrows2D(
        origins=[(x, y)], vectors=[(length * scale, 0.0)], colors=rgb(_ARROW),
        radii=rr.Radius.ui_points(1.0), labels=[f"{length:g} pm"], show_labels=True,
    )  # fmt: skip
    return ("dopants/scale", arrow)


def _texts(at: list[tuple[float, float]], texts: list[str]) -> rr.Points2D:
    return rr.Points2D(
        at, colors=[_INK] * len(at), radii=rr.Radius.ui_points(0.0), labels=texts, show_labels=True
    )
