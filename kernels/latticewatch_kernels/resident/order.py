"""Local order of a frame on the device, and its map on the host."""

from __future__ import annotations

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import blocks_of, launch, launch_together
from latticewatch_kernels.order import (
    BLOCKS_PER_CELL,
    CRYSTALLINE_AMPLITUDE,
    CRYSTALLINE_QUANTILE,
    HOLE_LEVEL,
    OrderMap,
)
from latticewatch_kernels.phases import (
    LEAST_CELLS,
    LEAST_TEXTURE,
    LESS_ORDER,
    QUANTILE,
    REACH,
    REFERENCE,
    fractions_of,
)
from latticewatch_kernels.resident.averages import Averages
from latticewatch_kernels.resident.facts import Facts
from latticewatch_kernels.resident.parts import OrderAbove
from latticewatch_kernels.resident.plan import Plan

SOURCE = "order"

#: As in the source: maps that are averaged; sums of real and imaginary parts, behind two levels and
#: before the number of cells that lack order.
MAPS, SUMS = 8, 6
LEVELS = 2 + SUMS + 1

#: As in the source of phases: cells of a row to a block, whose threads are as many as there is to
#: average of each.
STRIP = 64


def local_order(image: Array, facts: Array, plan: Plan) -> OrderAbove:
    """Map local order; twin: `order.local_order`.

    Parameters
    ----------
    image
        float32 (rows, columns), conditioned.
    facts
        Of its search and registration; HOLES and MISSING are filled.
    plan
        The frame's.

    Notes
    -----
    Sums are in single precision as the twin's, and run in another order. Amplitude and mean are
    within 1e-6 of their greatest value, level within that of its own and of the mean's, as it
    divides by `ABOVE_EMPTY`. Where the amplitude A is above 0.2 displacements are within ``1e-7 /
    A`` lattice constants, for phases are as sure as waves are strong; below they are those of
    noise. A cell at a bound may fall on its other side. For what is missing see `missing`.
    """
    xp, (high, wide) = array_module(image), plan.blocks
    rows, columns = high * plan.stride, wide * plan.stride
    down, across = xp.empty((3, rows, 2), np.float32), xp.empty((3, columns, 2), np.float32)
    launch(SOURCE, "ring_waves", 3 * (rows + columns), image, facts, rows, columns, down, across)
    blocks = xp.empty((MAPS, high, wide), np.float32)
    launch(
        "order", "demodulated", high * wide, image,
        facts, image, image.shape[1], plan.stride, high, wide, down, across, blocks,
    )  # fmt: skip
    waves = Averages.of(facts, plan).over(blocks)
    cells, levels = plan.cells[0] * plan.cells[1], xp.empty(LEVELS, np.float64)
    maps = xp.empty((5, *plan.cells), np.float32)
    launch_together(
        SOURCE, "order_levels", SUMS + 1, image,
        facts, waves, cells, np.float64(CRYSTALLINE_QUANTILE),
        np.float64(CRYSTALLINE_AMPLITUDE), np.float64(LESS_ORDER), maps[0], levels,
    )  # fmt: skip
    crystalline, hole = xp.empty((2, *plan.cells), np.int8)
    launch(
        SOURCE, "order_maps", cells, image,
        facts, waves, cells, levels, np.float64(CRYSTALLINE_AMPLITUDE),
        np.float64(HOLE_LEVEL), maps, crystalline, hole,
    )  # fmt: skip
    missing(waves, maps[0], levels[LEVELS - 1 :], facts, plan)
    return OrderAbove(maps, crystalline, hole)


def missing(waves: Array, amplitude: Array, lacking: Array, facts: Array, plan: Plan) -> None:
    """Add up what is missing of the crystal; twin: `phases.area_fractions`.

    Parameters
    ----------
    waves
        float32 (8, h, w), averaged: the image, real and imaginary part with each of the three
        waves, and the product of each pixel with the one below.
    amplitude
        float32 (h, w).
    lacking
        float64 (1,): how many cells lack amplitude; where none does, nothing is done.
    facts
        Of the frame; MISSING is 0 and added to.
    plan
        The frame's.

    Notes
    -----
    Fractions of the area are within 1e-9, unless rounding decides whether something is a hole.
    """
    xp, (high, wide) = array_module(waves), plan.cells
    size, less = (high, wide, plan.stride * BLOCKS_PER_CELL), np.float64(LESS_ORDER)
    blocks = high * blocks_of(wide, STRIP)
    order, sums = xp.empty((high, wide), np.float64), xp.empty((blocks, 3), np.float64)
    launch_together(
        "phases", "phase_order", blocks, waves,
        facts, lacking, waves, amplitude, *size, less, np.float64(REACH),
        np.float64(REFERENCE), order, sums, threads=8 * STRIP,
    )  # fmt: skip
    averaged, means = xp.empty((3, high, wide), np.float64), xp.empty(2, np.float64)
    launch_together(
        "phases", "phase_texture", blocks + 1, waves,
        facts, lacking, waves, amplitude, order, sums, *size, less, blocks, LEAST_CELLS,
        np.float64(QUANTILE), averaged, means, threads=4 * STRIP,
    )  # fmt: skip
    launch_together(
        "phases", "phase_missing", blocks, waves,
        facts, lacking, amplitude, order, averaged, means, *size, less, np.float64(REACH),
        np.float64(LEAST_TEXTURE), threads=2 * STRIP,
    )  # fmt: skip


def order_map(facts: Facts, plan: Plan, told: OrderAbove) -> OrderMap:
    """Make the map of local order of what came to the host; its arrays are those that came."""
    amplitude, level, mean = told.maps[:3]
    crystalline, hole = (mask.view(np.bool_) for mask in (told.crystalline, told.hole))
    return OrderMap(
        amplitude, level, mean, told.maps[3:], crystalline, hole,
        plan.stride * BLOCKS_PER_CELL, area_fractions(facts, plan),
    )  # fmt: skip


def area_fractions(facts: Facts, plan: Plan) -> np.ndarray:
    """Crystalline, disordered and hole fraction, float64 (3,), of what `missing` added up."""
    high, wide = plan.cells
    return fractions_of(*(part / (high * wide) for part in facts.numbers("missing")))
