"""Which row stands on which site: sites of one frame, sorted once for all that is looked up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SiteTable:
    """Sites of n rows.

    Attributes
    ----------
    order
        int (n,), rows by site; of several on one site in their own order.
    keys
        int64 (n,), `anchor.site_keys` in that order, rising.
    """

    order: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.order)

    @classmethod
    def of(cls, keys: np.ndarray) -> SiteTable:
        """Sort the rows' site keys (n,)."""
        order = np.argsort(keys, kind="stable")
        return cls(order, keys[order])

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return the first row on each site, of the shape of `keys`; -1 where there is none."""
        row = np.full(keys.size, -1)
        if len(self):
            # searching for keys in their order takes half the time, the sort included
            order = np.argsort(keys, axis=None)
            rising = keys.ravel()[order]
            place = np.minimum(np.searchsorted(self.keys, rising), len(self) - 1)
            row[order] = np.where(self.keys[place] == rising, self.order[place], -1)
        return row.reshape(keys.shape)

    def first(self) -> np.ndarray:
        """Rows, rising, that are the first on their site."""
        new = np.ones(len(self), bool)
        np.not_equal(self.keys[1:], self.keys[:-1], out=new[1:])
        return np.sort(self.order[new])
