"""Local crystalline order: where a frame shows the lattice, disorder, or a hole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.arrays import array_module, ndimage_module, to_host
from latticewatch_kernels.harmonics import measure_harmonics
from latticewatch_kernels.lattice import HEXAGONAL_SITES, Array, Lattice

#: Blocks to a lattice constant: the demodulated image is band-limited to less than the grid's
#: Nyquist frequency by the smoothing that follows.
BLOCKS_PER_CONSTANT = 3.0

#: Standard deviation of the local average, lattice constants. It holds 14 cells, so that a missing
#: column lowers the amplitude by 14 % at most while a hole of three cells across shows.
SMOOTHING_CELLS = 1.0

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
    """Local order on a coarse grid of blocks.

    Attributes
    ----------
    amplitude
        float32 (h, w): root-mean-square amplitude of the first Bragg ring, crystalline level 1.
    level
        float32 (h, w): local mean, 0 at the empty site's level, 1 at the crystal's mean.
    crystalline, hole
        bool (h, w); what is neither is disordered.
    stride
        Pixels to a block; block (r, c) covers pixels [stride r, stride (r + 1)) of rows, etc.
    fractions
        Crystalline, disordered and hole fraction of the area, float64 (3,).
    """

    amplitude: Array
    level: Array
    crystalline: Array
    hole: Array
    stride: int
    fractions: np.ndarray


def local_order(image: Array, lattice: Lattice) -> OrderMap:
    """Map the local Bragg amplitude and mean level of an image, and tell holes from disorder."""
    xp = array_module(image)
    stride = max(1, int(lattice.constant / BLOCKS_PER_CONSTANT))
    level, waves = _demodulate(image, lattice, stride)
    sigma = SMOOTHING_CELLS * lattice.constant / stride
    level = _smooth(level, sigma)
    amplitude = xp.sqrt(
        sum(_smooth(w.real, sigma) ** 2 + _smooth(w.imag, sigma) ** 2 for w in waves)
    )
    scale = float(np.quantile(to_host(amplitude), CRYSTALLINE_QUANTILE))
    amplitude = amplitude / scale
    crystalline = amplitude > CRYSTALLINE_AMPLITUDE
    mean = float(np.median(to_host(level)[to_host(crystalline)]))
    level = (level - (mean - _mean_above_empty(image, lattice))) / _mean_above_empty(image, lattice)
    hole = ~crystalline & (level < HOLE_LEVEL)
    parts = [float(crystalline.mean()), 0.0, float(hole.mean())]
    parts[1] = max(0.0, 1.0 - parts[0] - parts[2])
    return OrderMap(amplitude, level, crystalline, hole, stride, np.array(parts))


def enlarge(blocks: Array, stride: int, shape: tuple[int, int]) -> Array:
    """Bilinear enlargement of a map of blocks to pixels, float32; edge values are repeated."""
    xp = array_module(blocks)
    down, across = (
        xp.asarray(_interpolation(size, count, stride))
        for size, count in zip(shape, blocks.shape, strict=True)
    )
    return down @ blocks.astype(xp.float32) @ across.T


def _interpolation(size: int, count: int, stride: int) -> np.ndarray:
    """(size, count) weights of linear interpolation between block centres."""
    place = np.clip((np.arange(size) + 0.5) / stride - 0.5, 0.0, count - 1.0)
    weights = np.maximum(1.0 - np.abs(place[:, None] - np.arange(count)), 0.0)
    return np.asarray(weights.astype(np.float32))


def _demodulate(image: Array, lattice: Lattice, stride: int) -> tuple[Array, list[Array]]:
    """Block means of the image and of the image times each wave of the first Bragg ring."""
    xp = array_module(image)
    reciprocal = np.linalg.inv(lattice.matrix)
    ring = [reciprocal[0], reciprocal[1], reciprocal[1] + reciprocal[0]]
    rows, columns = (size // stride for size in image.shape)
    whole = image[: rows * stride, : columns * stride].astype(xp.float32, copy=False)
    whole = whole - whole.mean()
    # In x the waves are products with a small matrix for each block: (blocks, stride, 1 + 2 * 3).
    x = np.arange(columns * stride)
    kernels = [np.ones_like(x, float)]
    for g in ring:
        wave = np.exp(-2j * np.pi * g[0] * x)
        kernels += [wave.real, wave.imag]
    across = np.stack(kernels, -1).reshape(columns, stride, -1).astype(np.float32) / stride
    blocks = whole.reshape(rows * stride, columns, stride).transpose(1, 0, 2)
    folded = xp.matmul(blocks, xp.asarray(across))  # (columns, pixels down, 7)
    y = np.arange(rows * stride)
    level = folded[:, :, 0].reshape(columns, rows, stride).mean(-1).T
    waves = []
    for k, g in enumerate(ring):
        wave = xp.asarray(np.exp(-2j * np.pi * g[1] * y).astype(np.complex64))
        part = (folded[:, :, 1 + 2 * k] + 1j * folded[:, :, 2 + 2 * k]) * wave
        waves.append(part.reshape(columns, rows, stride).mean(-1).T)
    return level, waves


def _smooth(blocks: Array, sigma: float) -> Array:
    return ndimage_module(blocks).gaussian_filter(blocks, sigma, mode="reflect", truncate=3.0)


def _mean_above_empty(image: Array, lattice: Lattice) -> float:
    """Mean level of the crystal above the level of its empty site, image units."""
    harmonics = measure_harmonics(image, np.linalg.inv(lattice.matrix))
    place = lattice.to_pixels(HEXAGONAL_SITES[2])
    wave = np.exp(2j * np.pi * harmonics.nodes @ place)
    return -2.0 * float((wave * harmonics.amplitudes).real.sum())
