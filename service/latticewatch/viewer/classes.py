"""Mean images of the mixture's classes, side by side."""

from __future__ import annotations

import numpy as np
import rerun as rr

from latticewatch.viewer.drawing import Entry
from latticewatch.viewer.facts import ClassFact

#: Pixels left and right of an image, room for its name, and of the strip below that holds it.
_MARGIN, _STRIP = 13, 11

#: Percent of the pixels of all images that are clipped to black and to white.
_CLIP_PERCENT = 0.5

_INK = (235, 235, 235)


def montage_size(classes: tuple[ClassFact, ...]) -> tuple[float, float] | None:
    """Height and width of all images with their names; None where they are not of one size."""
    shapes = {fact.image.shape for fact in classes}
    if len(shapes) != 1:
        return None
    ((rows, columns),) = shapes
    return rows + _STRIP, (columns + 2 * _MARGIN) * len(classes)


def class_entries(classes: tuple[ClassFact, ...]) -> list[Entry]:
    """Draw all classes with one scale of intensity, so that they can be compared."""
    if montage_size(classes) is None:
        return []
    rows, columns = classes[0].image.shape
    pixels = np.stack([fact.image for fact in classes])
    low, high = np.percentile(pixels, [_CLIP_PERCENT, 100 - _CLIP_PERCENT])
    grey = np.clip((pixels - low) / max(float(high - low), 1e-12), 0, 1)
    step = columns + 2 * _MARGIN
    canvas = np.zeros((rows + _STRIP, step * len(classes)), np.uint8)
    places, texts = [], []
    for k, fact in enumerate(classes):
        left = k * step + _MARGIN
        canvas[:rows, left : left + columns] = np.round(255 * grey[k])
        places.append((left + columns / 2, rows))
        texts.append(f"{fact.number}  {fact.species}  {fact.weight:.0%}")
    names = rr.Points2D(
        places,
        colors=[_INK] * len(places),
        radii=rr.Radius.ui_points(0.0),
        labels=texts,
        show_labels=True,
    )
    return [("classes/images", rr.Image(canvas, color_model="L")), ("classes/names", names)]
