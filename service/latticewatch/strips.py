"""Which rows of a frame that is being acquired are analysed next, and what is known of it so far.

Pure: rows and points in, strips and points out. Everything here is provisional; the frame's own
analysis takes its place when it is complete.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial import cKDTree

#: Height in lattice constants from which a strip is analysed, and in pixels while the lattice is
#: not known. Simulated WS2 at 1,600 electrons a pixel was registered in every strip of 4 and more;
#: from 8 on strips find and name in their middle what the whole frame tells (bench/strips.py, 60
#: strips of each height: 96 % found, 95 % named alike).
LEAST_CELLS, LEAST_PX = 8.0, 64

#: Rows of overlap above, in lattice constants: twice the distance from a strip's border at which
#: it still tells less, above the seam and below it. Strips of 8 find 79 % of the frame's detections
#: in the half constant at their border and name 58 % alike, 97 and 85 % in the next half, 96 and
#: 91 % between 1 and 2, 94 to 96 and 90 to 95 % farther in. The patch of a defect reaches 1, its
#: neighbours 0.6, the segmenter and the averages over cells further, with less weight.
BORDER_CELLS = 2.0
OVERLAP_CELLS = 2 * BORDER_CELLS

#: Least part of the frame that is new in a strip: more often than eight times a frame nobody looks,
#: and of a strip that holds less than it overlaps most is work done twice.
NEW_SHARE = 1 / 8

#: A strip without a lattice (a hole, vacuum) is tried again when it is so much higher.
GROWTH = 1.5


@dataclass(frozen=True)
class Strip:
    """Rows from `top` to before `bottom`; what is found from the row `seam` on is taken."""

    top: int
    bottom: int
    seam: int


@dataclass(frozen=True)
class Pace:
    """How fast the rows of a frame come.

    Attributes
    ----------
    first, last
        Rows that were there, and when, s: with the first block and with the newest.
    """

    first: tuple[int, float] | None = None
    last: tuple[int, float] | None = None

    def after(self, rows_done: int, now_s: float) -> Pace:
        """Note the rows that are there now."""
        return Pace(self.first or (rows_done, now_s), (rows_done, now_s))

    def complete_at(self, height: int) -> float:
        """Time at which a frame of that height will be complete, s; infinity while unknown."""
        if self.first is None or self.last is None or self.last[0] <= self.first[0]:
            return math.inf
        (rows, start_s), (rows_done, now_s) = self.first, self.last
        return now_s + (height - rows_done) * (now_s - start_s) / (rows_done - rows)


def _no_points() -> np.ndarray:
    return np.empty((0, 2), np.float32)


@dataclass(frozen=True)
class Progress:
    """What is known of a frame while it is acquired.

    Attributes
    ----------
    rows
        Rows that have been analysed, from the top.
    points, labels
        float32 (n, 2) in pixels of the frame, and the names.
    constant
        Lattice constant in pixels by the newest strip, of this frame or the one before; None while
        there is none.
    least
        Height that the next strip must have, pixels.
    """

    rows: int = 0
    points: np.ndarray = field(default_factory=_no_points)
    labels: tuple[str, ...] = ()
    constant: float | None = None
    least: int = LEAST_PX

    def next_strip(self, rows_done: int, height: int) -> Strip | None:
        """Rows to analyse next, of `rows_done` that are there in a frame of `height` rows.

        None while there are too few new ones, or so few are yet to come that it is not worth it.
        """
        overlap = OVERLAP_CELLS * self.constant if self.constant is not None else 0
        top = max(0, self.rows - round(overlap))
        new = max(1, round(NEW_SHARE * height))
        if rows_done - self.rows < new or height - rows_done < new or rows_done - top < self.least:
            return None
        seam = self.rows - round(overlap / 2) if self.rows else 0
        return Strip(top, rows_done, max(0, seam))

    def after(
        self, strip: Strip, points: np.ndarray, labels: tuple[str, ...], constant: float
    ) -> Progress:
        """Take in what was found in a strip: points (n, 2) in pixels of the frame, their names.

        Each defect is told once: a position is known to a fraction of a lattice constant only, so
        that one at the seam may lie on either side of it in either strip.
        """
        near = 0.5 * constant
        kept = self.points[:, 1] < strip.seam + near
        fresh = points[:, 1] >= strip.seam - near
        if kept.any() and fresh.any():
            distance, _ = cKDTree(self.points[kept]).query(points)
            fresh &= distance > near
        names = [n for n, keep in zip(self.labels, kept.tolist(), strict=True) if keep]
        names += [n for n, keep in zip(labels, fresh.tolist(), strict=True) if keep]
        both = np.concatenate([self.points[kept], points[fresh]]).astype(np.float32)
        return Progress(strip.bottom, both, tuple(names), constant, _least(constant))

    def without(self, strip: Strip) -> Progress:
        """Note that a strip could not be analysed: its rows are tried again with more of them."""
        return replace(self, least=round(GROWTH * (strip.bottom - strip.top)))

    def afresh(self) -> Progress:
        """Begin the next frame: of this one only the lattice constant is of use."""
        if self.constant is None:
            return Progress()
        return Progress(
            constant=self.constant, least=max(LEAST_PX, round(LEAST_CELLS * self.constant))
        )


def _least(constant: float | None) -> int:
    return LEAST_PX if constant is None else max(LEAST_PX, round(LEAST_CELLS * constant))
