"""Scan lines that were written a little to the left or right, put back where they belong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.lattice import Array
from latticewatch_kernels.noise import NoiseLine, noise_line
from latticewatch_kernels.robust import median, spread
from latticewatch_kernels.sampling import cubic_weights

#: Rows whose shift is known no better than this, pixels, are left as they are: empty ones, and all
#: rows of frames whose dose is too low. A row that is moved by a wrong amount is worse than none.
LEAST_CERTAIN_PX = 0.25

#: Longest shift that is believed, as a part of the lattice constant: the estimate is a linear one.
LONGEST = 0.08

#: Jitter smaller than this, root mean square pixels, is left alone: interpolation would cost more.
WORTH_PX = 0.05


@dataclass(frozen=True)
class RowShifts:
    """How far each row was written to the right.

    Attributes
    ----------
    shift
        (rows,) pixels, shrunk towards 0 by what is not known of it.
    jitter_px
        Standard deviation of the true shifts, as estimated; 0 where none stands out.
    """

    shift: np.ndarray
    jitter_px: float


def measure_row_shifts(
    image: Array,
    periodic: Array,
    hole: Array,
    constant: float,
    noise: NoiseLine | None = None,
) -> RowShifts:
    """Measure the scan-line jitter of a frame against its own periodic part.

    To first order a row shifted by s differs from the periodic part P by ``-s dP/dx``; s follows by
    least squares, each pixel weighted by its counting noise. The variance of the estimates less
    that of their errors is the jitter's own, and each estimate is shrunk accordingly (James and
    Stein, Proc. 4th Berkeley Symp. 1, 361 (1961), in its empirical Bayes form).

    Parameters
    ----------
    image, periodic
        (rows, columns) real, and its `periodic.bragg_filter`.
    hole
        bool, pixels without specimen.
    constant
        Lattice constant, pixels.
    noise
        `noise.noise_line` of image less periodic part, where known already.
    """
    residual = image - periodic
    noise = noise if noise is not None else noise_line(residual, periodic, hole)
    weight = 1.0 / noise.variance(periodic)
    slope = np.zeros_like(periodic)
    np.subtract(periodic[:, 2:], periodic[:, :-2], out=slope[:, 1:-1])
    slope *= np.float32(0.5)
    slope[hole] = 0.0
    weighted = slope * weight
    residual[hole] = 0.0
    products = [(weighted, slope), (weighted, residual), (residual * weight, residual)]
    sums = np.stack([np.einsum("rc,rc->r", a, b) for a, b in products])
    information, pulled, squares = sums.astype(float)
    shift = -pulled / np.maximum(information, 1e-12)
    # the variances are robust ones, and too small where a pixel counts less than an electron
    misfit = squares.sum() / max(hole.size - int(hole.sum()), 1)
    error = np.sqrt(max(misfit, 1.0) / np.maximum(information, 1e-12))
    known = error < LEAST_CERTAIN_PX
    if not known.any():
        return RowShifts(np.zeros(len(shift)), 0.0)
    shift = shift - median(shift[known])
    own = _own_variance(shift[known], error[known])
    factor = np.where(known, own / (own + error**2), 0.0)
    longest = LONGEST * constant
    return RowShifts(np.clip(shift * factor, -longest, longest), float(np.sqrt(own)))


def _own_variance(shift: np.ndarray, error: np.ndarray) -> float:
    """Variance of the shifts beyond that of their errors; robust against rows that jumped."""
    return max(spread(shift) ** 2 - median(error**2), 0.0)


def straighten(image: Array, shifts: RowShifts) -> Array:
    """Move every row back by its shift, by cubic convolution; float32, same shape.

    A frame whose jitter is not worth it comes back as it is.
    """
    if shifts.jitter_px < WORTH_PX:
        return image
    columns = image.shape[1]
    whole = np.floor(shifts.shift).astype(int)
    first, last = int(whole.min()) - 1, int(whole.max()) + 2
    weights = np.zeros((len(whole), last - first + 1), np.float32)
    four = cubic_weights((shifts.shift - whole).astype(np.float32))
    for k, weight in enumerate(four):
        np.put_along_axis(weights, (whole - 1 + k - first)[:, None], weight[:, None], axis=1)
    edge = max(-first, last, 0)
    padded = np.pad(image, ((0, 0), (edge, edge)), mode="edge")
    total, part = np.zeros_like(image), np.empty_like(image)
    by_step = weights.T[:, :, None]
    for step in range(first, last + 1):
        moved = padded[:, edge + step : edge + step + columns]
        total += np.multiply(by_step[step - first], moved, out=part)
    return total
