"""Columns as small squares of pixels around each site: read from an image, or drawn into one.

The pixels around some thousand sites are gathered faster than a frame is Fourier transformed, and a
square follows the site's place between pixels exactly, where a smoothed image must be interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.lattice import Array

#: Half the side of a square in standard deviations of the column. Beyond it lie 0.2 % of the energy
#: that a matched filter sums.
REACH = 2.5


@dataclass(frozen=True)
class Stamps:
    """Gaussian columns of unit height on the pixels around n points; k pixels a side.

    Attributes
    ----------
    place
        int (n, k, k): the pixels' indices in the flattened frame. Those outside count as the
        nearest ones inside, whose height is 0.
    down, across
        float32 (n, k): the column's height is the product of the two.
    """

    place: Array
    down: Array
    across: Array

    def sums(self, image: Array) -> Array:
        """Sum of image times column over each square, (n,)."""
        return self._weighted(image, self.down, self.across)

    def squared_sums(self, image: Array) -> Array:
        """Sum of image times column squared over each square, (n,)."""
        return self._weighted(image, self.down**2, self.across**2)

    def _weighted(self, image: Array, down: Array, across: Array) -> Array:
        xp = array_module(image)
        lines = xp.matmul(image.reshape(-1).take(self.place), across[:, :, None])[:, :, 0]
        return (lines * down).sum(axis=1)


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
    span = np.arange(-half, half + 1)
    parts = []
    for axis, size in ((1, like.shape[0]), (0, like.shape[1])):
        centre = points[:, axis]
        pixel = np.rint(centre).astype(np.intp)[:, None] + span
        height = np.exp(-0.5 * ((pixel - centre[:, None]) / sigma) ** 2)
        height[(pixel < 0) | (pixel >= size)] = 0.0
        parts.append((np.clip(pixel, 0, size - 1), height.astype(np.float32)))
    (row, down), (column, across) = ((xp.asarray(a), xp.asarray(b)) for a, b in parts)
    place = (row * like.shape[1])[:, :, None] + column[:, None, :]
    return Stamps(place, down, across)


def draw(points: np.ndarray, height: np.ndarray, sigma: float, like: Array) -> Array:
    """Image of Gaussian columns of given heights, float32, of the shape of ``like``."""
    xp = array_module(like)
    laid = stamps(points, sigma, like, reach=3.5)
    part = laid.down[:, :, None] * laid.across[:, None, :]
    part *= xp.asarray(height.astype(np.float32))[:, None, None]
    total = xp.bincount(laid.place.reshape(-1), part.reshape(-1), minlength=like.size)
    return total.astype(xp.float32).reshape(like.shape)
