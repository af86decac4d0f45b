"""What earlier frames say of a site: filters over a defect's species and a dopant's state.

One frame tells a vacancy at little more than one standard deviation, but a defect stays for many
frames. The belief that a site's open track carries, spread by the chance of a change since, is the
prior of the next frame's measurement: the forward pass of a hidden Markov model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .tracks import TrackArray

#: Pseudo-frames behind the state filter's starting matrix, per state.
STATE_PRIOR_FRAMES = 20.0


@dataclass(frozen=True)
class Recall:
    """Open track on the site of each of n defects (-1: none), and frames since it was seen."""

    track: np.ndarray
    elapsed: np.ndarray

    def take(self, index: np.ndarray) -> Recall:
        """Return the chosen defects."""
        return Recall(self.track[index], self.elapsed[index])


@dataclass(frozen=True)
class Past:
    """What earlier frames hand to this one.

    Open tracks, which of them was last seen on the site of each detection, and the state filter's
    inferred steps.
    """

    tracks: TrackArray
    known: Recall
    soft_steps: np.ndarray


def recall(tracks: TrackArray, row: np.ndarray, n: int, frame: int) -> Recall:
    """Tell which open track was last seen on the site of each of n defects; of several, the latest.

    `row` is the defect on each track's site, -1 where there is none.
    """
    track, elapsed = np.full(n, -1), np.ones(n, np.int64)
    here = (row >= 0).nonzero()[0]
    last = tracks["last_frame"][here]
    # what is written last stays
    late = np.argsort(last, kind="stable")
    here = here[late]
    row = row[here].astype(np.intp)
    track[row], elapsed[row] = here, frame - last[late]
    return Recall(track, elapsed)


def evidence_weight(known: Recall, tracks: TrackArray, change: float, repeat: float) -> np.ndarray:
    """Power (n,) to which a frame's likelihood counts, given what the track has seen before.

    A share `repeat` of a column's error variance is fixed to the site (contamination, probe tails)
    and does not average out: n frames are worth n / (1 + (n - 1) repeat) independent ones. The
    weight is the n-th frame's increment of that, but no less than the mean over the filter's
    memory of 1 / `change` frames, so that a change is still noticed late in a track's life.
    """
    if not len(tracks):
        return np.ones(len(known.track))
    before = np.where(known.track >= 0, tracks["seen"][known.track], 0)
    return np.asarray(_gains(change, repeat).take(before, mode="clip"))


@lru_cache(maxsize=16)
def _gains(change: float, repeat: float) -> np.ndarray:
    """Weight of a frame after 0, 1, ... others; what comes after the last weighs as much as it.

    Increments fall, so that after `1 / change` frames none is above the mean over these.
    """
    memory = 1.0 / change
    fixed = 1.0 + np.arange(math.ceil(memory) + 1) * repeat
    gain = np.maximum(
        (1.0 - repeat) / (fixed * (fixed - repeat)), 1.0 / (1.0 + (memory - 1.0) * repeat)
    )
    gain[0] = 1.0
    return gain


def species_prior(
    known: Recall, tracks: TrackArray, fresh: np.ndarray, change: float
) -> np.ndarray:
    """Prior (n, entries) over readings: the track's belief, mixed with what a new defect may be.

    `change` is the chance of a change per frame; `fresh` (n, entries) the prior without memory.
    """
    here = known.track >= 0
    if not len(tracks):
        return fresh
    kept = np.where(here, (1.0 - change) ** known.elapsed, 0.0)
    # Entry by entry in memory, as `fresh` is.
    past = tracks["belief"][known.track, : fresh.shape[1]].T
    prior = np.subtract(past, fresh.T, order="C")
    prior *= kept
    prior += fresh.T
    return np.asarray(prior.T)


def state_matrix(soft: np.ndarray, change: float) -> np.ndarray:
    """Transition matrix of the state filter: what it has inferred so far, on a stated start.

    The start is a chance `change` per frame, spread evenly over the other states, with the weight
    of `STATE_PRIOR_FRAMES` frames; `soft` (s, s) the sums of inferred steps.
    """
    total = soft + _start(len(soft), change)
    return np.asarray(total / total.sum(axis=1, keepdims=True))


@lru_cache(maxsize=16)
def _start(states: int, change: float) -> np.ndarray:
    """Pseudo-counts (s, s) that the state filter begins with."""
    start = np.full((states, states), change / max(states - 1, 1))
    np.fill_diagonal(start, 1.0 - change)
    return STATE_PRIOR_FRAMES * start


def state_posterior(
    known: Recall,
    tracks: TrackArray,
    fresh: np.ndarray,
    matrix: np.ndarray,
    likelihood: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Filter n dopants' states: the track's belief moved on by its transition matrix, and weighed.

    Parameters
    ----------
    known, tracks
        Which open track each dopant continues, and the open tracks.
    fresh
        (s,) prior where nothing is known.
    matrix
        (s, s) chances of a transition per frame.
    likelihood
        (n, s) of this frame.

    Returns
    -------
    posterior, steps
        (n, s), and the sum (s, s) of the probabilities of steps over exactly one frame.
    """
    # State by state in memory: dopants are many, states are few.
    now, waited = likelihood.T, known.elapsed
    past = np.zeros(now.shape)
    if len(tracks):
        np.multiply(tracks["state_belief"].take(known.track, axis=0).T, known.track >= 0, out=past)
    moved = matrix.T @ past
    for elapsed in set(waited[waited > 1].tolist()):
        chosen = (waited == elapsed).nonzero()[0]
        moved[:, chosen] = np.linalg.matrix_power(matrix, elapsed).T @ past[:, chosen]
    # a step's probability is past * matrix * likelihood / total
    joint = moved * now
    total = joint.sum(axis=0)
    weight = (waited == 1) / np.where(total > 0, total, np.inf)
    steps = matrix * ((past * weight) @ now.T)
    posterior = np.where(past.any(axis=0), joint, fresh[:, None] * now)
    posterior /= posterior.sum(axis=0)
    return posterior.T, steps
