"""Which of many lattice sites stands where in a list: a hash table, filled and asked by arrays.

A bisection of 500 keys is ten branches that the processor cannot foresee: 540 look-ups among as
many sites took 30 us by bisection, after 33 us for sorting, and 7 us so, after 22.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: The golden section of 2^64 as an odd signed number: the upper bits of its multiples are spread
#: evenly (Fibonacci hashing; Knuth, The Art of Computer Programming 3, section 6.4).
GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
#: A table has 2^4 entries a site or more, so that at most one key in 16 meets another's.
SPARE_BITS = 3
#: Closes a list of keys, so that nothing is beyond it; no site has this one (`anchor.site_keys`).
NO_SITE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class SiteIndex:
    """Places of n sites in their list, by key.

    Attributes
    ----------
    keys
        int64 (n + 1,): those of the list and `NO_SITE`.
    table
        Place by hash, -1 for none; a power of two of entries.
    ousted, ousted_place
        (k + 1,) keys, in ascending order, that found another's in their entry, and their places;
        the last is `NO_SITE`.
    """

    keys: np.ndarray
    table: np.ndarray
    ousted: np.ndarray
    ousted_place: np.ndarray

    @classmethod
    def of(cls, keys: np.ndarray) -> SiteIndex:
        """Index of a list of keys (n,); of equal ones it knows the first."""
        n = len(keys)
        table = np.full(1 << (n.bit_length() + SPARE_BITS), -1)
        entry = _entries(keys, table)
        table[entry[::-1]] = np.arange(n - 1, -1, -1)
        lost = np.flatnonzero(keys[table[entry]] != keys)
        lost = lost[np.argsort(keys[lost], kind="stable")]
        return cls(
            np.append(keys, NO_SITE), table, np.append(keys[lost], NO_SITE), np.append(lost, -1)
        )

    def at(self, keys: np.ndarray) -> np.ndarray:
        """Place (k,) of each of `keys` (k,) in the list, -1 for none."""
        place = self.table[_entries(keys, self.table)]
        other = np.flatnonzero(self.keys[place] != keys)
        # most are of empty entries, which the last of `ousted` answers as well
        rank = self.ousted.searchsorted(keys[other])
        place[other] = np.where(self.ousted[rank] == keys[other], self.ousted_place[rank], -1)
        return place

    def hits(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of `keys` (k,) are in the list, and their places there; best where few are."""
        some = np.flatnonzero(self.table[_entries(keys, self.table)] >= 0)
        place = self.at(keys[some])
        found = place >= 0
        return some[found], place[found]


def _entries(keys: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Entry of each key, counted from the middle of the table on, which indexing from its end does."""
    return (keys * GOLDEN) >> (65 - len(table).bit_length())
