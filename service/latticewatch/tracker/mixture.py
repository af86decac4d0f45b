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

from .moments import Moments, coefficients, packed, products, unpacked

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
class Mixture:
    """Parameters and averaged sufficient statistics of K classes in d dimensions.

    Attributes
    ----------
    weights, means
        (K,), (K, d).
    variances, axes
        Covariances by their principal axes, the columns of (K, d, d), and the variances (K, d)
        along them.
    sums
        (K, m), averages over points of r times their products (`moments.products`).
    steps
        Steps of the stepwise EM behind the sums, which say how large the next one is.
    diagonal
        Covariances are diagonal.
    """

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    axes: np.ndarray
    sums: np.ndarray
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

    @property
    def covariances(self) -> np.ndarray:
        """Covariances (K, d, d)."""
        return np.asarray((self.axes * self.variances[:, None, :]) @ self.axes.transpose(0, 2, 1))

    @cached_property
    def _log_joint(self) -> np.ndarray:
        """Coefficients (K, m) of the products in the log of weight times density.

        They follow from the parameters alone, so that they are no part of the state.
        """
        d = self.means.shape[1]
        whitening = self.axes.transpose(0, 2, 1) / np.sqrt(self.variances)[:, :, None]
        # what whitens x - mean, as a matrix that acts on [1, x]
        lines = np.concatenate([-whitening @ self.means[:, :, None], whitening], axis=2)
        forms = -0.5 * lines.transpose(0, 2, 1) @ lines
        volume = 0.5 * (np.log(self.variances).sum(axis=1) + d * math.log(2 * math.pi))
        forms[:, 0, 0] += np.log(self.weights) - volume
        return coefficients(forms)

    def told(self, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior class probabilities (K, n) and log density (n,) of points' products (m, n)."""
        joint = self._log_joint @ table
        top = joint.max(axis=0)
        joint -= top
        weights = np.exp(np.maximum(joint, LEAST_LOG, out=joint), out=joint)
        total = weights.sum(axis=0)
        weights /= total
        return weights, top + np.log(total)

    def responsibilities(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior class probabilities (n, K) and log density (n,) of points (n, d)."""
        r, density = self.told(products(points))
        return r.T, density


def spectral(
    covariances: np.ndarray, floor: float, *, diagonal: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Variances (K, d), none below the floor, and principal axes; those of x if `diagonal`."""
    if diagonal:
        values = np.diagonal(covariances, axis1=1, axis2=2)
        vectors = np.broadcast_to(np.eye(covariances.shape[1]), covariances.shape)
    else:
        values, vectors = np.linalg.eigh(covariances)
    return np.maximum(values, floor), vectors


def read_parameters(mixture: Mixture, floor: float) -> Mixture:
    """Read weights, means and covariances from the sums."""
    weights = np.maximum(mixture.sums[:, 0], LEAST_SHARE)
    known = mixture.sums[:, 0] > LEAST_SHARE
    second = unpacked(mixture.sums / weights[:, None])
    means = np.where(known[:, None], second[:, 0, 1:], mixture.means)
    covariances = second[:, 1:, 1:] - means[:, :, None] * means[:, None, :]
    variances, axes = spectral(covariances, floor, diagonal=mixture.diagonal)
    return replace(
        mixture,
        weights=weights / weights.sum(),
        means=means,
        variances=np.where(known[:, None], variances, mixture.variances),
        axes=np.where(known[:, None, None], axes, mixture.axes),
    )


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
    sums = (1 - eta) * mixture.sums + (eta / gathered.n) * gathered.sums
    return read_parameters(replace(mixture, sums=sums, steps=mixture.steps + passed), floor)


#: What a mixture holds of each class.
_BY_CLASS = ("weights", "means", "variances", "axes", "sums")


def reordered(mixture: Mixture, order: np.ndarray) -> Mixture:
    """Return the mixture of the chosen classes in that order."""
    return replace(mixture, **{name: getattr(mixture, name)[order] for name in _BY_CLASS})


def merged(mixture: Mixture, kept: int, gone: int, floor: float) -> Mixture:
    """One class with the moments of two; `gone` leaves the list of classes."""
    sums = mixture.sums.copy()
    sums[kept] += sums[gone]
    rest = np.delete(np.arange(len(mixture)), gone)
    return read_parameters(reordered(replace(mixture, sums=sums), rest), floor)


def divided(
    mixture: Mixture, k: int, share: float, means: np.ndarray, within: np.ndarray, floor: float
) -> Mixture:
    """Two classes in place of one: `k` keeps 1 - `share` of its weight, the new one comes last.

    `means` (2, d) and the covariance `within` (d, d) of both are taken as they are.
    """
    both = reordered(mixture, np.append(np.arange(len(mixture)), k))
    places = [k, len(mixture)]
    part = np.array([1 - share, share]) * mixture.sums[k, 0]
    u = np.column_stack([np.ones(2), means])
    second = u[:, :, None] * u[:, None, :]
    second[:, 1:, 1:] += within
    # A class too faint to be read from its sums keeps what stands here.
    variances, axes = spectral(np.stack([within] * 2), floor, diagonal=mixture.diagonal)
    for values, new in (
        (both.sums, packed(part[:, None, None] * second)),
        (both.means, means),
        (both.variances, variances),
        (both.axes, axes),
    ):
        values[places] = new  # `reordered` made copies
    return read_parameters(both, floor)
