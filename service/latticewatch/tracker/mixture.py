"""A Gaussian mixture that learns online by stepwise EM, and whose class numbers never swap.

Cappe and Moulines, J. R. Stat. Soc. B 71, 593 (2009): after each batch the averaged sufficient
statistics move by s <- (1 - eta_k) s + eta_k s_batch, eta_k = (k + 2)^-alpha, and the parameters
are read from s. One step costs the same however long the session is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

#: Least logarithm of a class's probability over that of the likeliest: 1e-30. To take exponentials
#: that underflow, or to go on with them in single precision, takes ten times as long and more.
LEAST_LOG = -69.0
#: A class with a smaller share than this has too few points to move its mean or covariance.
LEAST_SHARE = 1e-4
#: Weight of a point of the first fit against one of the next batch. A step of 100 descriptors holds
#: three of a class of 3 %: with a weight of 0.6 or 1 such a class was lost from some starts (0.9 %
#: of the likelihood, in one simulated specimen of ten), with 1.5, 2.5 and 4 from none.
FIT_WEIGHT = 2.0


@dataclass(frozen=True)
class Moments:
    """Sums over n points of the responsibility r, r x and r x x^T: all that a step needs of them.

    Attributes
    ----------
    n
        Points.
    s0, s1, s2
        (K,), (K, d), (K, d, d).
    """

    n: int
    s0: np.ndarray
    s1: np.ndarray
    s2: np.ndarray

    @classmethod
    def empty(cls, k: int, d: int) -> Moments:
        """No points yet."""
        return cls(0, np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d)))

    @classmethod
    def of(cls, points: np.ndarray, r: np.ndarray) -> Moments:
        """Sum over points (n, d) with responsibilities r (n, K)."""
        (n, d), k = points.shape, r.shape[1]
        # All three from one product, r [1, x] [1, x]^T, with the points last: they are many.
        ones = np.empty((d + 1, n))
        ones[0], ones[1:] = 1.0, points.T
        weighted = (np.ascontiguousarray(r.T)[:, None, :] * ones).reshape(k * (d + 1), n)
        total = (weighted @ ones.T).reshape(k, d + 1, d + 1)
        # BLAS adds up in another order for another layout: equal numbers, equal bytes.
        s0, s1, s2 = (
            np.ascontiguousarray(part)
            for part in (total[:, 0, 0], total[:, 0, 1:], total[:, 1:, 1:])
        )
        return cls(n, s0, s1, s2)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.n + other.n, self.s0 + other.s0, self.s1 + other.s1, self.s2 + other.s2)


@dataclass(frozen=True)
class Mixture:
    """Parameters and averaged sufficient statistics of K classes in d dimensions.

    Attributes
    ----------
    weights, means, covariances
        (K,), (K, d), (K, d, d).
    s0, s1, s2
        Averages over points of the responsibility r, r x and r x x^T.
    steps
        Steps of the stepwise EM behind the statistics, which say how large the next one is.
    diagonal
        Covariances are diagonal.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    s0: np.ndarray
    s1: np.ndarray
    s2: np.ndarray
    steps: float = 0.0
    diagonal: bool = False

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def parameters(self) -> int:
        """Free parameters: weights, means, covariances."""
        k, d = self.means.shape
        return int(k - 1 + k * d + k * (d if self.diagonal else d * (d + 1) // 2))

    def bic(self, points: np.ndarray) -> float:
        """Bayesian information criterion on points (n, d), the less the better (Schwarz 1978)."""
        likelihood = float(self.responsibilities(points)[1].sum())
        return self.parameters * float(np.log(len(points))) - 2 * likelihood

    @cached_property
    def _whitening(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What whitens x for every class, (k d, d) and (k d,), and the log of weight over volume.

        Follows from the parameters alone, so that it is no part of the state.
        """
        k, d = self.means.shape
        roots = np.linalg.cholesky(self.covariances)
        whitening = np.linalg.inv(roots)
        volume = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
        middle = (whitening @ self.means[:, :, None]).reshape(k * d)
        constant = np.log(self.weights) - volume - 0.5 * d * np.log(2 * np.pi)
        return whitening.reshape(k * d, d), middle, constant

    def log_joint(self, points: np.ndarray) -> np.ndarray:
        """Log of weight times density, (K, n)."""
        whitening, middle, constant = self._whitening
        # All classes in one product: the points are few and every call costs more than they do.
        gaps = whitening @ points.T
        gaps -= middle[:, None]
        gaps = gaps.reshape(*self.means.shape, len(points))
        return np.asarray(constant[:, None] - 0.5 * np.einsum("kdn,kdn->kn", gaps, gaps))

    def responsibilities(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior class probabilities (n, K) and log density (n,)."""
        joint = self.log_joint(points)
        top = joint.max(axis=0)
        weights = np.exp(np.maximum(joint - top, LEAST_LOG))
        total = weights.sum(axis=0)
        return (weights / total).T, top + np.log(total)


def _floored(covariances: np.ndarray, floor: float, *, diagonal: bool) -> np.ndarray:
    """Symmetric matrices with no eigenvalue below the floor; without what is off a diagonal."""
    if diagonal:
        least = np.maximum(np.diagonal(covariances, axis1=1, axis2=2), floor)
        return np.asarray(least[:, :, None] * np.eye(covariances.shape[1]))
    # In most classes the site mark does not vary: there is always something to fill up.
    values, vectors = np.linalg.eigh((covariances + covariances.transpose(0, 2, 1)) / 2)
    lengthened = vectors * np.maximum(values, floor)[:, None, :]
    return np.asarray(lengthened @ vectors.transpose(0, 2, 1))


def read_parameters(mixture: Mixture, floor: float) -> Mixture:
    """Read weights, means and covariances from the statistics."""
    known = mixture.s0 > LEAST_SHARE
    safe = np.where(known, mixture.s0, 1.0)
    means = np.where(known[:, None], mixture.s1 / safe[:, None], mixture.means)
    outer = means[:, :, None] * means[:, None, :]
    covariances = mixture.s2 / safe[:, None, None] - outer
    covariances = _floored(covariances, floor, diagonal=mixture.diagonal)
    covariances = np.where(known[:, None, None], covariances, mixture.covariances)
    weights = np.maximum(mixture.s0, LEAST_SHARE)
    return replace(mixture, weights=weights / weights.sum(), means=means, covariances=covariances)


def step_size(steps: float, passed: float, exponent: float) -> float:
    """Step that moves the statistics as far as `passed` ordinary ones, the last of them in part.

    ``1 - prod_i (1 - eta_i)`` over the steps after the first `steps`.
    """
    kept = 1.0
    for done in range(math.ceil(passed)):
        kept *= (1.0 - (steps + done + 2.0) ** -exponent) ** min(passed - done, 1.0)
    return 1.0 - kept


def steps_behind(n: int, batch: int, exponent: float) -> float:
    """Give the steps behind a batch fit to n points: how large the next one may be.

    A batch then weighs what it would in an average over n * `FIT_WEIGHT` points and itself.
    """
    return float((FIT_WEIGHT * n / batch + 1.0) ** (1.0 / exponent) - 2.0)


def learn(
    mixture: Mixture, gathered: Moments, batch: int, exponent: float, floor: float
) -> Mixture:
    """One stepwise EM step on the moments of n points, of the size of n / `batch` ordinary steps.

    The responsibilities in the moments are this mixture's.
    """
    passed = gathered.n / batch
    eta = step_size(mixture.steps, passed, exponent)
    s0, s1, s2 = (
        (1 - eta) * old + (eta / gathered.n) * fresh
        for old, fresh in (
            (mixture.s0, gathered.s0), (mixture.s1, gathered.s1), (mixture.s2, gathered.s2)
        )
    )  # fmt: skip
    moved = replace(mixture, s0=s0, s1=s1, s2=s2, steps=mixture.steps + passed)
    return read_parameters(moved, floor)


#: What a mixture holds of each class.
_BY_CLASS = ("weights", "means", "covariances", "s0", "s1", "s2")


def reordered(mixture: Mixture, order: np.ndarray) -> Mixture:
    """Return the mixture of the chosen classes in that order."""
    return replace(mixture, **{name: getattr(mixture, name)[order] for name in _BY_CLASS})


def merged(mixture: Mixture, kept: int, gone: int, floor: float) -> Mixture:
    """One class with the moments of two; `gone` leaves the list of classes."""
    sums = {}
    for name in ("s0", "s1", "s2"):
        value = getattr(mixture, name).copy()
        value[kept] += value[gone]
        sums[name] = value
    rest = np.delete(np.arange(len(mixture)), gone)
    return read_parameters(reordered(replace(mixture, **sums), rest), floor)


def divided(
    mixture: Mixture, k: int, share: float, means: np.ndarray, within: np.ndarray, floor: float
) -> Mixture:
    """Two classes in place of one: `k` keeps 1 - `share` of its weight, the new one comes last.

    `means` (2, d) and the covariance `within` (d, d) of both are taken as they are.
    """
    part = np.array([1 - share, share]) * mixture.s0[k]
    outer = within + means[:, :, None] * means[:, None, :]
    both = reordered(mixture, np.append(np.arange(len(mixture)), k))
    places = [k, len(mixture)]
    s0, s1, s2 = both.s0.copy(), both.s1.copy(), both.s2.copy()
    s0[places], s1[places] = part, part[:, None] * means
    s2[places] = part[:, None, None] * outer
    # A class too faint to be read from its sums keeps what stands here.
    now_means, covariances = both.means.copy(), both.covariances.copy()
    now_means[places], covariances[places] = means, within
    return read_parameters(
        replace(both, s0=s0, s1=s1, s2=s2, means=now_means, covariances=covariances), floor
    )
