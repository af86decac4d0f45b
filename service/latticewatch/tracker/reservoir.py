"""Recent descriptors of each class, a bounded sample that forgets: what a split is judged on.

Each new descriptor takes the place of a random one of its class, so that a descriptor's age is
exponentially distributed with a mean of `SIZE` arrivals, whatever the length of the session
(Aggarwal, Proc. VLDB 2006, 607: the biased reservoir). The choice is seeded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

#: Descriptors kept of each class: enough for two classes at four standard deviations from each
#: other to be told from one (measured, see docs/tracker.md), 7 kB a class in the saved state.
SIZE = 256


@dataclass(frozen=True)
class Reservoir:
    """Descriptors of `room` classes.

    Attributes
    ----------
    points, site
        float16 (room, SIZE, d) and int64 (room, SIZE): descriptors, to 0.0005 host columns, a
        twentieth of the least noise, and the sites they were seen on.
    filled, fresh
        (room,): places in use, and arrivals since the class was last judged.
    draws
        Times that places were drawn, which numbers the random stream.
    """

    points: np.ndarray
    site: np.ndarray
    filled: np.ndarray
    fresh: np.ndarray
    draws: int

    @classmethod
    def empty(cls, room: int, d: int) -> Reservoir:
        """Nothing kept yet."""
        none = np.zeros(room, np.int64)
        return cls(
            np.zeros((room, SIZE, d), np.float16), np.zeros((room, SIZE), np.int64), none, none, 0
        )

    def add(self, number: np.ndarray, points: np.ndarray, site: np.ndarray, seed: int) -> Reservoir:
        """Keep descriptors (n, d) of the classes `number` (n,), seen on `site` (n,)."""
        rng = np.random.default_rng((seed, self.draws))
        order = np.argsort(number, kind="stable")
        number = number[order]
        count = np.bincount(number, minlength=len(self.filled))
        # Arrivals fill the free places first; what comes after replaces at random.
        within = np.arange(len(number)) - np.repeat(np.cumsum(count) - count, count)
        place = self.filled[number] + within
        place = np.where(place < SIZE, place, rng.integers(0, SIZE, len(number)))
        kept, sites = self.points.copy(), self.site.copy()
        kept[number, place] = points[order]
        sites[number, place] = site[order]
        filled = np.minimum(self.filled + count, SIZE)
        return Reservoir(kept, sites, filled, self.fresh + count, self.draws + 1)

    def of(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Descriptors (n, d) and sites (n,) of one class."""
        n = int(self.filled[number])
        return self.points[number, :n].astype(float), self.site[number, :n]

    def judged(self, number: int) -> Reservoir:
        """Count arrivals of a class anew."""
        fresh = self.fresh.copy()
        fresh[number] = 0
        return replace(self, fresh=fresh)

    def without(self, numbers: tuple[int, ...]) -> Reservoir:
        """Forget what is kept of some classes."""
        filled, fresh = self.filled.copy(), self.fresh.copy()
        filled[list(numbers)] = fresh[list(numbers)] = 0
        return replace(self, filled=filled, fresh=fresh)
