"""Training crops drawn once and kept as arrays, so that all designs see the same in the same order.

Drawing a step's scenes costs about as much as the step itself: five designs would draw them five
times.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latticewatch_models.scenes import draw_crops
from latticewatch_models.targets import make_targets

#: A step sees this many scenes, and of each this many crops of this many pixels a side.
SCENES, CROPS, SIDE = 4, 2, 128

#: Steps to a file.
CHUNK = 100


@dataclass(frozen=True)
class Crops:
    """Crops of some steps: images float16 (n, side, side), ignore bool, and points of each."""

    images: np.ndarray
    ignore: np.ndarray
    points: list[np.ndarray]


def _draw(seed: int, steps: range) -> Crops:
    """Draw the crops of some steps; the scenes that `training.train` would draw."""
    images, ignore, points = [], [], []
    for index in range(steps.start * SCENES, steps.stop * SCENES):
        for crop in draw_crops(np.random.default_rng([seed, 0, index]), SIDE, CROPS):
            images.append(crop.image.astype(np.float16))
            ignore.append(crop.ignore)
            points.append(crop.points)
    return Crops(np.stack(images), np.stack(ignore), points)


def chunk(folder: Path, seed: int, number: int) -> Crops:
    """Crops of steps ``number * CHUNK`` and on, from the folder where it has them."""
    path = folder / f"crops-{seed}-{number}.npz"
    if not path.exists():
        drawn = _draw(seed, range(number * CHUNK, (number + 1) * CHUNK))
        ends = np.cumsum([len(p) for p in drawn.points])
        partial = path.with_suffix(".partial.npz")
        np.savez(
            partial,
            images=drawn.images,
            ignore=np.packbits(drawn.ignore, axis=-1),
            points=np.concatenate(drawn.points),
            ends=ends,
        )
        partial.rename(path)
    with np.load(path) as kept:
        ignore = np.unpackbits(kept["ignore"], axis=-1).astype(bool)
        points = np.split(kept["points"], kept["ends"][:-1])
        return Crops(kept["images"], ignore, points)


def batch(crops: Crops, step: int, stride: int) -> list[np.ndarray]:
    """Image, heat, weight, offset and near of a step of a chunk, for a network of that stride."""
    size = SCENES * CROPS
    parts = []
    for k in range(step * size, (step + 1) * size):
        t = make_targets(crops.points[k], (SIDE, SIDE), stride, crops.ignore[k])
        image = crops.images[k].astype(np.float32)
        parts.append((image[None], t.heat[None], t.weight[None], t.offset, t.near[None]))
    return [np.stack(column) for column in zip(*parts, strict=True)]
