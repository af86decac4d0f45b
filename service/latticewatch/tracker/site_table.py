"""Which row stands on which site: sites of one frame, sorted once for all that is looked up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .anchor import site_keys


@dataclass(frozen=True)
class SiteTable:
    """Sites of n rows in the session's gauge.

    Attributes
    ----------
    order
        int (n,), rows by site; of several on one site in their own order.
    keys
        int64 (n,), `anchor.site_keys` in that order, rising.
    """

    order: np.ndarray
    keys: np.ndarray

    @classmethod
    def of(cls, cells: np.ndarray, sublattice: np.ndarray | int) -> SiteTable:
        """Sort sites: cells (n, 2) and sublattice (n,), or one for all."""
        keys = site_keys(cells, sublattice)
        order = np.argsort(keys, kind="stable")
        return cls(order, keys[order])

    def find(self, cells: np.ndarray, sublattice: np.ndarray | int) -> np.ndarray:
        """Return the first row on each site, cells (..., 2) and sublattice (...); -1: none."""
        if not len(self.keys):
            return np.full(cells.shape[:-1], -1)
        wanted = site_keys(cells, sublattice)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.asarray(np.where(self.keys[place] == wanted, self.order[place], -1))

    def first(self) -> np.ndarray:
        """Rows, rising, that are the first on their site."""
        new = np.ones(len(self.keys), bool)
        np.not_equal(self.keys[1:], self.keys[:-1], out=new[1:])
        return np.sort(self.order[new])
