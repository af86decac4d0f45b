"""What earlier frames say of a site: filters over a defect's species and a dopant's state.

One frame tells a vacancy at little more than one standard deviation, but a defect stays for many
frames. The belief that a site's open track carries, spread by the chance of a change since, is the
prior of the next frame's measurement: the forward pass of a hidden Markov model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .anchor import site_keys
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


def recall(tracks: TrackArray, cells: np.ndarray, sublattice: np.ndarray, frame: int) -> Recall:
    """Look up which open track was last seen on each site; of several, the latest."""
    none = np.full(len(sublattice), -1)
    if not len(tracks) or not len(sublattice):
        return Recall(none, np.ones(len(sublattice), np.int64))
    order = np.argsort(tracks["last_frame"], kind="stable")
    keys = site_keys(tracks["cell"], tracks["sublattice"])[order]
    by_key = np.argsort(keys, kind="stable")
    wanted = site_keys(cells, sublattice)
    place = np.searchsorted(keys[by_key], wanted, side="right") - 1
    found = (place >= 0) & (keys[by_key][place] == wanted)
    index = np.where(found, order[by_key[place]], -1)
    elapsed = np.where(found, frame - tracks["last_frame"][index], 1)
    return Recall(index, elapsed)


def evidence_weight(known: Recall, tracks: TrackArray, change: float, repeat: float) -> np.ndarray:
    """Power (n,) to which a frame's likelihood counts, given what the track has seen before.

    A share `repeat` of a column's error variance is fixed to the site (contamination, probe tails)
    and does not average out: n frames are worth n / (1 + (n - 1) repeat) independent ones. The
    weight is the n-th frame's increment of that, but no less than the mean over the filter's
    memory of 1 / `change` frames, so that a change is still noticed late in a track's life.
    """
    n = np.ones(len(known.track))
    if len(tracks):
        n += np.where(known.track >= 0, tracks["seen"][known.track], 0)
    gain = (1 - repeat) / ((1 + (n - 1) * repeat) * (1 + np.maximum(n - 2, 0) * repeat))
    least = 1.0 / (1.0 + (1.0 / change - 1.0) * repeat)
    return np.where(n == 1, 1.0, np.maximum(gain, least))


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
    n = len(soft)
    start = np.full((n, n), change / max(n - 1, 1))
    np.fill_diagonal(start, 1.0 - change)
    total = soft + STATE_PRIOR_FRAMES * start
    return np.asarray(total / total.sum(axis=1, keepdims=True))


def state_prior(
    known: Recall, tracks: TrackArray, fresh: np.ndarray, matrix: np.ndarray
) -> np.ndarray:
    """Prior (n, s) over dopant states: the track's belief moved on by its transition matrix."""
    prior = np.tile(fresh, (len(known.track), 1))
    here = known.track >= 0
    past = tracks["state_belief"][known.track[here]].astype(float)
    moved = np.empty_like(past)
    waited = known.elapsed[here]
    for elapsed in np.flatnonzero(np.bincount(waited)).tolist():
        chosen = waited == elapsed
        moved[chosen] = past[chosen] @ np.linalg.matrix_power(matrix, elapsed)
    prior[here] = np.where(past.sum(axis=1, keepdims=True) > 0, moved, fresh)
    return prior


def inferred_steps(
    known: Recall, tracks: TrackArray, likelihood: np.ndarray, matrix: np.ndarray
) -> np.ndarray:
    """Add up (s, s) the probabilities of steps over exactly one frame, given the filter."""
    use = (known.track >= 0) & (known.elapsed == 1)
    past = tracks["state_belief"][known.track[use]].astype(float)
    joint = past[:, :, None] * matrix[None] * likelihood[use][:, None, :]
    total = joint.sum(axis=(1, 2), keepdims=True)
    return np.asarray((joint / np.where(total > 0, total, 1.0)).sum(axis=0))
