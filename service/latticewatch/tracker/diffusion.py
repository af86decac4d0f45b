"""Diffusion of vacancies from linked tracks: the covariance estimator, and the hop rate.

Vestergaard, Blainey and Flyvbjerg, Phys. Rev. E 89, 022726 (2014), eq. 14: with displacements d_n
of one coordinate over equal times dt,

    D = <d_n^2> / (2 dt) + <d_n d_(n+1)> / dt.

The second term cancels localisation noise, and flicker of a defect between sites, exactly in the
mean. Only sums are kept. A scan visits each point for microseconds of a frame of seconds, so there
is no motion blur (R = 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv

from . import intervals

#: Pairs of consecutive displacements below which no diffusion coefficient is given: the standard
#: error's own error is then 30 % and more.
LEAST_PAIRS = 20

#: The sums, in the order of `DiffusionSums.values`.
SUMS = (
    "steps", "step_time", "squares", "pairs", "pair_time", "products",
    "term", "term_squares", "lag_one", "lag_one_pairs", "lag_two", "lag_two_pairs",
    "hops", "risk_time",
)  # fmt: skip


@dataclass(frozen=True)
class DiffusionSums:
    """Sums over all displacements; lengths in lattice constants, times in seconds.

    ``squares`` and ``products`` are averages over the two axes of d_n^2 and d_n d_(n+1); ``term``
    is the estimator's term d_n^2 / 2 + d_(n-1) d_n, whose correlation at lags 0, 1 and 2 gives the
    standard error.
    """

    values: np.ndarray

    @classmethod
    def empty(cls) -> DiffusionSums:
        """Nothing seen."""
        return cls(np.zeros(len(SUMS)))

    def __getattr__(self, name: str) -> float:
        """Read one sum by its name."""
        if name in SUMS:
            return float(self.values[SUMS.index(name)])
        raise AttributeError(name)


@dataclass(frozen=True)
class LastSteps:
    """Last displacement and last two terms of each track.

    Attributes
    ----------
    step, known
        (n, 2) and bool (n,): the displacement that ended where the track was last seen.
    terms, terms_known
        (n, 2) and bool (n, 2): the terms of that displacement and of the one before it.
    """

    step: np.ndarray
    known: np.ndarray
    terms: np.ndarray
    terms_known: np.ndarray


def add_steps(
    sums: DiffusionSums, memory: LastSteps, step: np.ndarray, time: np.ndarray, hop: np.ndarray
) -> tuple[DiffusionSums, LastSteps]:
    """Fold one displacement of each of n tracks into the sums.

    Parameters
    ----------
    sums, memory
        What is known so far.
    step, time, hop
        (n, 2) displacement over exactly one frame, (n,) its duration, bool (n,) whether the site
        changed.
    """
    squares = (step**2).mean(axis=1)
    pair = memory.known
    product = np.where(pair, (memory.step * step).mean(axis=1), 0.0)
    term = squares / 2 + product
    one, two = memory.terms_known.T
    fresh = np.array(
        [
            len(step), time.sum(), squares.sum(), pair.sum(), time[pair].sum(), product.sum(),
            term.sum(), (term**2).sum(),
            (term * memory.terms[:, 0])[one].sum(), one.sum(),
            (term * memory.terms[:, 1])[two].sum(), two.sum(),
            hop.sum(), time.sum(),
        ]
    )  # fmt: skip
    terms = np.stack([term, memory.terms[:, 0]], axis=1)
    known = np.stack([np.ones(len(step), bool), memory.terms_known[:, 0]], axis=1)
    return DiffusionSums(sums.values + fresh), LastSteps(
        step, np.ones(len(step), bool), terms, known
    )


def estimate(sums: DiffusionSums) -> tuple[float, float, float]:
    """D, its standard error, and the squared localisation error.

    In lattice constants squared (a second). The standard error is the greater of two: Vestergaard
    et al.'s eq. 17 for Gaussian steps, and the terms' own spread with their correlation up to lag
    two, which rare hops on a lattice need (their kurtosis is far from a Gaussian's).
    """
    n = sums.pairs
    dt = sums.step_time / sums.steps
    covariance = sums.products / n
    coefficient = sums.squares / sums.steps / (2 * dt) + covariance / (sums.pair_time / n)
    noise = -covariance / dt
    d = max(coefficient, 0.0)
    gauss = ((6 * d**2 + 4 * d * noise + 2 * noise**2) / n + 4 * (d + noise) ** 2 / n**2) / 2
    mean = sums.term / sums.steps
    spread = sums.term_squares - sums.steps * mean**2
    spread += 2 * (sums.lag_one - sums.lag_one_pairs * mean**2)
    spread += 2 * (sums.lag_two - sums.lag_two_pairs * mean**2)
    observed = spread / sums.step_time**2
    return coefficient, float(np.sqrt(max(gauss, observed, 0.0))), -covariance


def _interval(value: float, error: float, credible: float) -> tuple[float, float]:
    """Interval of a coefficient that cannot be negative and comes from few hops.

    A Gamma with the estimate's mean and variance, plus the half count of Jeffreys' prior: for rare
    hops it is the Poisson interval of their number, for many it is normal. Where the estimate is
    not positive, the normal interval.
    """
    if value <= 0 or error <= 0:
        half = intervals.normal_factor(credible) * error
        return value - half, value + half
    count = (value / error) ** 2
    tail = (1 - credible) / 2
    low, high = gammaincinv(count + 0.5, np.array([tail, 1 - tail])) * value / count
    return float(low), float(high)


def summary(sums: DiffusionSums, constant_nm: float, credible: float) -> dict[str, object]:
    """JSON-able coefficient in nm^2/s, hop rate and coefficient by hops, each with its interval."""
    result: dict[str, object] = {
        "steps": int(sums.steps),
        "pairs": int(sums.pairs),
        "least_pairs": LEAST_PAIRS,
        "hops": int(sums.hops),
        "time_at_risk_s": sums.risk_time,
        "D_nm2_s": None,
        "hop_rate_per_s": None,
    }
    if sums.risk_time > 0:
        value, low, high = intervals.rate(sums.hops, sums.risk_time, credible)
        result["hop_rate_per_s"] = {"value": value, "low": low, "high": high}
    if sums.pairs >= LEAST_PAIRS and sums.step_time > 0:
        area = constant_nm**2
        value, error, noise = estimate(sums)
        if error == 0.0:  # nothing moved: the Poisson limit of no hop of one lattice constant
            low, high = (x / 4 for x in intervals.rate(0.0, sums.risk_time, credible)[1:])
        else:
            low, high = _interval(value, error, credible)
        result["D_nm2_s"] = {
            "value": value * area,
            "standard_error": error * area,
            "low": low * area,
            "high": high * area,
            "localisation_error_nm": float(np.sqrt(max(noise, 0.0))) * constant_nm,
        }
    return result
