"""Values of an image between its pixels."""

from __future__ import annotations

import numpy as np

from latticewatch_kernels.lattice import Array

#: Weights below this count as nothing. Far from a Gaussian's centre they, or products of them,
#: would be smaller than float32's normal numbers, which slow a processor down: by 13 ms for a frame
#: of 512 x 512.
LEAST_WEIGHT = 1e-12


def gaussian(distance: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian of unit height at given distances; 0 where it is below `LEAST_WEIGHT`.

    Of the distances' precision, which is single or double.
    """
    weight = np.exp(-0.5 * (np.asarray(distance) / sigma) ** 2)
    weight *= weight >= LEAST_WEIGHT
    return np.asarray(weight)


def bilinear(image: Array, x: Array, y: Array) -> Array:
    """Bilinear interpolation at pixels (x, y); beyond the frame the edge value is repeated.

    Of several images of one shape, (..., rows, columns), each is read at all places.
    """
    height, width = image.shape[-2:]
    x = np.clip(x, 0, width - 1).astype(np.float32)
    y = np.clip(y, 0, height - 1).astype(np.float32)
    left = np.minimum(x.astype(np.intp), max(width - 2, 0))
    top = np.minimum(y.astype(np.intp), max(height - 2, 0))
    u, v = (x - left).astype(np.float32), (y - top).astype(np.float32)
    flat = image.reshape(*image.shape[:-2], -1)
    base = top * width + left
    right, down = (1 if width > 1 else 0), (width if height > 1 else 0)

    def between(first: Array) -> Array:
        return flat.take(first, axis=-1) * (1 - u) + flat.take(first + right, axis=-1) * u

    return between(base) * (1 - v) + between(base + down) * v


def cubic(image: Array, x: Array, y: Array) -> Array:
    """Cubic convolution at pixels (x, y); beyond the frame the edge value is repeated.

    Third-order accurate (R. G. Keys, IEEE Trans. ASSP 29, 1153 (1981), a = -1/2).
    """
    height, width = image.shape
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    across = cubic_weights(np.asarray(x - left, dtype=np.float32))
    down = cubic_weights(np.asarray(y - top, dtype=np.float32))
    flat = image.reshape(-1)
    total = np.zeros(x.shape, np.float32)
    column = [(left + (j - 1)).clip(0, width - 1) for j in range(4)]
    for i in range(4):
        row = (top + (i - 1)).clip(0, height - 1) * width
        line = np.zeros(x.shape, np.float32)
        for j in range(4):
            line += across[j] * flat.take(row + column[j])
        total += down[i] * line
    return total


def cubic_weights(t: Array) -> tuple[Array, Array, Array, Array]:
    """Weights of the samples at -1, 0, 1 and 2 for a place t in [0, 1), by cubic convolution."""
    t2 = t * t
    t3 = t2 * t
    return (
        -0.5 * t3 + t2 - 0.5 * t,
        1.5 * t3 - 2.5 * t2 + 1.0,
        -1.5 * t3 + 2.0 * t2 + 0.5 * t,
        0.5 * t3 - 0.5 * t2,
    )
