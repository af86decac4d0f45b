"""The classifier: descriptors, warm-up, mixture, and what is known of each class.

The basis is learnt from the warm-up detections and then frozen: a mixture's means and covariances
have no meaning in coordinates that move under them. What the frozen basis misses in later patches
is published beside what it missed at warm-up (`residual`), so that a change of the specimen that
the basis cannot express is seen.

A component of the mixture bears a class number that it keeps for the session. Whatever is kept by
class has room for every number that the session may give out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .class_watch import ClassWatch
from .descriptors import Basis, Projected, describe, update_basis
from .mixture import Mixture, learn, reordered, steps_behind
from .mixture_start import warm_start
from .moments import Moments, products
from .reservoir import Reservoir
from .roster import Roster
from .samples import ClassSums, Sample
from .settings import TrackerSettings

#: Memory of the running residual share: the last 50 frames or so.
RESIDUAL_WEIGHT = 0.02


@dataclass(frozen=True)
class Look:
    """What the classifier makes of n detections.

    Attributes
    ----------
    points, products
        Descriptors (n, d), and the products (m, n) of two of them that the mixture is told by.
    probability
        (room, n), of the classes by their numbers.
    best
        (n,), most probable class.
    patches
        Patches in the basis.
    """

    points: np.ndarray
    products: np.ndarray
    probability: np.ndarray
    best: np.ndarray
    patches: Projected

    def take(self, index: np.ndarray) -> Look:
        """Return the chosen detections."""
        return Look(
            self.points[index],
            self.products.take(index, axis=1),
            self.probability.take(index, axis=1),
            self.best[index],
            self.patches.take(index),
        )


@dataclass(frozen=True)
class Classifier:
    """State of the classifier: either a warm-up buffer or basis, mixture and sums.

    `pending` are the moments of what the mixture has not learnt yet, `floor` is the least variance
    of a class, by the last frame's measure of noise.
    """

    buffer: Sample
    basis: Basis | None
    mixture: Mixture | None
    pending: Moments
    sums: ClassSums
    residual: tuple[float, float]
    roster: Roster
    watch: ClassWatch
    floor: float = 0.0

    @classmethod
    def empty(cls, room: int) -> Classifier:
        """Nothing learnt, with room for so many class numbers."""
        none = (0.0, 0.0)
        return cls(
            Sample.empty(),
            None,
            None,
            Moments.empty(0, 0),
            ClassSums.empty(room),
            none,
            Roster.empty(room),
            ClassWatch.empty(room, 0),
        )

    def look(self, sample: Sample) -> Look | None:
        """Descriptors and class probabilities under what is known now; None before warm-up."""
        if self.basis is None or self.mixture is None:
            return None
        points, patches = _points(self.basis, sample)
        table = products(points)
        r = self.roster.spread(self.mixture.told(table)[0])
        return Look(points, table, r, r.argmax(axis=0), patches)

    def learnt(
        self, sample: Sample, look: Look | None, settings: TrackerSettings, floor: float
    ) -> Classifier:
        """Fold detections in, as `look` saw them; `floor` is the least variance of a class."""
        if not len(sample):
            return self
        if self.basis is None or self.mixture is None or look is None:
            buffer = self.buffer.joined(sample)
            if len(buffer) < settings.warm_up:
                return replace(self, buffer=buffer)
            return _warmed(buffer, settings, floor)
        missed = self.basis.residual_share(sample.patches, look.patches)
        now = self.residual[1] + RESIDUAL_WEIGHT * (missed - self.residual[1])
        told = replace(
            self,
            pending=self.pending + Moments.of(look.products, look.probability[self.roster.numbers]),
            sums=self.sums.add(look.probability, look.points, sample),
            residual=(self.residual[0], now),
            watch=self.watch.noted(
                look.probability, look.best, look.points, sample.site, settings.seed
            ),
            floor=floor,
        )
        return told.caught_up(settings) if told.pending.n >= settings.batch else told

    def caught_up(self, settings: TrackerSettings) -> Classifier:
        """Let the mixture learn all that is pending, in one step.

        Its parameters change here alone, so that what `look` told holds for all of it.
        """
        if self.mixture is None or not self.pending.n:
            return self
        mixture = learn(
            self.mixture, self.pending, settings.batch, settings.step_exponent, self.floor
        )
        return replace(self, mixture=mixture, pending=Moments.empty(*mixture.means.shape))

    def with_classes(
        self, change: Callable[[Mixture], Mixture], settings: TrackerSettings
    ) -> Classifier:
        """Give it other classes; what is pending was told by the old ones and is learnt first."""
        told = self.caught_up(settings)
        if told.mixture is None:
            return told
        mixture = change(told.mixture)
        return replace(told, mixture=mixture, pending=Moments.empty(*mixture.means.shape))

    def state(self) -> dict[str, Any]:
        """Nested dicts of arrays and numbers."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Classifier:
        """Undo `state`."""
        watch = state["watch"]
        return cls(
            Sample(**state["buffer"]),
            Basis(**state["basis"]) if state["basis"] is not None else None,
            Mixture(**state["mixture"]) if state["mixture"] is not None else None,
            Moments(**state["pending"]),
            ClassSums(**state["sums"]),
            (state["residual"][0], state["residual"][1]),
            Roster(**state["roster"]),
            ClassWatch(**{**watch, "reservoir": Reservoir(**watch["reservoir"])}),
            state["floor"],
        )


def _points(basis: Basis, sample: Sample) -> tuple[np.ndarray, Projected]:
    patches = basis.project(sample.patches)
    points = describe(sample.centre, sample.neighbours, sample.sublattice, patches.scores)
    return points, patches


def _warmed(buffer: Sample, settings: TrackerSettings, floor: float) -> Classifier:
    """Fit basis and mixture to the warm-up buffer, and fix the order of the classes for good."""
    rows = buffer.patches.reshape(len(buffer), -1)
    basis = update_basis(None, rows, settings.components)
    points, patches = _points(basis, buffer)
    rng, diagonal = np.random.default_rng(settings.seed), settings.covariance == "diagonal"
    fits = [
        warm_start(points, k, rng, settings.starts, floor, diagonal=diagonal)
        for k in settings.class_choices
    ]
    bic = [fit.bic(points) for fit in fits]
    steps = steps_behind(len(points), settings.batch, settings.step_exponent)
    mixture = replace(fits[int(np.argmin(bic))], steps=steps)
    r = mixture.responsibilities(points)[0]
    site = (r.T @ np.eye(3)[buffer.sublattice]).argmax(axis=1)
    mixture = reordered(mixture, np.lexsort((mixture.means[:, 0], site)))
    blank = Classifier.empty(settings.room)
    roster = replace(
        blank.roster,
        numbers=np.arange(len(mixture)),
        bic=dict(zip(settings.class_choices, bic, strict=True)),
    )
    seen = roster.spread(mixture.told(products(points))[0])
    missed = basis.residual_share(rows, patches)
    return replace(
        blank,
        basis=basis,
        mixture=mixture,
        pending=Moments.empty(*mixture.means.shape),
        sums=blank.sums.add(seen, points, buffer),
        residual=(missed, missed),
        roster=roster,
        watch=ClassWatch.empty(settings.room, points.shape[1]),
        floor=floor,
    )
