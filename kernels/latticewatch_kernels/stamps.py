"""Columns as small squares of pixels around each site: read from an image, or drawn into one.

The pixels around some thousand sites are gathered faster than a frame is Fourier transformed, and a
square follows the site's place between pixels exactly, where a smoothed image must be interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Half the side of a square in standard deviations of the column. Beyond it lie 0.2 % of the energy
#: that a matched filter sums.
REACH = 2.5

#: The same of a square that a column is drawn on: its flank ends at 0.2 % of the height.
DRAWN_REACH = 3.5


@dataclass(frozen=True)
class Stamps:
    """Gaussian columns of unit height on the pixels around n points; k pixels a side.

    Attributes
    ----------
    row, column
        int (n,): each square's first pixel. All squares lie inside the frame.
    down, across
        float32 (n, k): the column's height is the product of the two. It is 0 beyond the reach,
        where a square that would leave the frame was moved inwards.
    """

    row: np.ndarray
    column: np.ndarray
    down: np.ndarray
    across: np.ndarray

    def sums(self, image: np.ndarray) -> np.ndarray:
        """Sum of image times column over each square, (n,)."""
        return self._weighted(image, self.down, self.across)

    def squared_sums(self, image: np.ndarray) -> np.ndarray:
        """Sum of image times column squared over each square, (n,)."""
        return self._weighted(image, self.down**2, self.across**2)

    def place(self, image: np.ndarray) -> np.ndarray:
        """Give the indices (n, k, k) of the squares' pixels in the flattened image."""
        first = self.row * image.shape[1] + self.column
        steps = np.arange(self.down.shape[1])[:, None] * image.shape[1]
        return np.asarray(first[:, None, None] + steps + np.arange(self.across.shape[1]))

    def _weighted(self, image: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
        # a view of all squares spares the host an index for every pixel
        sides = (down.shape[1], across.shape[1])
        squares = np.lib.stride_tricks.sliding_window_view(image, sides)[self.row, self.column]
        lines = np.matmul(squares, across[:, :, None])[:, :, 0]
        return np.asarray(np.einsum("nk,nk->n", lines, down))


def stamps(points: np.ndarray, sigma: float, like: np.ndarray, reach: float = REACH) -> Stamps:
    """Lay a column on each point.

    Parameters
    ----------
    points
        (n, 2) pixels (x, y).
    sigma
        The column's standard deviation, pixels.
    like
        An image of the frame, for its shape.
    reach
        Half a square's side, standard deviations.
    """
    half = half_px(reach, sigma)
    parts = []
    for axis, size in ((1, like.shape[0]), (0, like.shape[1])):
        nearest = np.rint(points[:, axis]).astype(np.intp)
        side = min(2 * half + 1, size)
        first = np.clip(nearest - half, 0, size - side)
        rest = (first - points[:, axis]).astype(np.float32)
        height = rest[:, None] + np.arange(side, dtype=np.float32)
        height *= height
        height *= np.float32(-0.5 / sigma**2)
        np.exp(height, out=height)
        moved = np.flatnonzero(first != nearest - half)
        far = np.abs((first - nearest)[moved, None] + np.arange(side)) > half
        height[moved] = np.where(far, np.float32(0.0), height[moved])
        parts.append((first, height))
    (row, down), (column, across) = parts
    return Stamps(row, column, down, across)


def half_px(reach: float, sigma: float) -> int:
    """Pixels from the middle one of a square to its edge."""
    return max(1, math.ceil(reach * sigma))


def draw(
    points: np.ndarray, shapes: Sequence[tuple[np.ndarray, float]], like: np.ndarray
) -> np.ndarray:
    """Draw Gaussian columns on an empty image.

    Parameters
    ----------
    points
        (n, 2) pixels (x, y).
    shapes
        Gaussians that each column is the sum of: heights (n,), and a standard deviation in pixels.
    like
        An image of the frame, for its shape.

    Returns
    -------
    ndarray
        float32, of the shape of ``like``.
    """
    singles = [height.astype(np.float32) for height, _ in shapes]
    places, parts = [], []
    for single, (_, sigma) in zip(singles, shapes, strict=True):
        laid = stamps(points, sigma, like, reach=DRAWN_REACH)
        part = laid.down[:, :, None] * laid.across[:, None, :]
        part *= single[:, None, None]
        places.append(laid.place(like).reshape(-1))
        parts.append(part.reshape(-1))
    total = np.bincount(np.concatenate(places), np.concatenate(parts), minlength=like.size)
    return total.astype(np.float32).reshape(like.shape)
