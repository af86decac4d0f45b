"""Which row stands on which site: a table of all sites in the area of a frame's defects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Sites of a cell, the empty one among them.
SUBLATTICES = 3
#: Most rows whose numbers, and those of as many more, take half the width. That is half the time to
#: blank a table.
NARROW = np.iinfo(np.int16).max // 2


@dataclass(frozen=True)
class SiteGrid:
    """Rows of n sites by entry of a table that goes with the area in which they lie.

    For thousands of look-ups a frame: bisection of sorted keys needs no room for the empty sites
    between, but every step of it is a branch that cannot be foreseen. Made once a frame for all
    that is looked up.

    Attributes
    ----------
    rows
        By entry, -1 where there is none.
    own
        (n,), the rows' entries.
    low, high
        Least and greatest cell (i, j) with entries of their own; no site stands there, and all
        that lies beyond shares them.
    margin, width
        Cells of the table beyond those on each side, and in a row of it.
    """

    rows: np.ndarray
    own: np.ndarray
    low: tuple[int, int]
    high: tuple[int, int]
    margin: int
    width: int

    @classmethod
    def of(cls, cells: np.ndarray, sublattice: np.ndarray | int, margin: int) -> SiteGrid:
        """Enter sites (n, 2) and (n,), all different; some in the cells beside may join later.

        Entries may be moved by `margin` cells or one.
        """
        grid = cls._blank(cells, sublattice, margin)
        grid.rows[grid.own] = np.arange(len(cells))
        return grid

    @classmethod
    def of_first(
        cls, cells: np.ndarray, sublattice: np.ndarray, margin: int
    ) -> tuple[SiteGrid, np.ndarray]:
        """Enter the first on each site, where several may be on one, and tell which these are."""
        blank = cls._blank(cells, sublattice, margin)
        return blank._with(blank.rows, blank.own[:0], blank.own)

    @classmethod
    def _blank(cls, cells: np.ndarray, sublattice: np.ndarray | int, margin: int) -> SiteGrid:
        """Room for sites, and their entries."""
        i, j = cells.T if len(cells) else np.zeros((2, 1), int)
        margin = max(margin, 1)
        low = int(i.min()) - margin - 2, int(j.min()) - margin - 2
        high = int(i.max()) + margin + 2, int(j.max()) + margin + 2
        height, width = (high[axis] - low[axis] + 2 * margin + 1 for axis in range(2))
        # A state tells of one more site beside each at most.
        rows = np.full(
            height * width * SUBLATTICES, -1, np.int16 if len(cells) <= NARROW else np.int64
        )
        own = _moves(i - (low[0] - margin), j - (low[1] - margin), sublattice, width)
        return cls(rows, own[: len(cells)], low, high, margin, width)

    def joined(self, entries: np.ndarray) -> tuple[SiteGrid, np.ndarray]:
        """Grid with further rows at these entries, and which of them it took.

        Of several on one site that is the first; their numbers go on from the others'.
        """
        return self._with(self.rows.copy(), self.own, entries)

    def _with(
        self, rows: np.ndarray, own: np.ndarray, entries: np.ndarray
    ) -> tuple[SiteGrid, np.ndarray]:
        """Write what joins into `rows`, which hold those at entries `own`."""
        number = np.arange(len(entries))
        # what is written last stays
        rows[entries[::-1]] = number[::-1]
        first = (rows[entries] == number).nonzero()[0]
        if len(own) or len(first) < len(entries):
            entries = entries[first]
            rows[entries] = len(own) + number[: len(first)]
            entries = np.concatenate([own, entries])
        return SiteGrid(rows, entries, self.low, self.high, self.margin, self.width), first

    def find(self, cells: np.ndarray, sublattice: np.ndarray | int) -> np.ndarray:
        """Row (n,) on each site, -1 where there is none."""
        return np.asarray(self.rows[self.entries(cells, sublattice)].astype(np.intp))

    def entries(self, cells: np.ndarray, sublattice: np.ndarray | int) -> np.ndarray:
        """Entry (n,) of each site."""
        i, j = (
            np.minimum(np.maximum(cells[:, axis], self.low[axis]), self.high[axis])
            - (self.low[axis] - self.margin)
            for axis in range(2)
        )
        return self.moves(i, j, sublattice)

    def moves(self, i: np.ndarray, j: np.ndarray, sublattice: np.ndarray | int) -> np.ndarray:
        """Return what leads from an entry to that of a site so many cells and sublattices away."""
        return _moves(i, j, sublattice, self.width)


def _moves(i: np.ndarray, j: np.ndarray, sublattice: np.ndarray | int, width: int) -> np.ndarray:
    return np.asarray((i.astype(np.int64) * width + j) * SUBLATTICES + sublattice)
