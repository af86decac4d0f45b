"""Recent descriptors of each class, a bounded sample that forgets: what a split is judged on.

Each new descriptor takes the place of a random one of its class, so that a descriptor's age is
exponentially distributed with a mean of `SIZE` arrivals, whatever the length of the session
(Aggarwal, Proc. VLDB 2006, 607: the biased reservoir). The choice is seeded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

#: Descriptors kept of each class: enough for two classes at four standard deviations from each
#: other to be told from one (measured, docs/tracker/classes.md), 7 kB a class in the saved state.
SIZE = 256
#: Places drawn at once: to set up a generator takes longer than to draw a frame's places.
BLOCK = 1 << 14


@lru_cache(maxsize=4)
def _block(seed: int, number: int) -> np.ndarray:
    """Random places of arrivals number * BLOCK and on."""
    return np.random.default_rng((seed, number)).integers(0, SIZE, BLOCK, np.int16)


def _places(seed: int, start: int, n: int) -> np.ndarray:
    """Random places (n,) of the arrivals from number `start` on; the same however they come."""
    first = start // BLOCK
    blocks = [_block(seed, number) for number in range(first, (start + n) // BLOCK + 1)]
    return np.concatenate(blocks)[start - first * BLOCK :][:n].astype(np.int64)


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
        Places drawn, which numbers the next in the random stream.
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
        place = _places(seed, self.draws, len(number))
        count = np.bincount(number, minlength=len(self.filled))
        # Arrivals fill the free places first; what comes after replaces at random.
        some = np.flatnonzero(self.filled[number] < SIZE)
        if len(some):
            some = some[np.argsort(number[some], kind="stable")]
            among = np.bincount(number[some], minlength=len(count))
            within = np.arange(len(some)) - np.repeat(np.cumsum(among) - among, among)
            free = self.filled[number[some]] + within
            place[some] = np.where(free < SIZE, free, place[some])
        kept, sites, place = self.points.copy(), self.site.copy(), number * SIZE + place
        kept.reshape(-1, kept.shape[2])[place] = points.astype(kept.dtype)
        sites.reshape(-1)[place] = site
        filled = np.minimum(self.filled + count, SIZE)
        return Reservoir(kept, sites, filled, self.fresh + count, self.draws + len(number))

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
