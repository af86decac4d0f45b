"""What is told of each reported point, found on the device."""

from __future__ import annotations

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.lattice import NEIGHBOUR_CELLS, NEIGHBOUR_SUBLATTICE, Array
from latticewatch_kernels.launch import blocks_of, launch, launch_together
from latticewatch_kernels.order import BLOCKS_PER_CELL
from latticewatch_kernels.resident.columns import displacements
from latticewatch_kernels.resident.parts import (
    DescribedAbove,
    FoundAbove,
    LabelsAbove,
    OrderAbove,
)
from latticewatch_kernels.resident.plan import Plan
from latticewatch_kernels.resident.tables import table

SOURCE = "description"

#: As in the source: a column and the three next to it, points to a block, and its threads.
AROUND, TOLD, TELLING = 4, 4, 128


def described(
    reported: FoundAbove,
    labels: LabelsAbove,
    order: OrderAbove,
    facts: Array,
    plan: Plan,
    size: int,
    span: float,
) -> DescribedAbove:
    """Describe each reported point; twin: `latticewatch.analysis._describe`.

    Sites and holes are the twin's. Intensities are within 2e-5 of a host column, and patches within
    2e-5 of the highest, where a place in double precision, which is rounded otherwise here, falls
    to the next one in single: 2**-15 px apart, in a frame of 512. Else they are equal. Neighbours
    that are as dark as each other within that may be told apart otherwise, and the patch be turned
    so. Displacements differ as `columns.displacements` tells.

    Parameters
    ----------
    reported, labels, order
        Of the frame.
    facts
        With REPORTED, and everything up to the calibration of columns.
    plan
        The frame's.
    size, span
        Samples along a side of a patch, and lattice constants across it.
    """
    xp, most = array_module(facts), plan.room.found
    where = order.maps[3:], *plan.cells, plan.stride * BLOCKS_PER_CELL
    cells, sublattice = xp.empty((most, 2), np.int32), xp.empty(most, np.int8)
    intensity, in_hole = xp.empty((most, AROUND), np.float32), xp.empty(most, np.int8)
    launch_together(
        SOURCE, "points_described", blocks_of(most, TOLD), facts,
        facts, reported.points, most, where[0], order.hole, *where[1:],
        labels.matched, *plan.shape, table(facts, _neighbours),
        cells, sublattice, intensity, in_hole, threads=TELLING,
    )  # fmt: skip
    turns, patches = xp.empty(most, np.int8), xp.empty((most, size, size), np.float32)
    launch(
        SOURCE, "patches_turned", most * size * size, facts,
        facts, most, *where, labels.matched, *plan.shape, size, np.float64(span),
        cells, sublattice, intensity, turns, patches,
    )  # fmt: skip
    moved = displacements(cells, sublattice, labels, order, facts, plan)
    return DescribedAbove(cells, sublattice, intensity, turns, patches, in_hole, *moved)


def _neighbours() -> np.ndarray:
    """Cell and sublattice of the three columns next to a site, int32 (3, 3, 3), by its own."""
    beside = np.repeat(NEIGHBOUR_SUBLATTICE[:, None, None], 3, axis=1)
    return np.concatenate([NEIGHBOUR_CELLS, beside], axis=2).astype(np.int32)
