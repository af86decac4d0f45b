"""The periodic part of a frame by its facts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.extension import LENGTH_COST, SEARCH_CELLS
from latticewatch_kernels.fourier import irfft2, per_pixel, rfft2, room
from latticewatch_kernels.harmonics import HIGHEST_FREQUENCY, node_indices
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import (
    NEIGHBOURS,
    THREADS,
    launch,
    launch_neighbours,
    launch_together,
    single,
)
from latticewatch_kernels.order import BLOCKS_PER_CELL, BLOCKS_PER_CONSTANT, SMOOTHING_CELLS
from latticewatch_kernels.periodic import (
    FILTER_SHELLS,
    INNER_AMPLITUDE,
    LEAST_COVER,
    LEAST_PART,
    WINDOW_CELLS,
)
from latticewatch_kernels.resident.parts import OrderAbove, PixelsAbove
from latticewatch_kernels.resident.plan import Plan
from latticewatch_kernels.resident.tables import table
from latticewatch_kernels.sampling import LEAST_WEIGHT

#: Most cells of the map of order to a lattice constant: a block is a whole number of pixels, and
#: one of `BLOCKS_PER_CONSTANT` blocks to a constant is rounded down by less than half.
MOST_PER_CONSTANT = 2.0 * BLOCKS_PER_CONSTANT / BLOCKS_PER_CELL

#: Most cells on either side of one that its averages take in: four standard deviations.
MOST_REACH = int(4.0 * WINDOW_CELLS * MOST_PER_CONSTANT + 0.5)

#: Blocks of `prepared`: two sides of each axis, and what holes ask for.
PREPARED = 5


def rebuilt(image: Array, order: OrderAbove, facts: Array, plan: Plan) -> PixelsAbove:
    """Rebuild an image by its Bragg peaks alone; twin: `periodic.rebuilt`.

    Parameters
    ----------
    image
        float32 (rows, columns), conditioned.
    order
        Of the frame.
    facts
        With VECTORS, CONSTANT, WINDOW and HOLES. Refused with TOO_SMALL where no lattice vector
        continues the frame; it is then continued by whole pixels.
    plan
        The frame's.

    Returns
    -------
    PixelsAbove
        Residual, periodic part and holes of the image.

    Notes
    -----
    Differs from the twin as sums of single precision in another order do: by no more than
    ``2**-20`` of the image's greatest value where the Fourier transforms are the twin's, and, with
    a device's own, by the ``2**-16`` of the two transforms. Of translations whose costs are
    equal but for rounding the twin may take another.
    """
    xp, (rows, columns) = array_module(image), plan.shape
    prepared = _prepare(order, facts, plan)
    means = _local_mean(order, facts, plan, prepared.numbers)
    cells = (*plan.cells, plan.stride * BLOCKS_PER_CELL)
    work = room(image, plan.longer, np.float32)
    launch_neighbours(
        "bragg", "levelled", image.size, image,
        facts, image, rows, columns, means, *cells, *plan.before, work.shape[1], work,
    )  # fmt: skip
    for which, axis in enumerate((1, 0)):
        _extend(work, axis, plan, prepared.steps[which], prepared.weights[which])
    filtered = _passed(work, facts)
    periodic, residual = xp.empty((2, rows, columns), np.float32)
    hole = xp.empty(plan.shape, np.int8)
    launch_neighbours(
        "bragg", "rebuilt", image.size, image,
        facts, filtered, filtered.shape[1], *plan.before, image, rows, columns,
        means, *cells, np.float32(LEAST_COVER), periodic, residual, hole,
    )  # fmt: skip
    return PixelsAbove(residual, periodic, hole)


class _Prepared(NamedTuple):
    """How a frame is continued, and what its local mean takes.

    Attributes
    ----------
    steps, weights
        int32 (2, 4, 2) and float32 (2, 4, 2, 4): `Side.taps` and `Side.weights` of
        `extension.sides`, along columns, then along rows.
    numbers
        float64: mean of the inner cells and least mean of all, and weights of cells that are 0 to
        `MOST_REACH` away in an average over the filter's window and in the local mean. Only where
        there are holes.
    """

    steps: Array
    weights: Array
    numbers: Array


def _prepare(order: OrderAbove, facts: Array, plan: Plan) -> _Prepared:
    xp, (high, wide) = array_module(facts), plan.cells
    prepared = _Prepared(
        xp.empty((2, 4, 2), np.int32),
        xp.empty((2, 4, 2, 4), np.float32),
        xp.empty(2 + 2 * (MOST_REACH + 1), np.float64),
    )
    launch_together(
        "periodic", "prepared", PREPARED, facts,
        facts, *plan.shape, *plan.before, *plan.longer,
        np.float64(SEARCH_CELLS), np.float64(LENGTH_COST),
        order.maps, order.crystalline, high * wide, plan.stride * BLOCKS_PER_CELL,
        np.float32(INNER_AMPLITUDE), np.float64(SMOOTHING_CELLS), MOST_REACH, *prepared,
    )  # fmt: skip
    return prepared


def _local_mean(order: OrderAbove, facts: Array, plan: Plan, numbers: Array) -> Array:
    """Local mean of the specimen in every cell, its weight, that one's average, and holes.

    float32 (4, h, w). The twin is `periodic._local_mean`, whose averages SciPy sums in double
    precision and rounds after each axis. So are these, in the same order, but their weights may
    differ in the last bit: an average by a unit in the last place of single precision at each axis.
    Without holes the weights are 1, which leave the frame as it is.
    """
    xp, (high, wide) = array_module(facts), plan.cells
    lines, means = xp.empty((2, 4, high, wide), np.float32)
    given = (high, wide, plan.stride * BLOCKS_PER_CELL)
    launch(
        "periodic", "averaged_rows", lines.size, facts,
        facts, order.maps, order.crystalline, order.hole, *given,
        np.float32(INNER_AMPLITUDE), np.float64(SMOOTHING_CELLS), MOST_REACH, numbers, lines,
    )  # fmt: skip
    launch(
        "periodic", "local_mean", high * wide, facts,
        facts, order.maps, order.hole, *given, np.float64(SMOOTHING_CELLS), MOST_REACH,
        np.float32(LEAST_COVER), np.float32(LEAST_PART), numbers, lines, means,
    )  # fmt: skip
    return means


def _passed(image: Array, facts: Array) -> Array:
    """Pass what lies near the nodes of an image's Fourier plane."""
    xp, (rows, columns) = array_module(image), image.shape
    spectrum = xp.ascontiguousarray(rfft2(image))
    down, across = _node_gaussians(facts, (rows, columns))
    launch_together(
        "bragg", "nodes_passed", rows, image,
        spectrum.view(np.float32), spectrum.shape[1], down, across, down.shape[1],
        per_pixel((rows, columns)), threads=THREADS,
    )  # fmt: skip
    return single(irfft2(spectrum, (rows, columns), norm="forward"))


def _node_gaussians(facts: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Gaussians about the nodes: float32 (bins, nodes) along rows, (nodes, bins) along columns.

    The twins are `periodic._nodes` and `periodic._gaussians`. Nodes that reach the highest
    frequency, which the twin leaves out, are 0 here.
    """
    xp, (rows, columns) = array_module(facts), shape
    indices, bins = table(facts, _shell_indices), columns // 2 + 1
    half = indices.shape[1]
    down = xp.empty((rows, 2 * half), np.float32)
    across = xp.empty((2 * half, bins), np.float32)
    launch(
        "periodic", "node_gaussians_by_facts", (rows + bins) * 2 * half, facts,
        facts, indices, half, np.float64(HIGHEST_FREQUENCY), rows, columns,
        np.float64(LEAST_WEIGHT), down, across,
    )  # fmt: skip
    return down, across


def _shell_indices() -> np.ndarray:
    """Give indices int32 (2, n, 2) of nodes, for reciprocal vectors 60 degrees apart, and 120."""
    vectors = (np.array([[1.0, 0.0], [turned, 1.0]]) for turned in (0.5, -0.5))
    found = [node_indices(pair, FILTER_SHELLS, np.inf) for pair in vectors]
    return np.stack(found).astype(np.int32)


def _extend(image: Array, axis: int, plan: Plan, taps: Array, weights: Array) -> None:
    """Fill what is around the middle of an image along one axis; twin: `extension.extend`.

    Along columns (1) the middle is the frame, along rows (0) as many whole rows. ``taps`` and
    ``weights`` are those of `extension.Side`; rounded like the twin, but for the order of sums in
    double precision.
    """
    (top, left), (rows, columns), wide = plan.before, plan.shape, plan.longer[1]
    if axis == 1:
        sizes, steps = (left, columns, wide, rows), (top * wide + left, 1, wide)
    else:
        sizes, steps = (top, rows, plan.longer[0], wide), (top * wide, wide, 1)
    _, size, longer, other = sizes
    # threads of either half along it
    lines = sum(-(-half // NEIGHBOURS) for half in (other // 2, other - other // 2))
    launch(
        "bragg", "extended", (longer - size) * lines, image,
        axis, *sizes, *steps, taps, weights, image,
    )  # fmt: skip
