"""A Gaussian mixture that learns online by stepwise EM, and whose class numbers never swap.

Cappe and Moulines, J. R. Stat. Soc. B 71, 593 (2009): after each batch the averaged sufficient
statistics move by s <- (1 - eta_k) s + eta_k s_batch, eta_k = (k + 2)^-alpha, and the parameters
are read from s. One step costs the same however long the session is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

#: A class with a smaller share than this has too few points to move its mean or covariance.
LEAST_SHARE = 1e-4
#: Rounds and tolerance (nats per point) of the warm fit.
ROUNDS = 200
TOLERANCE = 1e-6


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
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    s0: np.ndarray
    s1: np.ndarray
    s2: np.ndarray
    steps: int = 0

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
        weights = np.exp(joint - top)
        total = weights.sum(axis=1, keepdims=True)
        return weights / total, (top + np.log(total))[:, 0]


def moments(points: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Averages of r, r x and r x x^T over points (n, d) with responsibilities (n, K)."""
    n = len(points)
    s2 = (r.T[:, None, :] * points.T[None]) @ points / n
    return r.mean(axis=0), r.T @ points / n, s2


def _parameters(mixture: Mixture, floor: float) -> Mixture:
    """Read weights, means and covariances from the statistics."""
    known = mixture.s0 > LEAST_SHARE
    safe = np.where(known, mixture.s0, 1.0)
    means = np.where(known[:, None], mixture.s1 / safe[:, None], mixture.means)
    outer = means[:, :, None] * means[:, None, :]
    covariances = mixture.s2 / safe[:, None, None] - outer
    values, vectors = np.linalg.eigh((covariances + covariances.transpose(0, 2, 1)) / 2)
    covariances = np.einsum("kij,kj,klj->kil", vectors, np.maximum(values, floor), vectors)
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
    return _parameters(moved, floor)


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


def _one_start(
    points: np.ndarray, k: int, rng: np.random.Generator, floor: float
) -> tuple[float, Mixture]:
    """Batch EM from one seeding; mean log-likelihood and the fit."""
    d = points.shape[1]
    seeds = _seeds(points, k, rng)
    owner = ((points[:, None, :] - seeds[None]) ** 2).sum(axis=2).argmin(axis=1)
    blank = Mixture(
        np.full(k, 1 / k),
        seeds,
        np.tile(np.cov(points.T, bias=True).reshape(d, d) + floor * np.eye(d), (k, 1, 1)),
        *moments(points, np.eye(k)[owner]),
    )
    fit, before = _parameters(blank, floor), -np.inf
    for _ in range(ROUNDS):
        r, density = fit.responsibilities(points)
        now = float(density.mean())
        if now - before < TOLERANCE:
            break
        before = now
        s0, s1, s2 = moments(points, r)
        fit = _parameters(replace(fit, s0=s0, s1=s1, s2=s2), floor)
    return now, fit


def warm_start(
    points: np.ndarray, k: int, rng: np.random.Generator, starts: int, floor: float, batch: int
) -> Mixture:
    """Batch EM on the first points from several seeded starts; the best likelihood is kept."""
    fits = [_one_start(points, k, rng, floor) for _ in range(starts)]
    best = max(fits, key=lambda fit: fit[0])[1]
    return replace(best, steps=max(len(points) // batch, 1))


def reordered(mixture: Mixture, order: np.ndarray) -> Mixture:
    """Return the same mixture with its classes renumbered; done once, after the warm start."""
    names = ("weights", "means", "covariances", "s0", "s1", "s2")
    return replace(mixture, **{name: getattr(mixture, name)[order] for name in names})
