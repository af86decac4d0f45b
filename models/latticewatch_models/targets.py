"""What the network is asked to say of a scene, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

#: A cell is asked for a defect that lies within this many pixels of its centre. Half a cell's
#: diagonal is 2.83 px, so that every defect has at least one such cell; half the distance of two
#: neighbouring sites at the canonical scale is 3.03 px, so that no cell answers for two.
POSITIVE_RADIUS = 3.0

#: Cells whose centre is farther than `POSITIVE_RADIUS` and nearer than this are asked nothing about
#: the heat: whether they are sure is of no use, and the distance is not known to a pixel.
NEUTRAL_RADIUS = 4.5


@dataclass(frozen=True)
class Targets:
    """Targets of one scene, each on the grid of the outputs.

    Attributes
    ----------
    heat
        1 where a defect lies within `POSITIVE_RADIUS` of the cell's centre, else 0; (h, w).
    weight
        1 where the heat counts in the loss, 0 where it does not; (h, w).
    offset
        Pixels (x, y) from the cell's centre to the nearest defect; (2, h, w).
    near
        1 where the offset counts in the loss: nearer than ``neutral``; (h, w).
    """

    heat: np.ndarray
    weight: np.ndarray
    offset: np.ndarray
    near: np.ndarray


def make_targets(
    points: np.ndarray,
    shape: tuple[int, int],
    stride: int,
    ignore: np.ndarray | None = None,
    neutral: float = NEUTRAL_RADIUS,
) -> Targets:
    """Lay out the targets of one scene.

    Parameters
    ----------
    points
        True defects, or atomic columns, (x, y) in pixels, shape (n, 2).
    shape
        Rows and columns of the frame, multiples of `stride`.
    stride
        Pixels along a side of a cell.
    ignore
        Boolean, of the frame's shape: pixels where no answer is right or wrong, such as the rim of
        a hole.
    neutral
        Cells farther than `POSITIVE_RADIUS` and nearer than this are asked for the offset alone.
        Columns stand so close that there would be hardly a cell to say "none" of:
        `POSITIVE_RADIUS` for them.

    Returns
    -------
    Targets
        All float32.
    """
    h, w = shape[0] // stride, shape[1] // stride
    centre = (stride - 1) / 2.0
    x, y = np.meshgrid(np.arange(w) * stride + centre, np.arange(h) * stride + centre)
    distance = np.full((h, w), np.inf)
    offset = np.zeros((2, h, w), np.float32)
    if len(points):
        cells = np.column_stack([x.ravel(), y.ravel()])
        gaps, nearest = cKDTree(points).query(cells)
        distance = np.reshape(gaps, (h, w))
        offset = (points[nearest] - cells).T.reshape(2, h, w).astype(np.float32)
    near = distance < neutral
    heat = distance <= POSITIVE_RADIUS
    weight = heat | ~near
    if ignore is not None:
        silent = ignore[: h * stride, : w * stride].reshape(h, stride, w, stride).any(axis=(1, 3))
        weight &= ~silent
        near &= ~silent
    offset *= near
    return Targets(
        heat.astype(np.float32), weight.astype(np.float32), offset, near.astype(np.float32)
    )
