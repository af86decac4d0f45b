"""Credible intervals with Jeffreys priors: shares, transition rows, rates, time means."""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv, gammaincinv, ndtri


def share(successes: np.ndarray, trials: np.ndarray, credible: float) -> tuple[np.ndarray, ...]:
    """Mean, low and high of a binomial share under the prior Beta(1/2, 1/2)."""
    return dirichlet(np.stack([successes, np.asarray(trials) - successes], -1), credible, 0)


def dirichlet(
    counts: np.ndarray, credible: float, column: int | None = None
) -> tuple[np.ndarray, ...]:
    """Posterior mean, low and high of multinomial shares (last axis) under Jeffreys' prior.

    A Dirichlet with 1/2 added to each count; each share's marginal is Beta(a, A - a) with A the sum
    over the row. Without counts the interval spans nearly [0, 1]: nothing is known.
    """
    alpha = np.asarray(counts, float) + 0.5
    total = alpha.sum(axis=-1, keepdims=True)
    if column is not None:
        alpha, total = alpha[..., column], total[..., 0]
    rest = np.maximum(total - alpha, 1e-9)
    tail = (1.0 - credible) / 2.0
    low = betaincinv(alpha, rest, tail)
    high = betaincinv(alpha, rest, 1.0 - tail)
    return alpha / total, low, high


def rate(events: float, exposure: float, credible: float) -> tuple[float, float, float]:
    """Rate, low and high of a Poisson process under Jeffreys' prior, Gamma(events + 1/2).

    The rate given is the plain events / exposure; the interval is the posterior's. `exposure` must
    be positive.
    """
    tail = (1.0 - credible) / 2.0
    low, high = gammaincinv(events + 0.5, np.array([tail, 1.0 - tail])) / exposure
    return events / exposure, float(low), float(high)


def normal_factor(credible: float) -> float:
    """Half width of a normal interval in standard errors, 1.96 for 95 %."""
    return float(ndtri(0.5 + credible / 2.0))


def time_mean(
    n: float, total: np.ndarray, squares: np.ndarray, products: np.ndarray, credible: float
) -> tuple[np.ndarray, ...]:
    """Mean of a series over time with an interval that allows for its correlation in time.

    Parameters
    ----------
    n
        Values in the series.
    total, squares, products
        Sums of x, x^2 and x(t) x(t-1).
    credible
        Probability inside the interval.

    Returns
    -------
    mean, low, high
        The variance of the mean is that of an AR(1) series, s^2 / n (1 + r) / (1 - r), r the lag-1
        correlation clipped to [0, 0.98]. A trend (r near 1) makes it wide, as it must be.
    """
    mean = total / n
    if n < 2:
        blank = np.full_like(mean, np.nan)
        return mean, blank, blank
    spread = np.maximum(squares / n - mean**2, 0.0)
    along = products / (n - 1) - mean**2
    r = np.clip(np.divide(along, spread, out=np.zeros_like(spread), where=spread > 0), 0.0, 0.98)
    error = np.sqrt(spread / (n - 1) * (1 + r) / (1 - r)) * normal_factor(credible)
    return mean, mean - error, mean + error
