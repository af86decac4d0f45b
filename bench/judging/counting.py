"""Detections of many frames against their truth: one-to-one matching, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from judging.frames import Judged
from latticewatch_models.scoring import match

#: Species of the simulated WS2, in the order of the tables.
SPECIES = ("MoW", "VW", "VS", "VS2", "adatom")


@dataclass(frozen=True)
class Found:
    """What a detector says of one frame.

    Attributes
    ----------
    points
        (n, 2), pixels (x, y).
    score
        (n,), the surer the higher.
    named
        (n, species) probability that it is each of `SPECIES`; None from a detector that knows none.
    """

    points: np.ndarray
    score: np.ndarray
    named: np.ndarray | None = None

    @property
    def species(self) -> np.ndarray:
        """The name of each, (n,); 'unknown' where that is likelier than each species."""
        if self.named is None:
            return np.full(len(self.points), "unknown")
        rest = 1.0 - self.named.sum(axis=1, keepdims=True)
        best = np.hstack([self.named, rest]).argmax(axis=1)
        return np.array([*SPECIES, "unknown"])[best]

    def above(self, threshold: float) -> Found:
        """Those whose score is at least `threshold`."""
        kept = self.score >= threshold
        named = None if self.named is None else self.named[kept]
        return Found(self.points[kept], self.score[kept], named)


@dataclass(frozen=True)
class Tally:
    """Detections and defects over some frames, pairs told.

    Attributes
    ----------
    score, named, name
        (n,), (n, species) and (n,) of the detections that count.
    partner
        (n,), true species of each detection's defect, '' for a false alarm.
    true
        Number of defects by species.
    place, error
        (k, 2) each: true position of the pairs' defects and detection less truth, pixels.
    frames
        Number of frames.
    """

    score: np.ndarray
    named: np.ndarray
    name: np.ndarray
    partner: np.ndarray
    true: dict[str, int]
    place: np.ndarray
    error: np.ndarray
    frames: int

    @property
    def right(self) -> np.ndarray:
        """Which detections are of a true defect, bool (n,)."""
        return self.partner != ""

    def precision(self) -> float:
        """Share of the detections that are true; NaN without any."""
        return float(self.right.mean()) if len(self.right) else float("nan")

    def recall(self, species: str | None = None) -> float:
        """Share of the true defects of one or all species that were found, whatever the name."""
        if species is None:
            return _share(int(self.right.sum()), sum(self.true.values()))
        return _share(int((self.partner == species).sum()), self.true[species])

    def f1(self) -> float:
        """F1 over all species, names aside."""
        return _f1(int(self.right.sum()), len(self.right), sum(self.true.values()))

    def named_f1(self, species: str) -> float:
        """F1 of one species: a hit bears the name of its defect."""
        called = self.name == species
        hits = int((called & (self.partner == species)).sum())
        return _f1(hits, int(called.sum()), self.true[species])


def tally(frames: Iterable[tuple[Found, Judged]]) -> Tally:
    """Match every frame's detections to its truth and put the counts together."""
    score, named, name, partner, place, error = [], [], [], [], [], []
    true = dict.fromkeys(SPECIES, 0)
    number = 0
    for found, truth in frames:
        number += 1
        for species in truth.species[truth.counts]:
            true[str(species)] += 1
        hit, defect = match(found.points, truth.points, truth.reach_px)
        label = np.full(len(found.points), "", dtype="<U7")
        label[hit] = truth.species[defect]
        counts = truth.inside(found.points) if len(found.points) else np.zeros(0, bool)
        # a pair counts as its defect does, on whichever side of the border the detection lies
        counts[hit] = truth.counts[defect]
        score.append(found.score[counts])
        none = np.zeros((len(found.points), len(SPECIES)))
        named.append((none if found.named is None else found.named)[counts])
        name.append(found.species[counts])
        partner.append(label[counts])
        pair = truth.counts[defect]
        place.append(truth.points[defect[pair]])
        error.append(found.points[hit[pair]] - truth.points[defect[pair]])
    parts = (np.concatenate(part) for part in (score, named, name, partner))
    return Tally(*parts, true, np.concatenate(place), np.concatenate(error), number)


def curve(
    score: np.ndarray, right: np.ndarray, true: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Recall, precision and F1 with the threshold at each score in turn, surest first."""
    hits = np.cumsum(np.asarray(right)[np.argsort(-np.asarray(score), kind="stable")])
    claimed = np.arange(1, len(hits) + 1)
    return hits / max(true, 1), hits / claimed, 2 * hits / (claimed + true)


def species_curve(tally: Tally, species: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`curve` of one species, the score being the probability that a defect of it is there."""
    score = tally.score * tally.named[:, SPECIES.index(species)]
    return curve(score, tally.partner == species, tally.true[species])


def _f1(hits: int, claimed: int, true: int) -> float:
    return 2 * hits / (claimed + true) if claimed + true else float("nan")


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
