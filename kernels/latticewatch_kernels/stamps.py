"""Columns as small squares of pixels around each site: read from an image, or drawn into one.

The pixels around some thousand sites are gathered faster than a frame is Fourier transformed, and a
square follows the site's place between pixels exactly, where a smoothed image must be interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch_kernels import compiled
from latticewatch_kernels.arrays import on_device
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.transfers import up

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
    place
        int (n, k, k): the pixels' indices in the flattened frame. Those outside count as the
        nearest ones inside, whose height is 0. None on a device, where sums need no such table.
    down, across
        float32 (n, k): the column's height is the product of the two.
    points
        float64 (n, 2) pixels (x, y), on the side of the others.
    """

    place: np.ndarray | None
    down: Array
    across: Array
    points: Array

    def sums(self, image: Array) -> Array:
        """Sum of image times column over each square, (n,)."""
        return self._weighted(image, self.down, self.across)

    def squared_sums(self, image: Array) -> Array:
        """Sum of image times column squared over each square, (n,)."""
        return self._weighted(image, self.down**2, self.across**2)

    def _weighted(self, image: Array, down: Array, across: Array) -> Array:
        if self.place is None:
            return compiled.stamp_sums(image, self.points, down, across)
        lines = np.matmul(image.reshape(-1).take(self.place), across[:, :, None])[:, :, 0]
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
    if on_device(like):
        (above,) = up(like, np.asarray(points, float))
        shape = (like.shape[0], like.shape[1])
        return Stamps(
            None, *compiled.stamp_heights(above, _half(reach, sigma), sigma, shape), above
        )
    return Stamps(*_laid(points, sigma, like, reach), points)


def draw(points: np.ndarray, height: np.ndarray, sigma: float, like: Array) -> Array:
    """Image of Gaussian columns of given heights, float32, of the shape of ``like``."""
    single = height.astype(np.float32)
    if on_device(like):
        points, single = up(like, np.asarray(points, float), single)
        shape = (like.shape[0], like.shape[1])
        down, across = compiled.stamp_heights(points, _half(DRAWN_REACH, sigma), sigma, shape)
        return compiled.draw_stamps(points, single, down, across, shape)
    place, down, across = _laid(points, sigma, like, DRAWN_REACH)
    part = down[:, :, None] * across[:, None, :]
    part *= single[:, None, None]
    total = np.bincount(place.reshape(-1), part.reshape(-1), minlength=like.size)
    return total.astype(np.float32).reshape(like.shape)


def _half(reach: float, sigma: float) -> int:
    """Pixels from the middle one of a square to its edge."""
    return max(1, int(np.ceil(reach * sigma)))


def _laid(
    points: np.ndarray, sigma: float, like: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`Stamps.place`, `Stamps.down` and `Stamps.across` on the host."""
    half = _half(reach, sigma)
    span = np.arange(-half, half + 1)
    parts = []
    for axis, size in ((1, like.shape[0]), (0, like.shape[1])):
        centre = points[:, axis]
        pixel = np.rint(centre).astype(np.intp)[:, None] + span
        height = np.exp(-0.5 * ((pixel - centre[:, None]) / sigma) ** 2)
        height[(pixel < 0) | (pixel >= size)] = 0.0
        parts.append((np.clip(pixel, 0, size - 1), height.astype(np.float32)))
    (row, down), (column, across) = parts
    return (row * like.shape[1])[:, :, None] + column[:, None, :], down, across
