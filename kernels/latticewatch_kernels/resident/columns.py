"""How far metal columns stand off their sites, fitted on the device."""

from __future__ import annotations

import math

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.column_fit import LONGEST_STEP, disc
from latticewatch_kernels.displacements import (
    LEAST_HEIGHT,
    LEAST_NOISE,
    LEAST_SIGNIFICANCE,
    LEAST_SPREAD,
    LONGEST,
    REFERENCES,
    SEVEN_CELLS,
    STEPS,
    WINDOW,
)
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch, launch_together
from latticewatch_kernels.noise import NOISE_CLASSES
from latticewatch_kernels.order import BLOCKS_PER_CELL
from latticewatch_kernels.resident.parts import LabelsAbove, OrderAbove
from latticewatch_kernels.resident.plan import Plan
from latticewatch_kernels.resident.tables import table

SOURCE, NOISE_SOURCE = "columns", "column_noise"

#: As in the source: columns that a block fits, threads to a column, and what is kept of each.
GROUP, LANES, NUMBERS = 16, 16, 9


def displacements(
    cells: Array,
    sublattice: Array,
    labels: LabelsAbove,
    order: OrderAbove,
    facts: Array,
    plan: Plan,
) -> tuple[Array, Array]:
    """Measure the column of each point on sublattice 0 and its six neighbours.

    The twin is `displacements.column_displacements`, whose sums over pixels are in single precision
    and are in double here: within 1e-5 px and 1e-5 of an error (2e-6 on frames of WS2; 3e-5
    where columns are twice as wide as those, which a window hardly tells from background, and
    noise is up to 40 times as much). Where two pixels are equally bright on the bound of a class of
    intensity either may count to it, with the twin too.

    Parameters
    ----------
    cells, sublattice
        int32 (n, 2) and int8 (n,): sites of the points, of which REPORTED count.
    labels, order, facts, plan
        The frame's.

    Returns
    -------
    shift, error
        float32 (n, 7, 2).
    """
    xp, most, every = array_module(facts), plan.room.found, REFERENCES**2
    number, pixels = every + len(SEVEN_CELLS) * most, table(facts, _disc, plan.room.radius)
    blocks = -(-number // GROUP)
    reach = math.isqrt(plan.room.radius)
    fitted_to = pixels, len(pixels), reach, np.float64(WINDOW), np.float64(LONGEST_STEP)
    found = xp.empty((number, NUMBERS), np.float64)
    sample = xp.empty((2, every, len(pixels)), np.float32)
    left_out = xp.empty((every, len(pixels)), np.int8)
    launch_together(
        SOURCE, "columns_expected", blocks, facts,
        facts, labels.residual, labels.periodic, labels.hole, *plan.shape,
        order.maps[3:], *plan.cells, plan.stride * BLOCKS_PER_CELL,
        cells, sublattice, most, table(facts, _seven), REFERENCES,
        *fitted_to, found, *sample, left_out, threads=GROUP * LANES,
    )  # fmt: skip
    levels, line = _noise(sample[0], sample[1], left_out)
    shift = xp.empty((number, 4), np.float64)
    launch_together(
        SOURCE, "columns_fitted", blocks, facts,
        facts, labels.residual, plan.shape[1], number, *fitted_to, found, levels, line,
        STEPS, np.float64(LEAST_NOISE), np.float64(LEAST_HEIGHT), np.float64(LEAST_SIGNIFICANCE),
        np.float64(LONGEST), shift, threads=GROUP * LANES,
    )  # fmt: skip
    moved, error = xp.empty((2, most, len(SEVEN_CELLS), 2), np.float32)
    launch_together(
        SOURCE, "columns_calibrated", 1, facts,
        shift, every, most, np.float64(LEAST_SPREAD), xp.empty((2, every), np.float64),
        moved, error,
    )  # fmt: skip
    return moved, error


def _noise(residual: Array, periodic: Array, left_out: Array) -> tuple[Array, Array]:
    """Classes of intensity (8, 3) and the line of noise (3,) of pixels; twin: `fit_noise_line`."""
    xp = array_module(residual)
    levels, line = xp.empty((NOISE_CLASSES, 3), np.float64), xp.empty(3, np.float64)
    variances, tiny = xp.empty(NOISE_CLASSES, np.float64), np.float64(np.finfo(np.float32).tiny)
    launch_together(
        NOISE_SOURCE, "column_classes", 2 * NOISE_CLASSES, levels,
        periodic, left_out, periodic.size, levels,
    )  # fmt: skip
    launch_together(
        NOISE_SOURCE, "column_variances", NOISE_CLASSES, levels,
        residual, periodic, left_out, periodic.size, levels, variances,
    )  # fmt: skip
    launch("lines", "fit_line", 1, levels, levels, variances, tiny, line)
    return levels, line


def _disc(radius: int) -> np.ndarray:
    """Pixels int32 (k, 2) whose squared distance is no more than this, the nearest first."""
    every = disc(math.isqrt(radius) + 1.0)
    distance = (every**2).sum(axis=1)
    nearest = np.argsort(distance, kind="stable")
    return np.asarray(every[nearest][: np.count_nonzero(distance <= radius)], np.int32)


def _seven() -> np.ndarray:
    return SEVEN_CELLS.astype(np.int32)
