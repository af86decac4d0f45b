"""Is a class one or two? A two-component refit against one Gaussian, by BIC.

Both components share their covariance, so that only what stands apart counts, not tails or skewed
shapes. The maximum likelihood fit is then found on a line: in coordinates where the class has
unit covariance, the shared covariance is I - p q delta delta^T (p, q the shares, delta the distance
of the means), which differs from I along delta alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

#: Rounds of EM from each start, and more of them from the better one.
TRIAL_ROUNDS, ROUNDS = 4, 12
#: Least variance along delta, in units of the class's own: a separation of up to 20.
LEAST_WITHIN = 0.01
#: Where a start cuts the class towards the longer tail, in standard deviations, for a small part.
TAIL = 1.2
#: Least standard deviation along an axis that is tried, where 1 is the class's or the floor's.
NARROW = 0.5
#: Axes that are tried.
FLATTEST, MOST_SKEWED = 3, 2


@dataclass(frozen=True)
class Division:
    """The best two parts of a class.

    Attributes
    ----------
    gain
        BIC of one component less that of two, halved: nats in favour of two.
    separation
        Distance of the means over the common standard deviation along it.
    share
        Of the smaller part, the second of `means`.
    looks
        Independent looks that the smaller part rests on.
    means, within
        (2, d), larger part first, and (d, d).
    """

    gain: float
    separation: float
    share: float
    looks: float
    means: np.ndarray
    within: np.ndarray


def look_weights(site: np.ndarray, repeat: float) -> np.ndarray:
    """Weight (n,) of each look, given the sites (n,) and what share of an error stays with a site.

    Looks at one site repeat its own error: m of them are worth m / (1 + (m - 1) repeat).
    """
    _, inverse, count = np.unique(site, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / (1.0 + (count[inverse] - 1) * repeat))


@dataclass(frozen=True)
class _Fit:
    gain: float
    share: float
    delta: np.ndarray
    within: float
    r: np.ndarray


def _climb(y: np.ndarray, weight: np.ndarray, r: np.ndarray, rounds: int) -> _Fit:
    """EM from responsibilities r (n,) of the second part; the gain in nats over one normal."""
    total = weight.sum()
    weighted = weight[:, None] * y
    for _ in range(rounds):
        share = min(max(float(weight @ r) / total, 1e-3), 1 - 1e-3)
        # The mean of all is 0, so the second part's mean tells the first's.
        delta = r @ weighted / (total * share * (1 - share))
        distance = math.sqrt(float(delta @ delta)) + 1e-12
        within = max(1.0 - share * (1 - share) * distance**2, LEAST_WITHIN)
        # Log odds of the second part are linear along delta, since the variance is common.
        t = y @ (delta / distance)
        middle = (0.5 - share) * distance
        odds = (t - middle) * (distance / within) + math.log(share / (1 - share))
        r = expit(odds)
    first = t + share * distance
    gain = math.log(1 - share) - 0.5 * (first**2 / within + math.log(within) - t**2)
    return _Fit(float(weight @ (gain + np.logaddexp(0.0, odds))), share, delta, within, r)


def _starts(y: np.ndarray, weight: np.ndarray) -> list[np.ndarray]:
    """Ways (n,) to cut a class in two: along the flattest and the most skewed of some axes.

    The axes are the principal ones and the eigenvectors of the whitened data's fourth-moment
    matrix, among which Fisher's discriminant direction of two normal classes lies (Tyler,
    Critchley, Duembgen and Oja, J. R. Stat. Soc. B 71, 549 (2009)). Halves make a flat
    distribution (small fourth moment), a small part a skewed one.
    """
    n, length = weight.sum(), (y**2).sum(axis=1)
    _, axes = np.linalg.eigh((y * (weight * length)[:, None]).T @ y / n)
    lines = np.hstack([y, y @ axes])
    deviation = np.sqrt(weight @ lines**2 / n)
    # Along an axis of less than the least variance nothing can be told apart.
    wide = deviation > NARROW
    lines = lines[:, wide] / deviation[wide]
    square = lines * lines
    cubes, fourths = weight @ (square * lines), weight @ (square * square)
    flat, skewed = np.argsort(fourths)[:FLATTEST], np.argsort(-np.abs(cubes))[:MOST_SKEWED]
    tails = lines[:, skewed] * np.where(cubes[skewed] >= 0, 1.0, -1.0)
    return [*(lines[:, flat] > 0.0).T.astype(float), *(tails > TAIL).T.astype(float)]


def divide(points: np.ndarray, site: np.ndarray, repeat: float, floor: float) -> Division:
    """Fit two parts to a class's descriptors (n, d), seen on sites (n,).

    `repeat` is the share of an error that stays with its site, `floor` the least variance.
    """
    weight = look_weights(site, repeat)
    n, d = float(weight.sum()), points.shape[1]
    mean = weight @ points / n
    centred = points - mean
    values, vectors = np.linalg.eigh((centred * weight[:, None]).T @ centred / n)
    root = np.sqrt(np.maximum(values, floor))
    y = centred @ vectors / root
    starts = _starts(y, weight) or [np.full(len(y), 0.5)]
    fits = [_climb(y, weight, start, TRIAL_ROUNDS) for start in starts]
    fit = _climb(y, weight, max(fits, key=lambda f: f.gain).r, ROUNDS)
    swapped = fit.share > 0.5
    share, delta = (1 - fit.share, -fit.delta) if swapped else (fit.share, fit.delta)
    distance = float(np.sqrt(delta @ delta)) + 1e-12
    scaled = (delta * root) @ vectors.T
    along = (1 - fit.within) / distance**2
    inner = (vectors * root**2) @ vectors.T - along * np.outer(scaled, scaled)
    return Division(
        gain=fit.gain - 0.5 * (d + 1) * float(np.log(max(n, 2.0))),
        separation=distance / float(np.sqrt(fit.within)),
        share=share,
        looks=share * n,
        means=np.stack([mean - share * scaled, mean + (1 - share) * scaled]),
        within=inner,
    )
