"""Local crystalline order: where a frame shows the lattice, disorder, or a hole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import distance_transform_edt

from latticewatch_kernels.harmonics import Harmonics, measure_harmonics
from latticewatch_kernels.lattice import HEXAGONAL_SITES, Array, Lattice
from latticewatch_kernels.phases import LESS_ORDER, WHOLE, area_fractions
from latticewatch_kernels.sampling import bilinear, gaussian

#: Blocks to a lattice constant: the demodulated image is band-limited to less than the grid's
#: Nyquist frequency by the smoothing that follows.
BLOCKS_PER_CONSTANT = 3.0

#: Standard deviation of the local average, lattice constants. It holds 14 cells, so that a missing
#: column lowers the amplitude by 14 % at most, while a hole of three cells across shows.
SMOOTHING_CELLS = 1.0

#: Blocks of the demodulated image to a cell of the map, along each axis.
BLOCKS_PER_CELL = 2

#: Local Bragg amplitude, as a part of the frame's own crystalline level, that counts as crystal.
CRYSTALLINE_AMPLITUDE = 0.4

#: Quantile of the amplitudes that is taken for the crystalline level: right while a quarter of the
#: frame or more is crystalline.
CRYSTALLINE_QUANTILE = 0.85

#: A block without order is a hole when its mean lies no more than this part of the way from the
#: level of the empty site up to the mean level of the crystal.
HOLE_LEVEL = 0.35


@dataclass(frozen=True)
class OrderMap:
    """Local order on a coarse grid of cells; small, and always on the host.

    Attributes
    ----------
    amplitude
        float32 (h, w): root-mean-square amplitude of the first Bragg ring, crystalline level 1.
    level
        float32 (h, w): local mean, 0 at the empty site's level, 1 at the crystal's mean.
    mean
        float32 (h, w): the same in units of the image.
    displacement
        float32 (2, h, w): how far (x, y) in pixels the columns stand from their ideal sites, by
        distortion of the scan or strain. Right while it stays below 0.4 lattice constants.
    crystalline, hole
        bool (h, w); what is neither is disordered.
    stride
        Pixels to a cell; cell (r, c) covers rows [stride r, stride (r + 1)), and columns likewise.
    fractions
        Crystalline, disordered and hole fraction of the area, float64 (3,), by
        `phases.area_fractions`: finer than the cells.
    """

    amplitude: np.ndarray
    level: np.ndarray
    mean: np.ndarray
    displacement: np.ndarray
    crystalline: np.ndarray
    hole: np.ndarray
    stride: int
    fractions: np.ndarray

    def displacement_at(self, points: np.ndarray) -> np.ndarray:
        """Displacement (n, 2) in pixels at points (n, 2); ``points`` less it are ideal places."""
        place = (np.asarray(points, float).reshape(-1, 2) + 0.5) / self.stride - 0.5
        x, y = place.astype(np.float32).T
        return np.asarray(bilinear(self.displacement, x, y).T, float)

    def near_hole(self, points: np.ndarray, reach_px: float) -> np.ndarray:
        """Whether a hole lies within `reach_px` of each point (n, 2), bool (n,)."""
        if not self.hole.any():
            return np.zeros(len(points), bool)
        distance = distance_transform_edt(~self.hole) * self.stride
        last = np.array(self.hole.shape) - 1
        block = np.clip((points[:, ::-1] / self.stride).astype(int), 0, last)
        return np.asarray(distance[block[:, 0], block[:, 1]] <= reach_px)


def local_order(image: Array, lattice: Lattice, harmonics: Harmonics | None = None) -> OrderMap:
    """Map local Bragg amplitude, mean level and displacement; tell holes from disorder.

    The image is multiplied by each wave of the first Bragg ring and averaged locally (Gaussian, one
    lattice constant): the modulus is the local amplitude, the phases give the displacement by least
    squares (geometric phase analysis: Hytch et al., Ultramicroscopy 74, 131 (1998)).

    Parameters
    ----------
    image
        (rows, columns) real.
    lattice
        Its lattice.
    harmonics
        `harmonics.measure_harmonics` of the image, where known already.
    """
    if harmonics is None:
        harmonics = measure_harmonics(image, np.linalg.inv(lattice.matrix))
    stride = stride_px(lattice.constant)
    offset = image.mean(dtype=np.float32)
    maps = _demodulate(image, lattice, stride)
    sigma = SMOOTHING_CELLS * lattice.constant / stride
    average = [averaging(size, sigma) for size in maps.shape[1:]]
    maps = np.matmul(np.matmul(average[0], maps), average[1].T)
    mean, waves = maps[0] + offset, maps[1:7:2] + 1j * maps[2:7:2]
    amplitude = np.sqrt((waves.real**2 + waves.imag**2).sum(0))
    amplitude /= float(np.quantile(amplitude, CRYSTALLINE_QUANTILE))
    crystalline = amplitude > CRYSTALLINE_AMPLITUDE
    middle = float(np.median(mean[crystalline]))
    level = (mean - middle) / _mean_above_empty(lattice, harmonics) + 1.0
    hole = ~crystalline & (level < HOLE_LEVEL)
    fractions = WHOLE
    if (amplitude < LESS_ORDER).any():
        texture = _covariance(image, stride, average) - maps[0] ** 2
        cell = lattice.constant / (stride * BLOCKS_PER_CELL)
        fractions = area_fractions(waves, amplitude, texture, cell)
    displacement = _displacement(waves, lattice)
    return OrderMap(
        amplitude,
        level,
        mean,
        displacement,
        crystalline,
        hole,
        stride * BLOCKS_PER_CELL,
        fractions,
    )


def stride_px(constant: float) -> int:
    """Pixels along a side of a block of the demodulated image, by the lattice constant."""
    return max(1, int(constant / BLOCKS_PER_CONSTANT))


def enlarge(cells: np.ndarray, stride: int, shape: tuple[int, int]) -> np.ndarray:
    """Bilinear enlargement of a map of cells to pixels, float32; edge values are repeated."""
    rows, columns = (
        _interpolation(size, count, stride) for size, count in zip(shape, cells.shape, strict=True)
    )
    return np.asarray(rows @ cells.astype(np.float32) @ columns.T)


@lru_cache(maxsize=4)
def _interpolation(size: int, count: int, stride: int) -> np.ndarray:
    """(size, count) weights of linear interpolation between the centres of cells."""
    place = np.clip((np.arange(size) + 0.5) / stride - 0.5, 0.0, count - 1.0)
    weights = np.maximum(1.0 - np.abs(place[:, None] - np.arange(count)), 0.0)
    return np.asarray(weights.astype(np.float32))


@lru_cache(maxsize=16)  # two to a frame that is in hand, whose stages share them
def averaging(count: int, sigma: float) -> np.ndarray:
    """(cells, count) weights of a Gaussian average of blocks around each cell, sums 1."""
    cells = max(1, count // BLOCKS_PER_CELL)
    centre = (np.arange(cells) + 0.5) * BLOCKS_PER_CELL - 0.5
    weights = gaussian(centre[:, None] - np.arange(count), sigma)
    return np.asarray((weights / weights.sum(1, keepdims=True)).astype(np.float32))


def _ring(lattice: Lattice) -> np.ndarray:
    """Three vectors of the first ring of reciprocal space, (3, 2)."""
    first, second = np.linalg.inv(lattice.matrix)
    return np.array([first, second, second - first])


def _waves(lattice: Lattice, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Waves of the first Bragg ring along y and x, complex (3, rows) and (3, columns)."""
    gx, gy = _ring(lattice).T[:, :, None]
    y, x = (np.arange(size) for size in shape)
    return np.exp(-2j * np.pi * gy * y), np.exp(-2j * np.pi * gx * x)


def _demodulate(image: np.ndarray, lattice: Lattice, stride: int) -> np.ndarray:
    """Block means of the image and of the image times each wave of the first Bragg ring.

    float32 (7, h, w): mean, then real and imaginary part for each wave.
    """
    rows, columns = (size // stride for size in image.shape)
    whole = image[: rows * stride, : columns * stride].astype(np.float32, copy=False)
    whole = whole - image.mean(dtype=np.float32)
    waves, across = _waves(lattice, (rows * stride, columns * stride))
    across = across.astype(np.complex64)
    kernels = [np.ones(rows * stride)]
    for wave in waves:
        kernels += [wave.real, wave.imag]
    # In y block sums are products with a small matrix for each row of blocks: (rows, 7, stride).
    folds = np.stack(kernels).reshape(-1, rows, stride).swapaxes(0, 1) / stride
    folded = np.matmul(folds.astype(np.float32), whole.reshape(rows, stride, -1))
    maps = [_row_means(folded[:, 0], stride)]
    for k in range(3):
        mean = _row_means((folded[:, 1 + 2 * k] + 1j * folded[:, 2 + 2 * k]) * across[k], stride)
        maps += [mean.real, mean.imag]
    return np.stack(maps)


def _row_means(lines: np.ndarray, stride: int) -> np.ndarray:
    """Means of ``stride`` neighbours in each row; sums of slices, for the groups are short."""
    total = lines[:, ::stride].copy()
    for k in range(1, stride):
        total += lines[:, k::stride]
    return np.asarray(total / stride)


def _covariance(image: np.ndarray, stride: int, average: Sequence[np.ndarray]) -> np.ndarray:
    """Local mean of the product of each pixel and the one below, both less the frame's mean.

    Counting noise has no part in it, and jitter along x, or afterglow, next to none.
    """
    rows, columns = (size // stride * stride for size in image.shape)
    whole = image[:rows, :columns].astype(np.float32, copy=False) - image.mean(dtype=np.float32)
    product = np.zeros_like(whole)
    np.multiply(whole[:-1], whole[1:], out=product[:-1])
    product[-1] = product[-2]
    # sums of rows as a product, which is faster than a sum over a short axis
    ones = np.full((1, stride), 1.0 / stride, np.float32)
    lines = (ones @ product.reshape(rows // stride, stride, columns))[:, 0]
    return np.asarray(average[0] @ _row_means(lines, stride) @ average[1].T)


def _displacement(waves: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Least squares of ``phase = -2 pi g.u`` over the three waves, float32 (2, h, w)."""
    reference = np.conj(waves.sum((1, 2), keepdims=True))
    phase = np.angle(waves * reference).astype(np.float32)
    solve = np.linalg.pinv(-2.0 * np.pi * _ring(lattice)).astype(np.float32)
    return np.tensordot(solve, phase, axes=1)


def _mean_above_empty(lattice: Lattice, harmonics: Harmonics) -> float:
    """Mean level of the crystal above the level of its empty site, image units."""
    place = lattice.to_pixels(HEXAGONAL_SITES[2])
    wave = np.exp(2j * np.pi * harmonics.nodes @ place)
    return -2.0 * float((wave * harmonics.amplitudes).real.sum())
