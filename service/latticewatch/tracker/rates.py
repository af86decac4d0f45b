"""Rates of a process in continuous time, from the transition matrix between frames.

P = exp(Q t) for a generator Q. Its matrix logarithm is one only if it is real and has no negative
entries off the diagonal; what is estimated from finite counts often has small ones, which are set
to zero and taken from the diagonal (Israel, Rosenthal and Wei, Math. Finance 11, 245 (2001)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv

#: Relative size below which a number counts as none.
ROUNDING = 1e-9
#: Greatest standard error of the logarithm of an eigenvalue: beyond, it may as well be zero, the
#: process settles within a frame, and errors do not carry over linearly.
RESOLVED = 0.5
#: Standard errors by which a rate off the diagonal may be negative and still be called zero.
BELOW_ZERO = 2.0
#: Least events behind a rate's interval: Jeffreys' half, as for a process without any event.
LEAST_EVENTS = 0.5

TOO_FAST = "the states change too fast for this frame time"
NO_GENERATOR = "no process in continuous time has this matrix"


@dataclass(frozen=True)
class Generator:
    """Rates per frame with their variances.

    Attributes
    ----------
    rates
        (s, s), [from, to]; rows sum to zero.
    variance
        (s, s) of the entries, by the delta method.
    adjusted
        Negative rates were set to zero: no process in continuous time has exactly this matrix.
    """

    rates: np.ndarray
    variance: np.ndarray
    adjusted: bool


def generator(matrix: np.ndarray, covariance: np.ndarray) -> Generator | str:
    """Matrix logarithm of a transition matrix, or why there is none.

    Parameters
    ----------
    matrix
        (s, s) transition probabilities.
    covariance
        (s * s, s * s) of its entries, row by row.

    Notes
    -----
    The derivative of the logarithm is that of Daleckii and Krein (Higham, Functions of Matrices,
    SIAM 2008, section 3.2): in the eigenbasis a change is multiplied by the divided differences of
    the logarithm.
    """
    values, vectors = np.linalg.eig(matrix.astype(complex))
    if np.linalg.cond(vectors) > 1.0 / ROUNDING or np.abs(values).min() < ROUNDING:
        return TOO_FAST
    inverse = np.linalg.inv(vectors)
    own = np.einsum("ka,bk->kab", inverse, vectors).reshape(len(values), -1) / values[:, None]
    if np.sqrt(np.abs(own @ covariance @ own.conj().T).diagonal().max()) > RESOLVED:
        return TOO_FAST
    logs = np.log(values)
    rates = (vectors * logs) @ inverse
    if np.abs(rates.imag).max() > ROUNDING * np.abs(rates).max():
        return NO_GENERATOR
    gap = values[:, None] - values
    near = np.abs(gap) < ROUNDING
    divided = np.where(near, 1 / values, (logs[:, None] - logs) / np.where(near, 1, gap))
    # d rates[i, j] / d matrix[a, b], pairs (i, j) and (a, b) each run row by row.
    slope = np.einsum("ik,ka,kl,bl,lj->ijab", vectors, inverse, divided, vectors, inverse).real
    slope = slope.reshape(covariance.shape)
    variance = np.maximum((slope @ covariance * slope).sum(axis=1), 0.0).reshape(matrix.shape)
    across = np.where(np.eye(len(matrix), dtype=bool), 0.0, rates.real)
    if np.any(across < -BELOW_ZERO * np.sqrt(variance) - ROUNDING):
        return NO_GENERATOR
    kept = np.maximum(across, 0.0)
    adjusted = bool((across < -ROUNDING).any())
    return Generator(kept - np.diag(kept.sum(axis=1)), variance, adjusted)


def interval(
    rates: np.ndarray, variance: np.ndarray, credible: float
) -> tuple[np.ndarray, np.ndarray]:
    """Low and high of positive rates: the Gamma of their mean and variance.

    Where a rate is not above its own error it is as with no event seen: the Gamma has shape 1/2 and
    the same variance, and the interval begins at zero.
    """
    spread = np.maximum(variance, 1e-300)
    events = np.maximum(rates**2 / spread, LEAST_EVENTS)
    none = events <= LEAST_EVENTS
    scale = np.where(none, np.sqrt(spread / LEAST_EVENTS), spread / np.where(none, 1.0, rates))
    tail = (1.0 - credible) / 2.0
    low = np.where(none, 0.0, gammaincinv(events, tail) * scale)
    return low, gammaincinv(events, 1.0 - tail) * scale
