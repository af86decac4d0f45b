"""What shapes and sizes of buffers depend on, assumed for a frame before it is looked at.

A frame's lattice decides how large its maps of order are, how far it is continued beyond its border
and how many pixels a column covers. Frames of a stream share these whole numbers, mostly. They are
taken from the frame before and held against the frame's own at the end; where one differs the frame
is run again with its own. Results are therefore those of the frame alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from latticewatch_kernels.displacements import WINDOW
from latticewatch_kernels.extension import lengths
from latticewatch_kernels.lattice import Lattice
from latticewatch_kernels.order import BLOCKS_PER_CELL, stride_px
from latticewatch_kernels.patches import rescaled_shape
from latticewatch_kernels.periodic import PADDING_WINDOWS, window_px
from latticewatch_kernels.resident.facts import Facts
from latticewatch_kernels.stamps import DRAWN_REACH, REACH, half_px

#: Buffers have room for this many times what the frame before needed.
SPARE = 1.25


@dataclass(frozen=True)
class Room:
    """Entries of the buffers whose number only the device knows.

    Attributes
    ----------
    maxima
        Of the Fourier plane.
    table
        Sites of all cells that cover the frame, three to a cell.
    marks
        Cells of the network's map that have a say.
    found
        Detections.
    """

    maxima: int = 1024
    table: int = 0
    marks: int = 4096
    found: int = 1024

    def doubled(self) -> Room:
        """Give twice the room, where it did not suffice."""
        return Room(2 * self.maxima, 2 * self.table, 2 * self.marks, 2 * self.found)


@dataclass(frozen=True)
class Plan:
    """Whole numbers that the stages of a frame are run with.

    Attributes
    ----------
    shape
        (rows, columns) of the frame.
    stride
        Pixels to a block of the demodulated image; `BLOCKS_PER_CELL` of them to a cell of the map.
    before, longer
        Pixels added before the frame, and its size afterwards, along rows and columns.
    stamp
        Pixels from the middle of a column's stamp to its edge.
    drawn, tails
        The same of a column that is drawn, and of its tails.
    radius
        Square of the radius of the pixels that a column is fitted to, rounded down.
    scaled
        (rows, columns) of the frame as the network sees it; none where it is not scaled.
    room
        Of buffers. It has no part in the results.
    """

    shape: tuple[int, int]
    stride: int
    before: tuple[int, int]
    longer: tuple[int, int]
    stamp: int
    drawn: int
    tails: int
    radius: int
    scaled: tuple[int, int] | None
    room: Room

    @property
    def blocks(self) -> tuple[int, int]:
        """Blocks of the demodulated image along rows and columns."""
        return self.shape[0] // self.stride, self.shape[1] // self.stride

    @property
    def cells(self) -> tuple[int, int]:
        """Size of the maps of order."""
        rows, columns = (max(1, blocks // BLOCKS_PER_CELL) for blocks in self.blocks)
        return rows, columns

    @classmethod
    def of(cls, shape: tuple[int, int], facts: Facts, tail_sigma: float, room: Room) -> Plan:
        """Give the plan that a frame should be run with, by facts from its registration on.

        ``tail_sigma`` is `deviations.TAIL_SIGMA`. The room is taken over, but that for sites.
        """
        lattice, sigma, factor = facts.lattice, facts.number("sigma"), facts.number("factor")
        sizes = [lengths(size, PADDING_WINDOWS * window_px(lattice, shape)) for size in shape]
        return cls(
            shape=shape,
            stride=stride_px(lattice),
            before=(sizes[0][0], sizes[1][0]),
            longer=(sizes[0][1], sizes[1][1]),
            stamp=half_px(REACH, sigma),
            drawn=half_px(DRAWN_REACH, sigma),
            tails=half_px(DRAWN_REACH, tail_sigma * lattice.constant),
            radius=int((WINDOW * lattice.constant) ** 2 / 3.0),
            scaled=None if factor == 1.0 else rescaled_shape(shape, factor),
            room=replace(room, table=max(room.table, _table(lattice, shape))),
        )

    def serves(self, own: Plan) -> bool:
        """Whether a frame whose own plan is ``own`` was rightly run with this one."""
        return replace(own, room=self.room) == self


def _table(lattice: Lattice, shape: tuple[int, int]) -> int:
    """Room for the sites of all cells that cover a frame."""
    cells = lattice.covering_cells(shape)
    return int(np.ceil(SPARE * 3 * cells.shape[0] * cells.shape[1]))
