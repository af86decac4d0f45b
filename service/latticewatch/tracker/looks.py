"""Sums over looks at columns: the likelihood of what a class's columns have, on a grid.

A function of all looks, in whatever order they came. One look's likelihoods are computed in
float32, which is a million times as exact as what it tells, and added up in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .anchor import KEY_STEPS
from .mixture import LEAST_LOG
from .species import UNKNOWN_PRIOR

#: Intensities over the undisturbed column for which the likelihood is kept. No column is taken for
#: less noisy than a step is wide, so that an interpolation is good: 0.25 is the noise of a sulphur
#: column at 1,600 electrons a pixel, 0.1 at 10,000.
RATIOS = np.linspace(-0.6, 1.1, 18)
LEAST_NOISE = 0.1

#: Density of something else on the column, an adatom say: flat over the grid, so that one look
#: cannot forbid every intensity.
ODDITY = UNKNOWN_PRIOR / float(RATIOS[-1] - RATIOS[0])
#: Density of a normal variable at its mean, in deviations.
NORMAL = 1.0 / math.sqrt(2.0 * math.pi)

#: Parts of the foretold probability that something is missing for which the likelihood is kept. In
#: 40 frames of the simulated specimen 0.75 and 0.95 of it were right at 1,600 and 8,000 electrons a
#: pixel, and 1.00 where nothing moves.
SCALES = np.array([0.55, 0.75, 0.9, 1.0])

#: Sites are dealt out over this many groups, and leaving each out in turn tells the error; with
#: eight the 95 % interval is a fifth wider than with many (Student's t).
GROUPS = 8


#: A site's group is its key's remainder by this and then by the groups: cells in a row differ.
PRIME = 1_000_003


@dataclass(frozen=True)
class Looks:
    """Sums over looks by group of sites g and class number; columns may be read in k ways.

    All looks at one site fall in one group: they share its contamination.

    Attributes
    ----------
    number
        (g, room): looks; of later ones how many were foretold to find something missing.
    held
        (room, k): how many of them are read in each way, by Bayes' rule.
    support
        (g, room, k, scales, RATIOS): log likelihood of the columns' intensity over the host's, each
        reading's in turn taken for unknown and the others for what they should be.
    """

    number: np.ndarray
    held: np.ndarray
    support: np.ndarray

    @classmethod
    def empty(cls, room: int, readings: int, scales: int) -> Looks:
        """No look yet."""
        support = np.zeros((GROUPS, room, readings, scales, len(RATIOS)))
        return cls(np.zeros((GROUPS, room)), np.zeros((room, readings)), support)

    def added(
        self,
        r: np.ndarray,
        count: np.ndarray,
        held: np.ndarray,
        support: np.ndarray,
        ends: list[int],
    ) -> Looks:
        """Fold n looks in, in the order of their groups (`in_order`).

        Shares of the classes r (room, n), and what each look adds to the sums, looks last.
        """
        (k, n), m = held.shape, math.prod(support.shape[:-1])
        values = np.empty((1 + k + m, n))
        values[0], values[1 : k + 1], values[k + 1 :] = count, held, support.reshape(m, n)
        sums = by_group(r, values, ends)
        return Looks(
            self.number + sums[..., 0],
            self.held + sums[..., 1 : k + 1].sum(axis=0),
            self.support + sums[..., k + 1 :].reshape(self.support.shape),
        )

    def changed(self, change: Callable[[np.ndarray], np.ndarray]) -> Looks:
        """Apply a change to all sums, the class first."""
        parts = (self.number, self.held[None], self.support)
        number, held, support = (by_class(part, change) for part in parts)
        return Looks(number, held[0], support)


def by_class(sums: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply a change to a copy of sums (g, room, ...) with the class first."""
    return np.ascontiguousarray(np.moveaxis(change(np.moveaxis(sums, 1, 0).copy()), 0, 1))


def in_order(group: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Order (n,) of looks by their groups (n,), and where each group ends in it."""
    return group.argsort(kind="stable"), np.bincount(group, minlength=GROUPS).cumsum().tolist()


def by_group(r: np.ndarray, values: np.ndarray, ends: list[int]) -> np.ndarray:
    """Sum values (m, n) of looks in the order of their groups by class, (g, room, m).

    `r` (room, n) are the shares of the classes.
    """
    sums, begin = np.empty((GROUPS, len(r), len(values))), 0
    for one, end in zip(sums, ends, strict=True):
        np.matmul(r[:, begin:end], values[:, begin:end].T, out=one)
        begin = end
    return sums


def group_of(site: np.ndarray) -> np.ndarray:
    """Group (n,) of sites by their keys: neighbours fall in different ones."""
    return np.asarray((site // KEY_STEPS[1] % PRIME % GROUPS).astype(np.int16))


def density(ratio: np.ndarray, level: np.ndarray, noise: tuple[float, float]) -> np.ndarray:
    """Probability density float32 (m, n) of ratios (n,) on columns that have `level` (m,).

    Level by level in memory: looks are many, levels are few.
    """
    empty, full = (deviation**2 for deviation in noise)
    deviation = np.sqrt(empty + (full - empty) * np.minimum(np.maximum(level, 0.0), 1.0))
    scale = (1.0 / deviation).astype(np.float32)[:, None]
    exponent = ratio.astype(np.float32) * scale
    exponent -= level.astype(np.float32)[:, None] * scale
    exponent *= exponent
    exponent *= np.float32(-0.5)
    # Beyond twelve deviations nothing is left beside `ODDITY`; powers that underflow are slow.
    np.maximum(exponent, np.float32(LEAST_LOG), out=exponent)
    np.exp(exponent, out=exponent)
    exponent *= scale * np.float32(NORMAL)
    return np.asarray(exponent)
