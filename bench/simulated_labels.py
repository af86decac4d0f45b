"""Movies of dopant states with a known transition matrix, as labels that are sometimes wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm

from latticewatch.detections import FrameInfo
from latticewatch.tracker.counting import count_states
from latticewatch.tracker.tracks import STATES, new_tracks
from latticewatch.tracker.transitions import TransitionCounts
from latticewatch.tracker.words import WordCounts, count_words

#: Rates a frame of "rates": an ordinary process in continuous time, one of its rates zero.
RATES = np.array(
    [[-0.1, 0.05, 0.03, 0.02], [0.2, -0.3, 0.05, 0.05],
     [0.15, 0.05, -0.25, 0.05], [0.3, 0, 0.1, -0.4]]
)  # fmt: skip
#: Transition matrices, [from, to]. The last is the one published by Maksov et al. (2019).
MATRICES = {
    "sticky 0.9": np.full((4, 4), 0.1 / 3) + (0.9 - 0.1 / 3) * np.eye(4),
    "uneven": np.array(
        [[0.94, 0.02, 0.03, 0.01], [0.1, 0.8, 0.05, 0.05],
         [0.08, 0.1, 0.72, 0.1], [0.15, 0.1, 0.05, 0.7]]
    ),
    "rates": expm(RATES),
    "fast 0.4": np.full((4, 4), 0.2) + 0.2 * np.eye(4),
    "published": np.array(
        [[0.108, 0.319, 0.265, 0.308], [0.122, 0.181, 0.356, 0.340],
         [0.183, 0.234, 0.265, 0.318], [0.168, 0.205, 0.282, 0.345]]
    ),
}  # fmt: skip
MATRICES = {name: m / m.sum(axis=1, keepdims=True) for name, m in MATRICES.items()}


@dataclass(frozen=True)
class Movie:
    """How much is seen, and how well: dopants, frames, share of wrong labels and of missed ones.

    ``error`` None stands for measurements with Gaussian noise instead, ``separation`` standard
    deviations between a vacant neighbour and one that is not. The classifier takes its likelihoods
    to the power ``power`` and the log odds of a vacancy higher by ``vacant`` than they are.
    """

    dopants: int = 30
    frames: int = 200
    error: float | None = 0.1
    missed: float = 0.05
    separation: float = 2.5
    power: float = 1.0
    vacant: float = 0.0

    @property
    def name(self) -> str:
        """Say it in a line of a table."""
        wrong = (
            f"{self.error:.0%} wrong" if self.error is not None else f"{self.separation} sd apart"
        )
        misjudged = "" if (self.power, self.vacant) == (1.0, 0.0) else ", misjudged"
        return f"{self.dopants} x {self.frames}, {wrong}, {self.missed:.0%} missed{misjudged}"


def stationary(matrix: np.ndarray) -> np.ndarray:
    """Return the population (s,) that the matrix keeps."""
    values, vectors = np.linalg.eig(matrix.T)
    chosen = np.abs(vectors[:, np.argmax(values.real)].real)
    return np.asarray(chosen / chosen.sum())


def states_of(matrix: np.ndarray, movie: Movie, rng: np.random.Generator) -> np.ndarray:
    """Draw true states (dopants, frames)."""
    states = np.zeros((movie.dopants, movie.frames), int)
    bounds = matrix.cumsum(axis=1)[:, :-1]
    states[:, 0] = rng.choice(len(matrix), movie.dopants, p=stationary(matrix))
    for t in range(1, movie.frames):
        draw = rng.random(movie.dopants)[:, None]
        states[:, t] = (draw > bounds[states[:, t - 1]]).sum(axis=1)
    return states


def confusion(error: float) -> np.ndarray:
    """Probability (s, s) of a label given the state, wrong ones equally likely."""
    share = error / (STATES - 1)
    return np.full((STATES, STATES), share) + (1.0 - error - share) * np.eye(STATES)


def likelihoods(states: np.ndarray, movie: Movie, rng: np.random.Generator) -> np.ndarray:
    """Single-frame likelihoods (dopants, frames, s), zeros where missed."""
    if movie.error is not None:
        told = confusion(movie.error)
        draw = rng.random(states.shape)[..., None]
        labels = (draw > told.cumsum(axis=1)[states][..., :-1]).sum(axis=-1)
        single = told.T[labels]
    else:
        seen = rng.standard_normal((*states.shape, STATES - 1))
        seen += movie.separation * np.eye(STATES)[states][..., 1:]
        logs = movie.separation * (seen - movie.separation / 2)
        logs = np.concatenate([np.zeros((*states.shape, 1)), logs], axis=-1)
        single = np.exp(logs - logs.max(axis=-1, keepdims=True))
    told = single**movie.power * np.exp(movie.vacant * (np.arange(STATES) > 0))
    return np.where(rng.random(states.shape)[..., None] < movie.missed, 0.0, told)


def labels_of(single: np.ndarray) -> np.ndarray:
    """Labels (dopants, frames), -1 where missed."""
    return np.where(single.sum(axis=-1) > 0, single.argmax(axis=-1), -1)


def words_of(single: np.ndarray, frame_s: float = 1.0, dose: float | None = None) -> WordCounts:
    """Count the words frame by frame, as the tracker does."""
    tracks, counts = new_tracks(np.arange(len(single))), WordCounts.empty(STATES)
    for t in range(single.shape[1]):
        info = FrameInfo(t, t * frame_s, (1, 1), None, frame_s, dose)
        counts = count_words(counts, tracks, single[:, t], info)
    return counts


def plain_of(labels: np.ndarray, lags: int = 4) -> TransitionCounts:
    """Count the labels' own steps frame by frame, as the tracker does."""
    tracks, counts = new_tracks(np.arange(len(labels))), TransitionCounts.empty(STATES, lags)
    for t in range(labels.shape[1]):
        counts = count_states(counts, tracks, labels[:, t], t)
    return counts


def original_of(labels: np.ndarray) -> np.ndarray:
    """Matrix as the original work has it.

    Missed frames left out as if they had not been, each dopant's matrix normalised by rows, the
    mean of those over the dopants that were ever in the row's state.
    """
    total, traces = np.zeros((STATES, STATES)), np.zeros((STATES, 1))
    for path in labels:
        seen = path[path >= 0]
        counts = np.zeros((STATES, STATES))
        np.add.at(counts, (seen[:-1], seen[1:]), 1)
        rows = counts.sum(axis=1, keepdims=True)
        total += counts / np.maximum(rows, 1)
        traces += rows > 0
    return np.asarray(total / np.maximum(traces, 1))
