"""A Gaussian mixture that learns online by stepwise EM, and whose class numbers never swap.

Cappe and Moulines, J. R. Stat. Soc. B 71, 593 (2009): after each batch the averaged sufficient
statistics move by s <- (1 - eta_k) s + eta_k s_batch, eta_k = (k + 2)^-alpha, and the parameters
are read from s. One step costs the same however long the session is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

#: Least logarithm of a class's probability over that of the likeliest: 1e-30. To take exponentials
#: that underflow, or to go on with them in single precision, takes ten times as long and more.
LEAST_LOG = -69.0
#: A class with a smaller share than this has too few points to move its mean or covariance.
LEAST_SHARE = 1e-4
#: Rounds and tolerance (nats per point) of the warm fit.
ROUNDS = 200
TOLERANCE = 1e-6
#: Short runs of EM decide which starts are worth a long one (Biernacki, Celeux and Govaert, Comput.
#: Stat. Data Anal. 41, 561 (2003)): rounds of a short run, and starts that go on.
SHORT_ROUNDS, LONG_RUNS = 15, 4


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
        Batches behind the statistics, in units of the stepwise EM's batch.
    diagonal
        Covariances are diagonal.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    s0: np.ndarray
    s1: np.ndarray
    s2: np.ndarray
    steps: int = 0
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

    def log_joint(self, points: np.ndarray) -> np.ndarray:
        """Log of weight times density, (n, K)."""
        k, d = self.means.shape
        roots = np.linalg.cholesky(self.covariances)
        whitening = np.linalg.inv(roots)
        volume = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
        constant = np.log(self.weights) - volume - 0.5 * d * np.log(2 * np.pi)
        # All classes in one product: the points are few and every call costs more than they do.
        gaps = points @ whitening.reshape(k * d, d).T
        gaps -= (whitening @ self.means[:, :, None]).reshape(k * d)
        gaps = gaps.reshape(len(points), k, d)
        return np.asarray(constant - 0.5 * np.einsum("nkd,nkd->nk", gaps, gaps))

    def responsibilities(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior class probabilities (n, K) and log density (n,)."""
        joint = self.log_joint(points)
        top = joint.max(axis=1, keepdims=True)
        weights = np.exp(np.maximum(joint - top, LEAST_LOG))
        total = weights.sum(axis=1, keepdims=True)
        return weights / total, (top + np.log(total))[:, 0]


def moments(points: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Averages of r, r x and r x x^T over points (n, d) with responsibilities (n, K)."""
    n = len(points)
    s2 = (r.T[:, None, :] * points.T[None]) @ points / n
    return r.mean(axis=0), r.T @ points / n, s2


def _floored(covariances: np.ndarray, floor: float, *, diagonal: bool) -> np.ndarray:
    """Symmetric matrices with no eigenvalue below the floor; without what is off a diagonal."""
    if diagonal:
        least = np.maximum(np.diagonal(covariances, axis1=1, axis2=2), floor)
        return np.asarray(least[:, :, None] * np.eye(covariances.shape[1]))
    values, vectors = np.linalg.eigh((covariances + covariances.transpose(0, 2, 1)) / 2)
    return np.asarray(np.einsum("kij,kj,klj->kil", vectors, np.maximum(values, floor), vectors))


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


def learn(mixture: Mixture, points: np.ndarray, exponent: float, floor: float) -> Mixture:
    """One stepwise EM step on a batch of points (n, d)."""
    eta = (mixture.steps + 2.0) ** -exponent
    new = moments(points, mixture.responsibilities(points)[0])
    s0, s1, s2 = (
        (1 - eta) * old + eta * fresh
        for old, fresh in zip((mixture.s0, mixture.s1, mixture.s2), new, strict=True)
    )
    moved = replace(mixture, s0=s0, s1=s1, s2=s2, steps=mixture.steps + 1)
    return read_parameters(moved, floor)


def _seeds(points: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k-means++ seeding (Arthur and Vassilvitskii 2007): k of the points, far apart."""
    chosen = [points[rng.integers(len(points))]]
    nearest = np.full(len(points), np.inf)
    for _ in range(k - 1):
        nearest = np.minimum(nearest, ((points - chosen[-1]) ** 2).sum(axis=1))
        total = nearest.sum()
        share = nearest / total if total > 0 else np.full(len(points), 1 / len(points))
        chosen.append(points[rng.choice(len(points), p=share)])
    return np.array(chosen)


def _seeded(
    points: np.ndarray, k: int, rng: np.random.Generator, floor: float, *, diagonal: bool
) -> Mixture:
    """Mixture whose classes are what lies nearest to each of k seeds."""
    d = points.shape[1]
    seeds = _seeds(points, k, rng)
    owner = ((points[:, None, :] - seeds[None]) ** 2).sum(axis=2).argmin(axis=1)
    blank = Mixture(
        np.full(k, 1 / k),
        seeds,
        np.tile(np.cov(points.T, bias=True).reshape(d, d) + floor * np.eye(d), (k, 1, 1)),
        *moments(points, np.eye(k)[owner]),
        diagonal=diagonal,
    )
    return read_parameters(blank, floor)


def _climb(points: np.ndarray, fit: Mixture, floor: float, rounds: int) -> tuple[float, Mixture]:
    """Batch EM; mean log-likelihood before its last round, and the fit."""
    now = before = -np.inf
    for _ in range(rounds):
        r, density = fit.responsibilities(points)
        now = float(density.mean())
        if now - before < TOLERANCE:
            break
        before = now
        s0, s1, s2 = moments(points, r)
        fit = read_parameters(replace(fit, s0=s0, s1=s1, s2=s2), floor)
    return now, fit


def warm_start(
    points: np.ndarray,
    k: int,
    rng: np.random.Generator,
    starts: int,
    floor: float,
    batch: int,
    *,
    diagonal: bool = False,
) -> Mixture:
    """Batch EM on the first points from several seeded starts; the best likelihood is kept."""
    fits = [_seeded(points, k, rng, floor, diagonal=diagonal) for _ in range(starts)]
    short = [_climb(points, fit, floor, SHORT_ROUNDS) for fit in fits]
    short.sort(key=lambda fit: -fit[0])
    long = [_climb(points, fit, floor, ROUNDS) for _, fit in short[:LONG_RUNS]]
    best = max(long, key=lambda fit: fit[0])[1]
    return replace(best, steps=max(len(points) // batch, 1))


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
