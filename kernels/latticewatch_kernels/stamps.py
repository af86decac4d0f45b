"""Columns as small squares of pixels around each site: read from an image, or drawn into one.

The pixels around some thousand sites are gathered faster than a frame is Fourier transformed, and a
square follows the site's place between pixels exactly, where a smoothed image must be interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.arrays import array_module, on_device
from latticewatch_kernels.lattice import Array

#: Half the side of a square in standard deviations of the column. Beyond it lie 0.2 % of the energy
#: that a matched filter sums.
REACH = 2.5


@dataclass(frozen=True)
class Stamps:
    """Gaussian columns of unit height on the pixels around n points; k pixels a side.

    Attributes
    ----------
    row, column
        int (n,): each square's first pixel, on the host. All squares lie inside the frame.
    down, across
        float32 (n, k): the column's height is the product of the two. It is 0 beyond the reach,
        where a square that would leave the frame was moved inwards.
    """

    row: np.ndarray
    column: np.ndarray
    down: Array
    across: Array

    def sums(self, image: Array) -> Array:
        """Sum of image times column over each square, (n,)."""
        return self._weighted(image, self.down, self.across)

    def squared_sums(self, image: Array) -> Array:
        """Sum of image times column squared over each square, (n,)."""
        return self._weighted(image, self.down**2, self.across**2)

    def place(self, image: Array) -> Array:
        """Give the indices (n, k, k) of the squares' pixels in the flattened image, on its side."""
        xp = array_module(image)
        first = xp.asarray(self.row * image.shape[1] + self.column)
        steps = np.arange(self.down.shape[1])[:, None] * image.shape[1]
        return first[:, None, None] + xp.asarray(steps + np.arange(self.across.shape[1]))

    def _weighted(self, image: Array, down: Array, across: Array) -> Array:
        xp = array_module(image)
        lines = xp.matmul(self._squares(image), across[:, :, None])[:, :, 0]
        return xp.einsum("nk,nk->n", lines, down)

    def _squares(self, image: Array) -> Array:
        """Give the pixels of each square, (n, k, k)."""
        if on_device(image):
            return image.reshape(-1).take(self.place(image))
        # a view of all squares spares the host an index for every pixel; CuPy would copy the view
        sides = (self.down.shape[1], self.across.shape[1])
        return np.lib.stride_tricks.sliding_window_view(image, sides)[self.row, self.column]


def stamps(points: np.ndarray, sigma: float, like: Array, reach: float = REACH) -> Stamps:
    """Lay a column on each point.

    Parameters
    ----------
    points
        (n, 2) pixels (x, y), on the host.
    sigma
        The column's standard deviation, pixels.
    like
        An image of the frame: its shape, and its library.
    reach
        Half a square's side, standard deviations.
    """
    xp = array_module(like)
    half = max(1, int(np.ceil(reach * sigma)))
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
    return Stamps(row, column, xp.asarray(down), xp.asarray(across))


def draw(points: np.ndarray, shapes: Sequence[tuple[np.ndarray, float]], like: Array) -> Array:
    """Draw Gaussian columns on an empty image.

    Parameters
    ----------
    points
        (n, 2) pixels (x, y), on the host.
    shapes
        Gaussians that each column is the sum of: heights (n,), and a standard deviation in pixels.
    like
        An image of the frame: its shape, and its library.

    Returns
    -------
    Array
        float32, of the shape of ``like``.
    """
    xp = array_module(like)
    places, parts = [], []
    for height, sigma in shapes:
        laid = stamps(points, sigma, like, reach=3.5)
        part = laid.down[:, :, None] * laid.across[:, None, :]
        part *= xp.asarray(height.astype(np.float32))[:, None, None]
        places.append(laid.place(like).reshape(-1))
        parts.append(part.reshape(-1))
    total = xp.bincount(xp.concatenate(places), xp.concatenate(parts), minlength=like.size)
    return total.astype(xp.float32).reshape(like.shape)
