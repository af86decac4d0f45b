"""The lattice of a frame by its harmonics, and what follows from the two, on a device."""

from __future__ import annotations

import math

import numpy as np

from latticewatch_kernels.columns import SIGMA_BOUNDS
from latticewatch_kernels.harmonics import HIGHEST_FREQUENCY, node_indices
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import THREADS, launch
from latticewatch_kernels.order import SMOOTHING_CELLS
from latticewatch_kernels.patches import SCALE_STEP
from latticewatch_kernels.periodic import (
    FILTER_SHELLS,
    LEAST_WINDOW_CELLS,
    PADDING_WINDOWS,
    WINDOW_CELLS,
)
from latticewatch_kernels.registration import EQUAL_HEIGHTS, MOTIF_SIDE, PHASE_ROUNDS

#: As in the source: harmonics that there is room for.
MOST = 32


def _farthest(shells: int) -> int:
    """``h^2 + h k + k^2`` of the farthest of the first hexagonal shells."""
    h, k = node_indices(np.array([[1.0, 0.0], [0.5, 1.0]]), shells, np.inf).T
    return int((h**2 + h * k + k**2).max())


#: Of the shells that the Bragg filter passes.
FARTHEST = _farthest(FILTER_SHELLS)


def register(
    harmonics: Array,
    facts: Array,
    shape: tuple[int, int],
    constant_px: float,
    scale_range: tuple[float, float],
) -> None:
    """Find the lattice by the harmonics, and write what is known from then on into the facts.

    The twins are `registration.from_harmonics`, `columns.column_profile`,
    `order._mean_above_empty`, `Lattice.covering_cells`, `periodic.window_px`,
    `periodic.leaked` and `patches.scale_for`.
    All is in double precision and sums run in another order: lattices are equal to ``1e-9`` of
    their constant, other numbers to ``1e-9`` of their size, where the twin's line through the
    logarithms of amplitudes has a condition number below 1e3. A choice that rounding decides in the
    twin, such as between two columns equally near to the centre, may fall otherwise.

    Parameters
    ----------
    harmonics
        float64 (n, 4), at most `MOST`: indices h and k, real and imaginary part of the amplitude.
    facts
        With HARMONICS, HARMONIC_NOISE and RECIPROCAL. Written are VECTORS to FACTOR, in the order
        of `facts.SLOTS`. A frame without a harmonic out of the noise is refused (NO_HARMONIC);
        of a refused frame a lattice of 10 px about the frame's middle is written.
    shape
        (rows, columns) of the frame.
    constant_px, scale_range
        Lattice constant that the network serves, and between which parts of it frames stay as they
        are, as in `patches.scale_for`.
    """
    if harmonics.shape[0] > MOST:
        raise ValueError(f"{harmonics.shape[0]} harmonics, and there is room for {MOST}")
    low, high = scale_range
    # one block, for the work is too little for more; it is as large as the source says
    launch(
        "registration", "registration", THREADS, facts,
        harmonics, harmonics.shape[0], *shape, MOTIF_SIDE, PHASE_ROUNDS,
        np.float64(EQUAL_HEIGHTS), *(np.float64(bound) for bound in SIGMA_BOUNDS),
        np.float64(PADDING_WINDOWS), np.float64(LEAST_WINDOW_CELLS), np.float64(WINDOW_CELLS),
        np.float64(SMOOTHING_CELLS), np.float64(HIGHEST_FREQUENCY), FARTHEST,
        np.float64(constant_px), np.float64(low), np.float64(high),
        np.float64(math.log(SCALE_STEP)), facts,
    )  # fmt: skip
