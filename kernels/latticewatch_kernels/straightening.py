"""Scan lines that were written a little to the left or right, put back where they belong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.arrays import array_module, to_host
from latticewatch_kernels.labelling import bragg_filter, noise_line
from latticewatch_kernels.lattice import Array, Lattice
from latticewatch_kernels.order import OrderMap, local_order
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


def measure_row_shifts(image: Array, lattice: Lattice, order: OrderMap | None = None) -> RowShifts:
    """Measure the scan-line jitter of a frame against its own periodic part.

    To first order a row shifted by s differs from the periodic part P by ``-s dP/dx``; s follows by
    least squares, each pixel weighted by its counting noise. The variance of the estimates less
    that of their errors is the jitter's own, and each estimate is shrunk accordingly (James and
    Stein, Proc. 4th Berkeley Symp. 1, 361 (1961), in its empirical Bayes form).

    Parameters
    ----------
    image
        (rows, columns) real; conditioned.
    lattice
        Its lattice.
    order
        `order.local_order` of the image, where known already.
    """
    xp = array_module(image)
    order = order if order is not None else local_order(image, lattice)
    periodic = bragg_filter(image, lattice, order)
    residual = image - periodic
    variance = noise_line(residual, periodic, xp.zeros(image.shape, bool)).variance(periodic)
    slope = xp.zeros_like(periodic)
    slope[:, 1:-1] = 0.5 * (periodic[:, 2:] - periodic[:, :-2])
    weighted = slope / variance
    information = to_host((weighted * slope).sum(axis=1)).astype(float)
    shift = -to_host((weighted * residual).sum(axis=1)) / np.maximum(information, 1e-12)
    # the variances are robust ones, and too small where a pixel counts less than an electron
    misfit = max(float((residual * residual / variance).mean()), 1.0)
    error = np.sqrt(misfit / np.maximum(information, 1e-12))
    known = error < LEAST_CERTAIN_PX
    if not known.any():
        return RowShifts(np.zeros(len(shift)), 0.0)
    shift = shift - np.median(shift[known])
    own = _own_variance(shift[known], error[known])
    factor = np.where(known, own / (own + error**2), 0.0)
    longest = LONGEST * lattice.constant
    return RowShifts(np.clip(shift * factor, -longest, longest), float(np.sqrt(own)))


def _own_variance(shift: np.ndarray, error: np.ndarray) -> float:
    """Variance of the shifts beyond that of their errors; robust against rows that jumped."""
    spread = 1.4826 * np.median(np.abs(shift))
    return float(max(spread**2 - np.median(error**2), 0.0))


def straighten(image: Array, shifts: RowShifts) -> Array:
    """Move every row back by its shift, by cubic convolution; float32, same shape.

    A frame whose jitter is not worth it comes back as it is.
    """
    if shifts.jitter_px < WORTH_PX:
        return image
    xp = array_module(image)
    rows, columns = image.shape
    whole = np.floor(shifts.shift).astype(int)
    part = (shifts.shift - whole).astype(np.float32)
    weights = cubic_weights(xp.asarray(part)[:, None])
    steps = xp.asarray(whole)[:, None] + xp.arange(columns)
    line = xp.arange(rows)[:, None]
    total = xp.zeros((rows, columns), xp.float32)
    for k, weight in enumerate(weights):
        total += weight * image[line, xp.clip(steps + (k - 1), 0, columns - 1)]
    return total
