"""By how much every column of a frame differs from its host, found on the device."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.deviations import (
    LEAST_EXCESS,
    LOCAL_CELLS,
    LOCAL_CLIP,
    MARGIN,
    STRONG_SIGMAS,
    TAIL_HEIGHT,
    TAIL_SIGMA,
)
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch, launch_together
from latticewatch_kernels.order import BLOCKS_PER_CELL
from latticewatch_kernels.point_labels import SOUND_AMPLITUDE
from latticewatch_kernels.resident.averages import SOURCE as AVERAGES
from latticewatch_kernels.resident.averages import Averages
from latticewatch_kernels.resident.parts import LabelsAbove, OrderAbove, SitesAbove
from latticewatch_kernels.resident.plan import Plan
from latticewatch_kernels.transfers import table

SOURCE, STAMPS = "resident_deviations", "resident_stamps"

#: Shortest lattice constant in pixels, by which the table of local spreads has its room.
LEAST_CONSTANT = 4

#: Standard deviations at which `scipy.ndimage.gaussian_filter` ends.
TRUNCATED = 4.0


class _Chosen(NamedTuple):
    """Sites that are judged, and the extent of the table of local spreads."""

    cells: Array
    sublattice: Array
    points: Array
    extent: Array


def deviations(labels: LabelsAbove, order: OrderAbove, facts: Array, plan: Plan) -> SitesAbove:
    """Measure every column's deviation from its host; twin: `deviations.site_deviations`.

    Heights and errors are the twin's as far as the sums over pixels are, which run in another
    order in single precision: within 5e-5 of the greatest.

    Parameters
    ----------
    labels, order
        Of the frame.
    facts
        SITES and STARTS are filled; refused with NO_ROOM where the plan's table does not hold all
        cells.
    plan
        The frame's.
    """
    chosen = _chosen(labels, order, facts, plan)
    averages, weight = Averages.of(facts, plan), _weights(labels, facts)
    first, squares = _responses(labels.residual, weight, averages, chosen, facts, plan)
    xp, room = array_module(facts), plan.room.table
    strong = xp.zeros(room, np.float64)
    launch_together(
        SOURCE, "strong_sites", 3, facts,
        facts, squares, first, room, np.float64(STRONG_SIGMAS), strong,
    )  # fmt: skip
    drawn = _drawn(strong, chosen, facts, plan)
    cleared = averages.without(labels.residual, drawn, plan)
    second, _ = _responses(cleared, weight, averages, chosen, facts, plan)
    deviation, error = xp.zeros((2, room), np.float64)
    launch_together(
        SOURCE, "site_heights", 3, facts,
        facts, squares, second, strong, room, deviation, error,
    )  # fmt: skip
    level = _scaled(deviation, error, chosen, order, facts, plan)
    return SitesAbove(*chosen[:3], deviation, error, level)


def _chosen(labels: LabelsAbove, order: OrderAbove, facts: Array, plan: Plan) -> _Chosen:
    """Choose the sites of a frame, in the twin's order."""
    xp, room = array_module(facts), plan.room.table
    kept, points = xp.empty(room, np.int8), xp.empty((room, 2), np.float64)
    launch(
        SOURCE, "sites_in_view", room, facts,
        facts, order.maps, order.maps[3:], *plan.cells, plan.stride * BLOCKS_PER_CELL,
        labels.hole, *plan.shape, np.float64(MARGIN), np.float64(SOUND_AMPLITUDE), room,
        kept, points,
    )  # fmt: skip
    made = _Chosen(
        xp.empty((room, 2), np.int32), xp.empty(room, np.int8), xp.empty((room, 2), np.float64),
        xp.empty(2, np.int32),
    )  # fmt: skip
    launch_together(
        SOURCE, "sites_gathered", 1, facts,
        facts, kept, points, room, *_coarse(plan), *made,
    )  # fmt: skip
    return made


def _weights(labels: LabelsAbove, facts: Array) -> Array:
    """One over each pixel's variance, 0 in holes; twin: `deviations._weights`."""
    weight = array_module(facts).empty(labels.periodic.shape, np.float32)
    launch(
        AVERAGES, "inverse_variance_by_facts", weight.size, facts,
        facts, labels.periodic, labels.hole, *weight.shape, weight,
    )  # fmt: skip
    return weight


def _responses(
    image: Array, weight: Array, averages: Averages, chosen: _Chosen, facts: Array, plan: Plan
) -> tuple[Array, Array]:
    """Response of each site's column to an image, and its energy, float32 (n,)."""
    xp, room, high = array_module(facts), plan.room.table, 2 * plan.stamp + 1
    left = averages.less_mean(image, weight, plan)
    lines = xp.empty((2, room, high), np.float32)
    launch(
        STAMPS, "site_lines", room * high, facts,
        facts, left, weight, *plan.shape, chosen.points, room, plan.stamp, lines,
    )  # fmt: skip
    responses, squares = xp.empty((2, room), np.float32)
    launch(STAMPS, "site_sums", room, facts, facts, lines, room, high, responses, squares)
    return responses, squares


def _drawn(strong: Array, chosen: _Chosen, facts: Array, plan: Plan) -> Array:
    """Draw the columns that stand out, as whole multiples of ``2**-32``, uint64."""
    drawn = array_module(facts).zeros(plan.shape, np.uint64)
    room, reach = plan.room.table, max(plan.drawn, plan.tails)
    launch(
        STAMPS, "columns_drawn", room * (2 * reach + 1), facts,
        facts, strong, chosen.points, room, *plan.shape, plan.drawn, plan.tails,
        np.float64(TAIL_HEIGHT), np.float64(TAIL_SIGMA), drawn,
    )  # fmt: skip
    return drawn


def _scaled(
    deviation: Array, error: Array, chosen: _Chosen, order: OrderAbove, facts: Array, plan: Plan
) -> Array:
    """Scale deviations and errors in place, and give the level at each site."""
    xp, room, most = array_module(facts), plan.room.table, _coarse(plan)
    cells, weights = most[0] * most[1], table(facts, _gaussian_weights, LOCAL_CELLS)
    sums = xp.zeros((2, cells), np.uint64)
    launch(
        SOURCE, "coarse_sums", room, facts,
        facts, deviation, error, chosen.points, chosen.extent, room, *most,
        np.float64(LOCAL_CLIP), sums,
    )  # fmt: skip
    filtered = xp.empty((2, 2, cells), np.float64)
    for axis in range(2):
        launch(
            SOURCE, "coarse_filtered", 2 * cells, facts,
            chosen.extent, *most, weights, len(weights) // 2, sums, filtered[0], axis,
            filtered[axis],
        )  # fmt: skip
    levels = xp.empty(room, np.float64)
    launch_together(
        SOURCE, "errors_scaled", 1, facts,
        facts, chosen.points, chosen.extent, room, *most, filtered[1],
        np.float64(LEAST_EXCESS), order.maps[1], *plan.cells, plan.stride * BLOCKS_PER_CELL,
        deviation, error, levels,
    )  # fmt: skip
    return levels


def _coarse(plan: Plan) -> tuple[int, int]:
    """Most cells of one lattice constant along rows and columns."""
    rows, columns = (size // LEAST_CONSTANT + 2 for size in plan.shape)
    return rows, columns


def _gaussian_weights(sigma: float) -> np.ndarray:
    """Weights of `scipy.ndimage.gaussian_filter` along an axis, from one end to the other."""
    reach = int(TRUNCATED * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(weights / weights.sum())
