"""The likelihood of a hidden Markov chain, from counts of words.

A product of conditional probabilities of a label given the `CONTEXT` frames before it, so that its
scores are uncorrelated, as those of the whole sequence are (a composite conditional likelihood;
Varin, Reid and Firth, Statist. Sinica 21, 5 (2011)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .emission import JEFFREYS, Emission, emission, slopes
from .words import ALPHABET, CONTEXT, LETTERS, WordCounts

#: Standard deviation of the prior on either part of the calibration: a factor e in a log odds.
CALIBRATION_PRIOR = 1.0


@dataclass(frozen=True)
class Point:
    """The log posterior at some parameters.

    Attributes
    ----------
    free
        (d,) or (d + 2,): off-diagonal logits of the matrix, row by row, the diagonal being the
        reference; then the calibration, if it is free.
    matrix, seen
        What they stand for.
    value
        Log posterior.
    gradient, information
        Its gradient, and the information expected given each label's context.
    """

    free: np.ndarray
    matrix: np.ndarray
    seen: Emission
    value: float
    gradient: np.ndarray
    information: np.ndarray


def matrix_of(free: np.ndarray, states: int) -> np.ndarray:
    """Transition matrix (s, s) of off-diagonal logits."""
    logits = np.zeros((states, states))
    logits[~np.eye(states, dtype=bool)] = free[: states * (states - 1)]
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def matrix_slope(matrix: np.ndarray) -> np.ndarray:
    """Return the derivative (d, s, s) of the matrix by its d off-diagonal logits."""
    start, end = np.nonzero(~np.eye(len(matrix), dtype=bool))
    slope = np.zeros((len(start), *matrix.shape))
    index = np.arange(len(start))
    chosen = matrix[start, end]
    slope[index, start] = -chosen[:, None] * matrix[start]
    slope[index, start, end] += chosen
    return slope


def prior_gradient(matrix: np.ndarray) -> np.ndarray:
    """Gradient (d,) of Jeffreys' prior on the log odds."""
    chosen = matrix[~np.eye(len(matrix), dtype=bool)]
    return np.asarray(JEFFREYS * (1.0 - len(matrix) * chosen))


@dataclass(frozen=True)
class _Level:
    """Contexts up to one of their letters: the shorter context that each continues, its letter.

    ``unknown`` marks those without any label yet.
    """

    stem: np.ndarray
    letter: np.ndarray
    unknown: np.ndarray


def _tree(contexts: np.ndarray) -> list[_Level]:
    """Build the tree of contexts, in ascending order, with no branch that was not seen."""
    levels, before = [], np.zeros(1, np.int64)
    for place in reversed(range(CONTEXT)):
        branch = np.unique(contexts // ALPHABET**place)
        stem = np.searchsorted(before, branch // ALPHABET)
        levels.append(_Level(stem, branch % ALPHABET, branch == 0))
        before = branch
    return levels


class Composite:
    """Log posterior of a transition matrix, and of the classifier's calibration, given the words.

    Parameters
    ----------
    counts
        At least one word.
    """

    def __init__(self, counts: WordCounts) -> None:
        rows = np.flatnonzero(counts.words.sum(axis=1))
        self._labels, self.seen = counts, emission(counts)
        self._tree, self._words = _tree(rows), counts.words[rows].astype(float)
        self.states = len(self.seen.population)
        self.logits = self.states * (self.states - 1)

    def at(self, free: np.ndarray) -> Point:
        """Evaluate; without a calibration among the parameters the classifier is believed."""
        matrix, calibration = matrix_of(free, self.states), free[self.logits :]
        seen = self.seen
        by_calibration = np.zeros((0, self.states)), np.zeros((0, LETTERS, self.states))
        if len(calibration):
            seen = emission(self._labels, calibration)
            by_calibration = slopes(self._labels, calibration, seen.population)
        slope = matrix_slope(matrix)
        told, scores = self._told(matrix, slope, seen, by_calibration)
        met = self._words > 0
        value = float(self._words[met] @ np.log(told[met])) + JEFFREYS * float(np.log(matrix).sum())
        weight = np.divide(self._words, told, out=np.zeros_like(told), where=met)
        gradient = scores.reshape(len(free), -1) @ weight.ravel()
        gradient[: self.logits] += prior_gradient(matrix)
        # Expected over the label given its context: steadier than the outer product of the scores
        # that were met, and exactly the multinomial's where labels are never wrong.
        share = np.sqrt(self._words.sum(axis=1, keepdims=True) / np.maximum(told, 1e-300))
        scaled = (scores * share).reshape(len(free), -1)
        information = scaled @ scaled.T
        information[: self.logits, : self.logits] += _prior(matrix)
        precision = CALIBRATION_PRIOR**-2
        value -= precision * float(calibration @ calibration) / 2
        gradient[self.logits :] -= precision * calibration
        information[self.logits :, self.logits :] += precision * np.eye(len(calibration))
        return Point(free, matrix, seen, value, gradient, information)

    def _told(
        self,
        matrix: np.ndarray,
        slope: np.ndarray,
        seen: Emission,
        by_calibration: tuple[np.ndarray, np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probability (n, LETTERS) of each label given its context; derivatives (d, n, LETTERS)."""
        d, (by_population, by_letter) = len(slope), by_calibration
        letter = np.vstack([np.ones(self.states), seen.letter])
        by_letter = np.pad(by_letter, ((0, 0), (1, 0), (0, 0)))
        joint, change = seen.population[None], np.zeros((d + len(by_letter), 1, self.states))
        change[d:] = by_population[:, None]
        for level in self._tree:
            before, weight = joint[level.stem], letter[level.letter]
            change = change[:, level.stem] * weight
            if len(by_letter):
                change[d:] += before * by_letter[:, level.letter]
            weighed = before * weight
            change = change @ matrix
            change[:d] += weighed @ slope
            joint = weighed @ matrix
            # Before its first label a word knows the population alone, whatever P would make of it.
            joint[level.unknown], change[:d, level.unknown] = seen.population, 0.0
            change[d:, level.unknown] = by_population[:, None]
        total = joint.sum(axis=1, keepdims=True)
        joint = joint / total
        change = change / total
        change -= joint * (change @ np.ones(self.states))[:, :, None]
        scores = change @ seen.letter.T
        if len(by_letter):
            scores[d:] += joint @ by_letter[:, 1:].transpose(0, 2, 1)
        return joint @ seen.letter.T, scores


def _prior(matrix: np.ndarray) -> np.ndarray:
    """Information (d, d) of Jeffreys' prior on the log odds."""
    start, end = np.nonzero(~np.eye(len(matrix), dtype=bool))
    p = matrix[start, end]
    same = start[:, None] == start[None]
    return np.asarray(len(matrix) * JEFFREYS * (np.diag(p) - same * np.outer(p, p)))
