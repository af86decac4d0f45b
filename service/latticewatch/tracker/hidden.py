"""Transition matrix of the true states behind labels that are often wrong.

A hidden Markov chain: the true state moves by a matrix P from frame to frame, each frame's label
depends on the true state alone. P is the maximum of the `composite` likelihood of the words under
Jeffreys' prior, found by Fisher scoring. How the labels err is the classifier's own word, unless
the data speak against it: then its calibration is estimated with P.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from .composite import Composite, Point, matrix_slope, prior_gradient
from .emission import CALIBRATED, Emission
from .words import ALPHABET, LETTERS, WordCounts

#: Rounds of scoring at most, and the squared step, in standard errors, at which they end: what is
#: left is about a hundredth of one. Three rounds do where labels are good, ten where the
#: calibration is estimated.
ROUNDS = 60
GAIN = 1e-4
#: Rounds after which the calibration is tested: enough where it is right; where it is wrong the
#: matrix may go on to its limits for long.
SETTLING = 5
#: Longest step of a log odds in one round.
LONGEST = 2.0
#: Least probability to start from.
LEAST_START = 0.01
#: Score statistic beyond which the classifier's calibration is not believed: chi-squared with two
#: degrees of freedom exceeds it once in a thousand.
DOUBT = 13.8


@dataclass(frozen=True)
class Hidden:
    """Transition matrix with the covariance of its entries.

    Attributes
    ----------
    matrix
        (s, s), [from, to], mode of the posterior of the log odds: without label errors the
        posterior mean of the Dirichlet.
    covariance
        (s * s, s * s) of the entries, row by row.
    emission
        Population and letters that belong to it.
    calibration
        (2,), see `emission`: zeros where the classifier was believed.
    converged
        False if the rounds did not suffice.
    """

    matrix: np.ndarray
    covariance: np.ndarray
    emission: Emission
    calibration: np.ndarray
    converged: bool

    @property
    def effective(self) -> np.ndarray:
        """Steps (s, s) without label errors that would tell an entry as well, prior included."""
        variance = np.diag(self.covariance).reshape(self.matrix.shape)
        return np.asarray(self.matrix * (1 - self.matrix) / np.maximum(variance, 1e-300))

    def interval(self, credible: float) -> tuple[np.ndarray, np.ndarray]:
        """Low and high (s, s): the Beta of the entry's mean and variance."""
        a, b = self.effective * self.matrix, self.effective * (1 - self.matrix)
        tail = (1.0 - credible) / 2.0
        return betaincinv(a, b, tail), betaincinv(a, b, 1.0 - tail)


def fit(counts: WordCounts) -> Hidden:
    """Find the transition matrix behind the words, of which there must be one."""
    problem = Composite(counts)
    n = problem.logits
    near, _ = _climb(problem, problem.at(_start(counts, problem)), rounds=1)
    settled, _ = _climb(problem, near, SETTLING)
    opened = problem.at(np.concatenate([settled.free, CALIBRATED]))
    if _score_statistic(opened, n) > DOUBT:
        # From where the misjudged labels have not yet pushed the matrix to its limits.
        settled = problem.at(np.concatenate([near.free, CALIBRATED]))
    point, converged = _climb(problem, settled, ROUNDS)
    slope = matrix_slope(point.matrix).reshape(n, -1)
    spread = np.linalg.inv(point.information)[:n, :n]
    calibration = point.free[n:] if len(point.free) > n else CALIBRATED
    return Hidden(point.matrix, slope.T @ spread @ slope, point.seen, calibration, converged)


def _score_statistic(point: Point, n: int) -> float:
    """Rao's statistic for what follows the first n parameters, those being at their maximum.

    Of the likelihood alone: where it cannot tell a calibration from another matrix, the prior of
    the matrix has a say in neither.
    """
    told = point.gradient[:n] - prior_gradient(point.matrix)
    known, inner = point.information[:n, :n], point.information[n:, :n]
    carried = np.linalg.solve(known, np.column_stack([told, inner.T]))
    score = point.gradient[n:] - inner @ carried[:, 0]
    return float(score @ np.linalg.solve(point.information[n:, n:] - inner @ carried[:, 1:], score))


def _climb(problem: Composite, point: Point, rounds: int) -> tuple[Point, bool]:
    """Score up to the maximum; whether it was reached."""
    for _ in range(rounds):
        step = np.linalg.solve(point.information, point.gradient)
        if point.gradient @ step < GAIN:
            return point, True
        # Each for itself: one that the data say nothing of must not hold up the others.
        step, length, following = np.clip(step, -LONGEST, LONGEST), 1.0, point
        while length > GAIN:
            following = problem.at(point.free + length * step)
            if following.value >= point.value:
                break
            length /= 2
        point = following
    return point, False


def _start(counts: WordCounts, problem: Composite) -> np.ndarray:
    """Logits (d,) to start from: the joint shares of successive labels, freed of the confusion.

    They have no bias either, but more scatter, and may lie outside what a matrix can be.
    """
    joint = counts.words.reshape(-1, ALPHABET, LETTERS).sum(axis=0)[1:]
    freed = np.linalg.pinv(problem.seen.letter)
    steps = freed @ joint @ freed.T
    share = steps / np.maximum(steps.sum(axis=1, keepdims=True), 1.0)
    logits = np.log(np.clip(share, LEAST_START, 1.0))
    return np.asarray((logits - np.diag(logits)[:, None])[~np.eye(len(logits), dtype=bool)])
