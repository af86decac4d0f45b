"""Where the mixture starts: batch EM on the first descriptors, from starts that see every kind.

K classes for more kinds of defects have many optima, and K seeds often find poor ones: what they
miss no step of EM brings back. So every other start fits several times as many classes, which find
every kind, and then makes two into one until K are left, each time the two whose sum is most like a
single normal class (Runnalls, IEEE Trans. Aerosp. Electron. Syst. 43, 989 (2007)).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .mixture import Mixture, merged, read_parameters, spectral
from .moments import Moments, products

#: Classes of a start for each that is wanted, as far as there are so many points for each; measured
#: with 2, 3 and 4 (docs/tracker/classes.md).
SURPLUS, LEAST_POINTS = 4, 20
#: Rounds and tolerance (nats per point) of the warm fit.
ROUNDS = 200
TOLERANCE = 1e-6
#: Short runs of EM decide which starts are worth a long one (Biernacki, Celeux and Govaert, Comput.
#: Stat. Data Anal. 41, 561 (2003)): rounds of a short run, and starts that go on.
SHORT_ROUNDS, LONG_RUNS = 15, 4


def warm_start(
    points: np.ndarray,
    k: int,
    rng: np.random.Generator,
    starts: int,
    floor: float,
    *,
    diagonal: bool = False,
) -> Mixture:
    """Batch EM on the first points (n, d) from several starts; the best likelihood is kept.

    Half of the starts have more classes at first, as many as there are points for.
    """
    many = max(k, min(SURPLUS * k, len(points) // LEAST_POINTS))
    table, short = products(points), []
    for start in range(starts):
        fit = _seeded(points, table, k if start % 2 else many, rng, floor, diagonal=diagonal)
        if len(fit) > k:
            fit = reduced(climb(table, fit, floor, SHORT_ROUNDS)[1], k, floor)
        short.append(climb(table, fit, floor, SHORT_ROUNDS))
    short.sort(key=lambda fit: -fit[0])
    long = [climb(table, fit, floor, ROUNDS) for _, fit in short[:LONG_RUNS]]
    return max(long, key=lambda fit: fit[0])[1]


def climb(table: np.ndarray, fit: Mixture, floor: float, rounds: int) -> tuple[float, Mixture]:
    """Batch EM on products (m, n); mean log-likelihood before its last round, and the fit."""
    now = before = -np.inf
    for _ in range(rounds):
        r, density = fit.told(table)
        now = float(density.mean())
        if now - before < TOLERANCE:
            break
        before = now
        fit = _read(fit, Moments.of(table, r), floor)
    return now, fit


def reduced(mixture: Mixture, k: int, floor: float) -> Mixture:
    """Merge classes until `k` are left, each time the two that lose least by it.

    The loss is Runnalls' bound (2007, eq. 21) on the divergence of the whole from what it was,
    ``[(w_a + w_b) ln |P| - w_a ln |P_a| - w_b ln |P_b|] / 2``, P the covariance of both as one.
    """
    while len(mixture) > k:
        a, b = np.triu_indices(len(mixture), 1)
        weight, volume = mixture.weights, _log_volume(mixture.covariances)
        both = weight[a] + weight[b]
        part = (weight[a] / both)[:, None, None]
        gap = mixture.means[a] - mixture.means[b]
        between = part * (1 - part) * gap[:, :, None] * gap[:, None, :]
        if mixture.diagonal:
            between = between * np.eye(gap.shape[1])
        within = part * mixture.covariances[a] + (1 - part) * mixture.covariances[b]
        loss = both * _log_volume(within + between) - weight[a] * volume[a] - weight[b] * volume[b]
        least = int(loss.argmin())
        mixture = merged(mixture, int(a[least]), int(b[least]), floor)
    return mixture


def _log_volume(covariances: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.slogdet(covariances)[1])


def _read(fit: Mixture, moments: Moments, floor: float) -> Mixture:
    return read_parameters(replace(fit, sums=moments.sums / moments.n), floor)


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
    points: np.ndarray,
    table: np.ndarray,
    k: int,
    rng: np.random.Generator,
    floor: float,
    *,
    diagonal: bool,
) -> Mixture:
    """Mixture whose classes are what lies nearest to each of k seeds, by points and products."""
    d = points.shape[1]
    seeds = _seeds(points, k, rng)
    owner = ((points[:, None, :] - seeds[None]) ** 2).sum(axis=2).argmin(axis=1)
    whole = np.cov(points.T, bias=True).reshape(d, d) + floor * np.eye(d)
    variances, axes = spectral(np.tile(whole, (k, 1, 1)), floor, diagonal=diagonal)
    moments = Moments.of(table, np.eye(k)[:, owner])
    blank = Mixture(np.full(k, 1 / k), seeds, variances, axes, moments.sums, diagonal=diagonal)
    return _read(blank, moments, floor)
