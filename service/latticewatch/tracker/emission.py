"""How labels err: shares of the states behind them, and of the letters given the state.

The classifier says only how likely each state makes what was seen, one label at a time, up to a
factor. How often each kind of label comes is in the data; both together give the confusion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .words import LETTER_OF_CELL, LETTERS, WordCounts

#: Counts that Jeffreys' prior adds to each cell of a multinomial.
JEFFREYS = 0.5
#: Least likelihood of a state, as a share: no label is taken to be surer of what it is not. Keeps
#: states that never came from being impossible.
LEAST_LIKELIHOOD = 1e-6
#: Leaps towards the population, and the change by a step of EM that ends them.
POPULATION_LEAPS = 100
POPULATION_CHANGE = 1e-9
#: The classifier's likelihoods taken as they are, and the step of differences about a calibration:
#: large against what the leaps leave, small against what changes the letters. Both are fine enough
#: that thousands of labels together do not feign a slope of one.
CALIBRATED = np.zeros(2)
DIFFERENCE = 0.005


@dataclass(frozen=True)
class Emission:
    """Share of each state among all labels (s,), and probability of a letter given it (LETTERS, s).

    Both are the non-parametric maximum of the likelihood.
    """

    population: np.ndarray
    letter: np.ndarray

    @property
    def confusion(self) -> np.ndarray:
        """Probability (s, s) of a label given the state, [state, label]."""
        s = len(self.population)
        joint = self.letter.reshape(s, 2, s).sum(axis=1).T
        return np.asarray(joint / joint.sum(axis=1, keepdims=True))

    @property
    def label_error(self) -> float:
        """Expected share of wrong labels."""
        return float(1.0 - self.population @ np.diag(self.confusion))


def emission(
    counts: WordCounts, calibration: np.ndarray = CALIBRATED, start: np.ndarray | None = None
) -> Emission:
    """Estimate the population and the letters given the state, from at least one label.

    A label's likelihood L_x over the states, known up to a factor, stands for an emission
    probability q L_x / sum_y pi_y L_y, with q how often its cell comes. That sums to one over the
    cells where the population pi has its maximum likelihood, and to less for states that never
    came, whose labels were not seen.

    Parameters
    ----------
    counts
        Labels and the evidence behind them.
    calibration
        (2,): logarithm of the power to which the likelihoods are raised, and what is added to the
        log likelihood of the states with a vacancy.
    start
        (s,) population to begin with; even by default.
    """
    used = np.flatnonzero(counts.cells)
    n = counts.cells[used].astype(float)
    likelihood = np.maximum(counts.evidence[used] / n[:, None], LEAST_LIKELIHOOD)
    states = likelihood.shape[1]
    power, vacant = np.exp(calibration[0]), calibration[1] * (np.arange(states) > 0)
    likelihood = likelihood**power * np.exp(vacant)
    population = np.full(states, 1.0 / states) if start is None else start
    population = _population(likelihood, n, population)
    share = n[:, None] * likelihood / (likelihood @ population)[:, None]
    letter = np.zeros((LETTERS, states))
    np.add.at(letter, LETTER_OF_CELL[used] - 1, share)
    return Emission(population, letter / n.sum())


def _population(likelihood: np.ndarray, n: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Shares (s,) of maximum posterior of cells' likelihoods (c, s) that came n times.

    Expectation and maximisation with the squared extrapolation of Varadhan and Roland (Scand. J.
    Statist. 35, 335 (2008)): where labels are 45 % wrong, plain steps would need hundreds.
    """

    def stepped(shares: np.ndarray) -> np.ndarray:
        total = n @ (likelihood * shares / (likelihood @ shares)[:, None]) + JEFFREYS
        return np.asarray(total / total.sum())

    shares = start
    for _ in range(POPULATION_LEAPS):
        once = stepped(shares)
        first = once - shares
        if np.abs(first).max() < POPULATION_CHANGE:
            return once
        second = stepped(once) - once - first
        ratio = float(np.linalg.norm(first)) / max(float(np.linalg.norm(second)), 1e-300)
        length = max(ratio, 1.0)
        leap = shares + 2 * length * first + length**2 * second
        # A leap out of the simplex is not taken.
        shares = stepped(leap if leap.min() > 0 else once)
    return shares


def slopes(
    counts: WordCounts, calibration: np.ndarray, population: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivatives of population (2, s) and letters (2, LETTERS, s)."""
    by_population, by_letter = [], []
    for change in DIFFERENCE * np.eye(len(calibration)):
        up = emission(counts, calibration + change, population)
        down = emission(counts, calibration - change, population)
        by_population.append((up.population - down.population) / (2 * DIFFERENCE))
        by_letter.append((up.letter - down.letter) / (2 * DIFFERENCE))
    return np.array(by_population), np.array(by_letter)
