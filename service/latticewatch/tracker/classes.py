"""The classifier: descriptors, warm-up, mixture, and what is known of each class.

The basis is learnt from the warm-up detections and then frozen: a mixture's means and covariances
have no meaning in coordinates that move under them. What the frozen basis misses in later patches
is published beside what it missed at warm-up (`residual`), so that a change of the specimen that
the basis cannot express is seen.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from latticewatch.detections import PATCH_SIZE

from .descriptors import Basis, Projected, describe, update_basis
from .mixture import Mixture, learn, reordered, warm_start
from .settings import TrackerSettings

#: Memory of the running residual share: the last 50 frames or so.
RESIDUAL_WEIGHT = 0.02


@dataclass(frozen=True)
class Sample:
    """The part of n detections that classes are made from; fields as in `Detections`."""

    centre: np.ndarray
    neighbours: np.ndarray
    sublattice: np.ndarray
    patches: np.ndarray

    def __len__(self) -> int:
        return len(self.centre)

    def take(self, index: np.ndarray) -> Sample:
        """Return the chosen detections."""
        return Sample(*(getattr(self, f.name)[index] for f in fields(self)))

    def joined(self, other: Sample) -> Sample:
        """Both samples, one after the other."""
        pairs = [(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return Sample(*(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True)
class Look:
    """Descriptors (n, d) of a sample, its class probabilities (n, K), its patches in the basis."""

    points: np.ndarray
    probability: np.ndarray
    patches: Projected

    def take(self, index: np.ndarray) -> Look:
        """Return the chosen detections."""
        return Look(self.points[index], self.probability[index], self.patches.take(index))


@dataclass(frozen=True)
class ClassSums:
    """Responsibility-weighted sums over all detections of each class.

    Attributes
    ----------
    weight, centre, squares
        (K, 3) by sublattice: members, and sums of their column intensity and its square.
    image
        (K, PATCH_SIZE^2), sum of patches.
    """

    weight: np.ndarray
    centre: np.ndarray
    squares: np.ndarray
    image: np.ndarray

    @classmethod
    def empty(cls, k: int) -> ClassSums:
        """No members yet."""
        blank = np.zeros((k, 3))
        return cls(blank, blank, blank, np.zeros((k, PATCH_SIZE**2)))

    def add(self, r: np.ndarray, sample: Sample) -> ClassSums:
        """Fold detections with responsibilities r (n, K) in."""
        site = np.eye(3)[sample.sublattice]
        centre = np.asarray(sample.centre, float)[:, None]
        return ClassSums(
            self.weight + r.T @ site,
            self.centre + r.T @ (site * centre),
            self.squares + r.T @ (site * centre**2),
            self.image + r.T @ sample.patches.reshape(len(sample), -1),
        )


@dataclass(frozen=True)
class Classifier:
    """State of the classifier: either a warm-up buffer or basis, mixture and sums."""

    buffer: Sample
    basis: Basis | None
    mixture: Mixture | None
    pending: np.ndarray
    sums: ClassSums
    residual: tuple[float, float]

    @classmethod
    def empty(cls, k: int) -> Classifier:
        """Nothing learnt."""
        blank = np.zeros(0, np.float32)
        patches = np.zeros((0, PATCH_SIZE, PATCH_SIZE), np.float32)
        buffer = Sample(blank, blank.reshape(0, 3), np.zeros(0, np.int8), patches)
        return cls(buffer, None, None, np.zeros((0, 0)), ClassSums.empty(k), (0.0, 0.0))

    def look(self, sample: Sample) -> Look | None:
        """Descriptors and class probabilities under what is known now; None before warm-up."""
        if self.basis is None or self.mixture is None:
            return None
        points, patches = _points(self.basis, sample)
        if not len(sample):
            return Look(points, np.zeros((0, len(self.mixture.weights))), patches)
        return Look(points, self.mixture.responsibilities(points)[0], patches)

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
        # BLAS adds up in another order for another layout: equal numbers, equal bytes.
        sums = self.sums.add(np.ascontiguousarray(look.probability), sample)
        pending, mixture = np.concatenate([self.pending, look.points]), self.mixture
        while len(pending) >= settings.batch:
            batch, pending = pending[: settings.batch], pending[settings.batch :]
            mixture = learn(mixture, batch, settings.step_exponent, floor)
        missed = look.patches.residual_share()
        now = self.residual[1] + RESIDUAL_WEIGHT * (missed - self.residual[1])
        return replace(
            self, mixture=mixture, pending=pending, sums=sums, residual=(self.residual[0], now)
        )

    def state(self) -> dict[str, Any]:
        """Nested dicts of arrays and numbers."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Classifier:
        """Undo `state`."""
        return cls(
            Sample(**state["buffer"]),
            Basis(**state["basis"]) if state["basis"] is not None else None,
            Mixture(**state["mixture"]) if state["mixture"] is not None else None,
            state["pending"],
            ClassSums(**state["sums"]),
            (state["residual"][0], state["residual"][1]),
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
    mixture = warm_start(
        points,
        settings.classes,
        np.random.default_rng(settings.seed),
        settings.starts,
        floor,
        settings.batch,
    )
    r = mixture.responsibilities(points)[0]
    site = (r.T @ np.eye(3)[buffer.sublattice]).argmax(axis=1)
    mixture = reordered(mixture, np.lexsort((mixture.means[:, 0], site)))
    sums = ClassSums.empty(settings.classes).add(mixture.responsibilities(points)[0], buffer)
    missed = patches.residual_share()
    empty = Classifier.empty(settings.classes).buffer
    return Classifier(empty, basis, mixture, np.zeros((0, points.shape[1])), sums, (missed, missed))
