"""Averages over a Gaussian of one lattice constant, in cells of the map of local order.

Twins: `order.averaging` and `deviations._averaged`. Weights are the twin's within a unit in the
last place. Averages of n blocks of b pixels a side are summed in single precision as the twin's,
pixels to blocks in double: they are within ``(b + 2 n) 2**-24`` of the mean of absolute values.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import THREADS, blocks_of, launch, launch_together
from latticewatch_kernels.order import BLOCKS_PER_CELL, BLOCKS_PER_CONSTANT, SMOOTHING_CELLS
from latticewatch_kernels.resident.plan import Plan
from latticewatch_kernels.sampling import LEAST_WEIGHT

SOURCE = "averages"

#: Threads of a block that makes weights, and of one that averages: half of the 170 blocks of pixels
#: along a side of a frame of 512 pixels, and somewhat more than all. Rows of cells to the latter,
#: as in the source.
MAKING, AVERAGING, ROWS = 128, 256, 4

#: As there: threads of a block that takes averages off a strip of a row, and pixels to each.
TAKING, PIXELS = THREADS, 4


class Averages(NamedTuple):
    """Weights of blocks around each cell.

    Attributes
    ----------
    down, across
        float32 (cells, blocks), along rows and columns.
    reach
        Blocks from a cell's first beyond which all weights are 0.
    """

    down: Array
    across: Array
    reach: int

    @classmethod
    def of(cls, facts: Array, plan: Plan) -> Averages:
        """Give the weights of a frame, by its lattice constant."""
        xp, (high, wide) = array_module(facts), plan.blocks
        cells, reach = plan.cells, _reach(plan.stride)
        made = xp.empty((cells[0], high), np.float32), xp.empty((cells[1], wide), np.float32)
        launch_together(
            SOURCE, "averaging", sum(cells), facts,
            facts, np.float64(SMOOTHING_CELLS), plan.stride, high, wide, reach,
            np.float64(LEAST_WEIGHT), *made, threads=MAKING,
        )  # fmt: skip
        return cls(*made, reach)

    def over(self, blocks: Array) -> Array:
        """Average maps of blocks, float32 (n, high, wide), to maps of cells, (n, cells, cells)."""
        xp, (number, high, wide) = array_module(blocks), blocks.shape
        cells = len(self.down), len(self.across)
        bands = number * blocks_of(cells[0], ROWS)
        lines = xp.empty((bands, wide, ROWS), np.float32)
        made = xp.empty((number, *cells), np.float32)
        launch_together(
            SOURCE, "averaged", bands, blocks,
            blocks, *self, high, wide, *cells, lines, made, threads=AVERAGING,
        )  # fmt: skip
        return made

    def less_mean(self, image: Array, weight: Array, plan: Plan) -> Array:
        """Take its weighted mean off an image, and weigh what is left."""
        return self._less("weighted_means", "less_weighted_mean", 2, (image, weight), plan)

    def without(self, residual: Array, drawn: Array, plan: Plan) -> Array:
        """Take what was drawn off a residual, less what of it is in the periodic part."""
        return self._less("drawn_means", "without_drawn", 1, (residual, drawn), plan)

    def _less(
        self, averaging: str, taking: str, maps: int, given: tuple[Array, Array], plan: Plan
    ) -> Array:
        """Average maps of blocks by one kernel, and take the averages off an image by another."""
        xp, blocks, (image, _) = array_module(self.down), plan.blocks, given
        means = xp.empty((maps, *blocks), np.float32)
        launch(
            SOURCE, averaging, blocks[0] * blocks[1], image,
            *given, image.shape[1], plan.stride, *blocks, means,
        )  # fmt: skip
        left = xp.empty(image.shape, np.float32)
        launch_together(
            SOURCE, taking, len(image) * blocks_of(image.shape[1], TAKING * PIXELS), image,
            *given, *image.shape, self.over(means), *plan.cells, plan.stride * BLOCKS_PER_CELL,
            left, threads=TAKING,
        )  # fmt: skip
        return left


def _reach(stride: int) -> int:
    """Blocks beyond which weights are below `LEAST_WEIGHT`, whatever lattice has this stride."""
    longest = BLOCKS_PER_CONSTANT * (1.0 + 1.0 / stride)  # `order.stride_px` rounds down
    sigmas = math.sqrt(-2.0 * math.log(LEAST_WEIGHT))
    return math.ceil(sigmas * SMOOTHING_CELLS * longest) + BLOCKS_PER_CELL
