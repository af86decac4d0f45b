"""What shapes and sizes of buffers depend on, assumed for a frame before it is looked at.

A frame's lattice decides how large its maps of order are, how far it is continued beyond its border
and how many pixels a column covers. Frames of a stream share these whole numbers, mostly. They are
taken from the frame before and held against the frame's own at the end; where one differs the frame
is run again with its own. Results are therefore those of the frame alone.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace

from latticewatch_kernels.displacements import WINDOW
from latticewatch_kernels.extension import before_px, longer_px
from latticewatch_kernels.order import BLOCKS_PER_CELL, stride_px
from latticewatch_kernels.patches import rescaled_shape
from latticewatch_kernels.periodic import PADDING_WINDOWS
from latticewatch_kernels.resident.facts import Facts
from latticewatch_kernels.stamps import DRAWN_REACH, REACH, half_px

#: Buffers have room for this many times what the frame before needed.
SPARE = 1.25

#: Pixels of the frames that `Room` has room for as it is.
FIRST_PIXELS = 512 * 512


@dataclass(frozen=True)
class Room:
    """Sizes of the buffers that only the device could tell; no part of any result.

    Attributes
    ----------
    maxima
        Of the Fourier plane.
    table
        Sites of all cells that cover the frame, three to a cell.
    judged
        Sites of one sublattice within the frame.
    marks
        Cells of the network's map that have a say.
    found
        Detections, and points that are reported.
    stamp, drawn, tails
        Pixels from the middle to the edge of a column's stamp, of one that is drawn, and of tails.
    radius
        Square of the radius of the pixels that a column is fitted to.
    """

    maxima: int = 1024
    table: int = 0
    judged: int = 0
    marks: int = 4096
    found: int = 256
    stamp: int = 1
    drawn: int = 1
    tails: int = 1
    radius: int = 1

    @classmethod
    def at_first(cls, shape: tuple[int, int]) -> Room:
        """Give a first frame of a shape what most frames need that are as large.

        A frame of 512 x 512 has room for 1.75 times as many detections as there are defects in one
        of the WS2 movie of Maksov et al. (2019); maxima of noise grow as a side does.
        """
        times = max(1, math.ceil(shape[0] * shape[1] / FIRST_PIXELS))
        plain = cls()
        return replace(
            plain, found=times * plain.found, marks=times * plain.marks,
            maxima=math.ceil(math.sqrt(times)) * plain.maxima,
        )  # fmt: skip

    @property
    def sites(self) -> int:
        """Sites of all sublattices within the frame."""
        return 3 * self.judged

    def doubled(self, *names: str) -> Room:
        """Give twice the entries that did not suffice, by their names; of all but the table."""
        names = names or ("maxima", "judged", "marks", "found")
        return replace(self, **{name: 2 * getattr(self, name) for name in names})

    def more_for(self, facts: Facts) -> Room:
        """Give more room to a frame that was refused for want of it, though what is known fits."""
        if facts.number("peaks") == 0.0:  # all else is of another lattice
            return self.doubled("maxima")
        if max(facts.numbers("found", "reported")) >= self.found:
            return self.doubled("marks", "found")
        return self.doubled()

    def covers(self, other: Room) -> bool:
        """Whether whatever another has room for has room here."""
        return all(own >= least for own, least in zip(astuple(self), astuple(other), strict=True))

    def holding(self, table: int, judged: int, *reaches: int) -> Room:
        """Give room for so many entries, and to spare where there was too little."""
        needed = (table, judged, *reaches)
        own = (self.table, self.judged, self.stamp, self.drawn, self.tails, self.radius)
        if all(least <= has for least, has in zip(needed, own, strict=True)):
            return self  # of nearly all frames
        stamp, drawn, tails, radius = reaches
        return replace(
            self,
            table=self.table if table <= self.table else int(SPARE * table),
            judged=self.judged if judged <= self.judged else int(SPARE * judged),
            stamp=max(stamp, self.stamp),
            drawn=max(drawn, self.drawn),
            tails=max(tails, self.tails),
            radius=max(radius, self.radius),
        )


@dataclass(frozen=True)
class Plan:
    """Whole numbers that the stages of a frame are run with.

    Attributes
    ----------
    shape
        (rows, columns) of the frame.
    stride
        Pixels to a block of the demodulated image; `BLOCKS_PER_CELL` of them to a cell of the map.
    longer
        Rows and columns of the frame as it is continued beyond its border.
    scaled
        (rows, columns) of the frame as the network sees it; none where it is not scaled.
    room
        Of buffers.
    """

    shape: tuple[int, int]
    stride: int
    longer: tuple[int, int]
    scaled: tuple[int, int] | None
    room: Room

    @property
    def form(self) -> tuple[object, ...]:
        """All but the room: what frames must share to be run together."""
        return self.shape, self.stride, self.longer, self.scaled

    @property
    def before(self) -> tuple[int, int]:
        """Rows and columns that are added before the frame."""
        rows, columns = (
            before_px(size, longer) for size, longer in zip(self.shape, self.longer, strict=True)
        )
        return rows, columns

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

        ``tail_sigma`` is `deviations.TAIL_SIGMA`. Room grows where it has to, and never shrinks.
        """
        # in plain numbers: every frame asks
        constant, sigma, window, factor, along, across = facts.numbers(
            "constant", "sigma", "window", "factor", "cells"
        )
        padding = PADDING_WINDOWS * window
        return cls(
            shape=shape,
            stride=stride_px(constant),
            longer=(longer_px(shape[0], padding), longer_px(shape[1], padding)),
            scaled=None if factor == 1.0 else rescaled_shape(shape, factor),
            room=room.holding(
                int(3 * along * across),
                math.ceil(shape[0] * shape[1] / (math.sqrt(0.75) * constant**2)),
                half_px(REACH, sigma),
                half_px(DRAWN_REACH, sigma),
                half_px(DRAWN_REACH, tail_sigma * constant),
                int((WINDOW * constant) ** 2 / 3.0),
            ),
        )
