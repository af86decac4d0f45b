"""Which row stands on which site: a table of all sites in the area of a frame's defects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Sites of a cell, the empty one among them.
SUBLATTICES = 3


@dataclass(frozen=True)
class SiteGrid:
    """Rows of n sites by entry of a table that goes with the area in which they lie.

    For thousands of look-ups a frame: bisection of sorted keys (`site_table.SiteTable`) needs no
    room for the empty sites between, but every step of it is a branch that cannot be foreseen.

    Attributes
    ----------
    rows
        By entry, -1 where there is none.
    low, high
        Least and greatest cell (i, j) with entries of their own; no site stands there, and all
        that lies beyond shares them.
    margin, width
        Cells of the table beyond those on each side, and in a row of it.
    """

    rows: np.ndarray
    low: tuple[int, int]
    high: tuple[int, int]
    margin: int
    width: int

    @classmethod
    def of(cls, cells: np.ndarray, sublattice: np.ndarray, margin: int) -> SiteGrid:
        """Enter sites (n, 2) and (n,), n > 0, all different; entries may be moved by `margin`."""
        i, j = cells[:, 0], cells[:, 1]
        low = int(i.min()) - margin - 1, int(j.min()) - margin - 1
        high = int(i.max()) + margin + 1, int(j.max()) + margin + 1
        height, width = (high[axis] - low[axis] + 2 * margin + 1 for axis in range(2))
        # half the width of a number is half the time to blank the table
        kind = np.int16 if len(cells) <= np.iinfo(np.int16).max else np.int64
        grid = cls(np.full(height * width * SUBLATTICES, -1, kind), low, high, margin, width)
        grid.rows[grid.entries(cells, sublattice)] = np.arange(len(cells))
        return grid

    def entries(self, cells: np.ndarray, sublattice: np.ndarray) -> np.ndarray:
        """Entry (n,) of each site."""
        i, j = (
            np.minimum(np.maximum(cells[:, axis], self.low[axis]), self.high[axis])
            - (self.low[axis] - self.margin)
            for axis in range(2)
        )
        return self.moves(i, j, sublattice)

    def moves(self, i: np.ndarray, j: np.ndarray, sublattice: np.ndarray) -> np.ndarray:
        """Return what leads from an entry to that of a site so many cells and sublattices away."""
        return np.asarray((i.astype(np.int64) * self.width + j) * SUBLATTICES + sublattice)
