"""ClassWatch the classes: have two become one, or one become two? At a cost that does not grow.

Two classes are one when no descriptor tells them apart. With r the class probabilities of a
descriptor, the overlap of a and b is E[r_a r_b] (w_a + w_b) / (w_a w_b), w = E[r]: 1 if they are
the same, 0 if none is ever in doubt, and 0.45 where equal normal classes stand two standard
deviations apart, so that their sum just has one peak. It is the misclassification that Hennig,
Adv. Data Anal. Classif. 4, 3 (2010), merges mixture components by, estimated from the data.

One class is two when the refit of `splitting` says so by far.

Both verdicts have hysteresis. A pair must have been clearly apart before it can merge, and a class
clearly one before it can split: a number of classes that was wrong from the start changes nothing.
And a verdict counts only if it stands `IN_A_ROW` times on new descriptors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .reservoir import SIZE, Reservoir
from .splitting import Division, divide

#: Times that a verdict must stand, each on descriptors that came since the last.
IN_A_ROW = 3
#: Overlap of a pair that is one (its sum has a single peak), and of a pair that is apart (equal
#: normal classes at 3.6 standard deviations).
ONE, APART = 0.5, 0.1
#: Descriptors that the overlap remembers, and after which it is judged anew; and the least weight
#: of a class in them that tells anything.
MEMORY, LEAST_MASS = 2000.0, 20.0
#: BIC in nats for two parts (Kass and Raftery, J. Am. Stat. Assoc. 90, 773 (1995), call 5 very
#: strong; skewed classes reach 16), and separation in standard deviations.
SPLIT_GAIN, SPLIT_SEPARATION = 20.0, 4.0
#: Least share and independent looks of the smaller part: fewer may be one odd site.
SPLIT_SHARE, SPLIT_LOOKS = 0.1, 12.0
#: Frames from one class's judging to the next's: 1 ms spread over ten frames.
JUDGE_EVERY = 10


@dataclass(frozen=True)
class Verdict:
    """Classes `first` and `second` are one; or `first` is two, in the parts of `division`."""

    first: int
    second: int = -1
    division: Division | None = None


@dataclass(frozen=True)
class ClassWatch:
    """What is remembered of the classes to judge them.

    Attributes
    ----------
    reservoir
        Recent descriptors of each class.
    mass, joint
        (room,) and (room, room): sums of r and of r r^T that forget.
    seen
        Descriptors since pairs were judged.
    apart, together
        int64 (room, room): verdicts in a row, up to `IN_A_ROW`; `apart` then stays.
    one, two
        int64 (room,): the same of single classes; `one` stays.
    frame
        When a class was last judged.
    """

    reservoir: Reservoir
    mass: np.ndarray
    joint: np.ndarray
    seen: int
    apart: np.ndarray
    together: np.ndarray
    one: np.ndarray
    two: np.ndarray
    frame: int

    @classmethod
    def empty(cls, room: int, d: int) -> ClassWatch:
        """Nothing seen yet."""
        pairs, singles = np.zeros((room, room), np.int64), np.zeros(room, np.int64)
        return cls(
            Reservoir.empty(room, d),
            np.zeros(room),
            np.zeros((room, room)),
            0,
            pairs,
            pairs,
            singles,
            singles,
            -JUDGE_EVERY,
        )

    def noted(
        self, r: np.ndarray, best: np.ndarray, points: np.ndarray, site: np.ndarray, seed: int
    ) -> ClassWatch:
        """Take in descriptors (n, d), seen on sites (n,).

        With class probabilities r (room, n), of which `best` (n,) is the greatest.
        """
        kept, fresh = (1.0 - 1.0 / MEMORY) ** len(best), r @ r.T
        return replace(
            self,
            reservoir=self.reservoir.add(best, points, site, seed),
            mass=kept * self.mass + fresh.sum(axis=1),  # each detection's r add up to one
            joint=kept * self.joint + fresh,
            seen=self.seen + len(best),
        )

    def overlap(self) -> np.ndarray:
        """Overlap (room, room) of each pair; NaN on the diagonal and where too little is known."""
        known = self.mass >= LEAST_MASS
        w = np.where(known, self.mass, np.nan)
        overlap = self.joint * (w[:, None] + w) / (w[:, None] * w)
        np.fill_diagonal(overlap, np.nan)
        return np.asarray(overlap)

    def anew(self, numbers: tuple[int, ...]) -> ClassWatch:
        """Forget what was known of classes that changed."""
        chosen = list(numbers)
        fields = {}
        for name in ("apart", "together", "joint"):
            value = getattr(self, name).copy()
            value[chosen], value[:, chosen] = 0, 0
            fields[name] = value
        for name in ("one", "two", "mass"):
            value = getattr(self, name).copy()
            value[chosen] = 0
            fields[name] = value
        return replace(self, reservoir=self.reservoir.without(numbers), **fields)


def _count(run: np.ndarray, holds: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Verdicts in a row, where one was known."""
    return np.where(known, np.where(holds, np.minimum(run + 1, IN_A_ROW), 0), run)


def judge_pairs(watch: ClassWatch) -> tuple[ClassWatch, Verdict | None]:
    """Judge all pairs, once per `MEMORY` descriptors; of several, the one that overlaps most."""
    if watch.seen < MEMORY:
        return watch, None
    overlap = watch.overlap()
    known = np.isfinite(overlap)
    value = np.where(known, overlap, 0.0)
    apart = np.where(
        watch.apart < IN_A_ROW, _count(watch.apart, value <= APART, known), watch.apart
    )
    together = _count(watch.together, (value >= ONE) & (apart == IN_A_ROW), known)
    watch = replace(watch, seen=0, apart=apart, together=together)
    due = (together == IN_A_ROW) & known
    if not due.any():
        return watch, None
    due = np.triu(due)
    first, second = np.unravel_index(int(np.where(due, value, -1.0).argmax()), due.shape)
    return watch, Verdict(int(first), int(second))


def judge_class(
    watch: ClassWatch, frame: int, repeat: float, floor: float
) -> tuple[ClassWatch, Verdict | None]:
    """Judge the class with most new descriptors, if it has `SIZE` and some frames went by."""
    number = int(watch.reservoir.fresh.argmax())
    if watch.reservoir.fresh[number] < SIZE or frame - watch.frame < JUDGE_EVERY:
        return watch, None
    found = divide(*watch.reservoir.of(number), repeat, floor)
    is_two = (
        found.gain >= SPLIT_GAIN
        and found.separation >= SPLIT_SEPARATION
        and found.share >= SPLIT_SHARE
        and found.looks >= SPLIT_LOOKS
    )
    one, two = watch.one.copy(), watch.two.copy()
    if one[number] < IN_A_ROW:
        one[number] = one[number] + 1 if found.gain <= 0 else 0
    armed = one[number] == IN_A_ROW
    two[number] = two[number] + 1 if is_two and armed else 0
    reservoir = watch.reservoir.judged(number)
    watch = replace(watch, reservoir=reservoir, one=one, two=two, frame=frame)
    if two[number] < IN_A_ROW:
        return watch, None
    return watch, Verdict(number, division=found)
