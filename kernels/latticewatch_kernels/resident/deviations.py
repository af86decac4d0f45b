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
from latticewatch_kernels.launch import blocks_of, launch, launch_neighbours, launch_together, zeros
from latticewatch_kernels.order import BLOCKS_PER_CELL, BLOCKS_PER_CONSTANT
from latticewatch_kernels.point_labels import SOUND_AMPLITUDE
from latticewatch_kernels.resident.averages import SOURCE as AVERAGES
from latticewatch_kernels.resident.averages import Averages
from latticewatch_kernels.resident.parts import LabelsAbove, OrderAbove, SitesAbove
from latticewatch_kernels.resident.plan import Plan
from latticewatch_kernels.resident.tables import table
from latticewatch_kernels.stamps import DRAWN_REACH, REACH

SOURCE, STAMPS = "deviations", "stamps"

#: Least lattice constant in pixels whose first Bragg peaks the pixels resolve, rounded down.
RESOLVED = 2.0

#: As in the source: sites to a block of threads that matches their columns, and its threads.
SITES_TOGETHER, MATCHING = 16, 256

#: Blocks of threads that draw columns: two to each multiprocessor of a large GPU. Most have none to
#: draw, or one, of 700 pixels: larger blocks would be there for nothing, and wait for each other.
DRAWING_BLOCKS, DRAWING = 256, 256

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

    Parameters
    ----------
    labels, order
        Of the frame.
    facts
        SITES and STARTS are filled; refused with NO_ROOM where there are more cells or sites
        than the plan has room for.
    plan
        The frame's.

    Returns
    -------
    SitesAbove
        Sites and levels are the twin's, points within a unit in the last place. Sums over pixels
        run in another order in single precision, so that deviations and errors are within 1e-5 of
        the greatest (5.1e-6 was the most over 700 drawn frames); a column as near as that to
        `STRONG_SIGMAS` may be taken out by one alone.

    Notes
    -----
    A sublattice with one site in view tells no spread. The twin's errors are NaN around that site;
    here its own is 0, and for others it counts as one at `LOCAL_CLIP`.
    """
    xp, room = array_module(facts), plan.room.sites
    chosen, coarse = _chosen(labels, order, facts, plan), _coarse(plan)
    averages, weight = Averages.of(facts, plan), _weights(labels, facts)
    matching = _Matching(weight, *xp.empty((2, room), np.float64))
    # what is added to, in one piece: the image of strong columns, then the tables of local spreads
    added = zeros(weight, (weight.size + 2 * coarse[0] * coarse[1],), np.uint64)
    drawn, sums = added[: weight.size], added[weight.size :]
    plain = matching.heights(labels.residual, averages, chosen, facts, plan, first=True)
    strong = _drawn(plain, matching.roots, chosen, facts, plan, drawn)
    cleared = averages.without(labels.residual, drawn, plan)
    plain = matching.heights(cleared, averages, chosen, facts, plan, first=False)
    deviation, error = xp.empty((2, room), np.float64)
    launch_together(
        SOURCE, "site_heights", 3, facts,
        facts, plain, matching.roots, strong, chosen.points, chosen.extent, room, *coarse,
        np.float64(LOCAL_CLIP), deviation, error, sums,
    )  # fmt: skip
    level = _scaled(deviation, error, sums, chosen, order, facts, plan)
    return SitesAbove(*chosen[:3], deviation, error, level)


def _chosen(labels: LabelsAbove, order: OrderAbove, facts: Array, plan: Plan) -> _Chosen:
    """Choose the sites of a frame, in the twin's order."""
    xp, room, most = array_module(facts), plan.room.table, plan.room.sites
    kept, points = xp.empty(room, np.int8), xp.empty((room, 2), np.float64)
    blocks = blocks_of(room)
    before, counts = xp.empty(room, np.int32), xp.empty(blocks, np.int32)
    made = _Chosen(
        xp.empty((most, 2), np.int32), xp.empty(most, np.int8), xp.empty((most, 2), np.float64),
        xp.empty(2, np.int32),
    )  # fmt: skip
    launch_together(
        SOURCE, "sites_in_view", blocks, facts,
        facts, order.maps, order.maps[3:], *plan.cells, plan.stride * BLOCKS_PER_CELL,
        labels.hole, *plan.shape, np.float64(MARGIN), np.float64(SOUND_AMPLITUDE), room,
        kept, points, before, counts, made.extent,
    )  # fmt: skip
    launch_together(
        SOURCE, "sites_gathered", blocks, facts,
        facts, kept, points, before, counts, blocks, room, most, *_coarse(plan), *made,
    )  # fmt: skip
    return made


def _weights(labels: LabelsAbove, facts: Array) -> Array:
    """One over each pixel's variance, 0 in holes; twin: `deviations._weights`."""
    weight = array_module(facts).empty(labels.periodic.shape, np.float32)
    launch_neighbours(
        AVERAGES, "inverse_variance_by_facts", weight.size, facts,
        facts, labels.periodic, labels.hole, *weight.shape, weight,
    )  # fmt: skip
    return weight


class _Matching(NamedTuple):
    """Sites' columns, each weighted by its pixels' noise.

    Attributes
    ----------
    weight
        One over each pixel's variance.
    energies, roots
        Of each column by these weights, and their roots, float64 (n,); filled by the first image
        that is matched.
    """

    weight: Array
    energies: Array
    roots: Array

    def heights(
        self, image: Array, averages: Averages, chosen: _Chosen, facts: Array, plan: Plan,
        *, first: bool,
    ) -> Array:  # fmt: skip
        """Height of each site's column in an image, float64 (n,)."""
        xp, room = array_module(facts), plan.room.sites
        left = averages.less_mean(image, self.weight, plan)
        sides = xp.empty((room, 2 * plan.room.stamp + 1), np.float32)
        plain = xp.empty(room, np.float64)
        launch_together(
            STAMPS, "site_responses", blocks_of(room, SITES_TOGETHER), facts,
            facts, left, self.weight, *plan.shape, chosen.points, room, np.float64(REACH),
            plan.room.stamp, int(not first), sides, plain, self.energies, self.roots,
            threads=MATCHING,
        )  # fmt: skip
        return plain


def _drawn(
    plain: Array, roots: Array, chosen: _Chosen, facts: Array, plan: Plan, drawn: Array
) -> Array:
    """Draw the columns that stand out on an empty image of whole multiples of ``2**-32``.

    Gives the heights of these columns, 0 of the others.
    """
    xp, room, reach = array_module(facts), plan.room.sites, max(plan.room.drawn, plan.room.tails)
    strong, listed = xp.empty(room, np.float64), xp.empty(room, np.int32)
    numbers = xp.empty(3, np.int32)
    launch_together(
        SOURCE, "strong_sites", 3, facts,
        facts, plain, roots, room, np.float64(STRONG_SIGMAS), strong, listed, numbers,
    )  # fmt: skip
    sides = xp.empty((DRAWING_BLOCKS, 4, 2 * reach + 1), np.float32)
    launch_together(
        STAMPS, "columns_drawn", DRAWING_BLOCKS, facts,
        facts, strong, listed, numbers, chosen.points, room, *plan.shape,
        np.float64(DRAWN_REACH), plan.room.drawn, plan.room.tails,
        np.float64(TAIL_HEIGHT), np.float64(TAIL_SIGMA), DRAWING_BLOCKS, sides, drawn,
        threads=DRAWING,
    )  # fmt: skip
    return strong


def _scaled(
    deviation: Array,
    error: Array,
    sums: Array,
    chosen: _Chosen,
    order: OrderAbove,
    facts: Array,
    plan: Plan,
) -> Array:
    """Scale deviations and errors in place, and give the level at each site."""
    xp, room, most = array_module(facts), plan.room.sites, _coarse(plan)
    cells, weights = most[0] * most[1], table(facts, _gaussian_weights, LOCAL_CELLS)
    filtered = xp.empty((2, 2, cells), np.float64)
    for axis in range(2):
        launch(
            SOURCE, "coarse_filtered", 2 * cells, facts,
            chosen.extent, *most, weights, len(weights) // 2, sums, filtered[0], axis,
            filtered[axis],
        )  # fmt: skip
    levels, middle = xp.empty(room, np.float64), xp.empty(1, np.float64)
    launch(
        SOURCE, "local_spreads", room, facts,
        facts, chosen.points, chosen.extent, room, *most, filtered[1], levels,
    )  # fmt: skip
    launch_together(SOURCE, "middle_spread", 1, facts, facts, levels, room, middle)
    launch(
        SOURCE, "errors_scaled", room, facts,
        facts, chosen.points, room, middle, np.float64(LEAST_EXCESS), order.maps[1],
        *plan.cells, plan.stride * BLOCKS_PER_CELL, deviation, error, levels,
    )  # fmt: skip
    return levels


def _coarse(plan: Plan) -> tuple[int, int]:
    """Most cells of one lattice constant along rows and columns."""
    least = max(RESOLVED, BLOCKS_PER_CONSTANT * plan.stride)
    rows, columns = (int(size / least) + 2 for size in plan.shape)
    return rows, columns


def _gaussian_weights(sigma: float) -> np.ndarray:
    """Weights of `scipy.ndimage.gaussian_filter` along an axis, from one end to the other."""
    reach = int(TRUNCATED * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(weights / weights.sum())
