"""Transition counts by lag, their probabilities, and dwell times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import intervals


@dataclass(frozen=True)
class TransitionCounts:
    """Integer counts of steps between states.

    A step joins two observations of one track with nothing observed between them; it is counted at
    the lag in frames that lies between them, so a missed detection or a missing frame makes a step
    of lag two, not of lag one.

    Attributes
    ----------
    counts
        int64 (lags, s, s): [lag - 1, from, to].
    dwells, dwell_frames
        int64 (s,): completed stays (entered and left at lag one while watched) and the frames they
        lasted in all.
    """

    counts: np.ndarray
    dwells: np.ndarray
    dwell_frames: np.ndarray

    @classmethod
    def empty(cls, states: int, lags: int) -> TransitionCounts:
        """No steps yet."""
        blank = np.zeros(states, np.int64)
        return cls(np.zeros((lags, states, states), np.int64), blank, blank)

    def add(self, before: np.ndarray, after: np.ndarray, lag: np.ndarray) -> TransitionCounts:
        """Count steps; those longer than the longest lag kept are left out."""
        lags, states = self.counts.shape[:2]
        short = (lag >= 1) & (lag <= lags)
        steps = ((lag - 1) * states + before) * states + after
        added = np.bincount(steps[short], minlength=self.counts.size)
        counts = self.counts + added.reshape(self.counts.shape)
        return TransitionCounts(counts, self.dwells, self.dwell_frames)

    def add_dwells(self, state: np.ndarray, frames: np.ndarray) -> TransitionCounts:
        """Count completed stays of that many frames."""
        if not len(state):
            return self
        dwells, lasted = self.dwells.copy(), self.dwell_frames.copy()
        np.add.at(dwells, state, 1)
        np.add.at(lasted, state, frames)
        return TransitionCounts(self.counts, dwells, lasted)


def summary(
    transitions: TransitionCounts, names: tuple[str, ...], credible: float
) -> dict[str, object]:
    """JSON-able counts, and lag-one probabilities with credible intervals.

    Rows have Jeffreys' Dirichlet prior; each probability's interval is its Beta marginal's. A row
    without counts has probability None: its interval is the prior's.
    """
    counts = transitions.counts
    lag_one = counts[0] if len(counts) else np.zeros((len(names), len(names)), np.int64)
    total = lag_one.sum(axis=1, keepdims=True)
    shape = lag_one.shape
    _, low, high = intervals.dirichlet(lag_one, credible) if len(names) else (0, lag_one, lag_one)
    share = lag_one / np.maximum(total, 1)
    return {
        "states": list(names),
        "lag_frames": list(range(1, len(counts) + 1)),
        "counts": counts.tolist(),
        "probabilities": [
            [float(share[i, j]) if total[i, 0] else None for j in range(shape[1])]
            for i in range(shape[0])
        ],
        "low": np.asarray(low, float).tolist(),
        "high": np.asarray(high, float).tolist(),
        "dwell": _dwell(transitions, lag_one, names, credible),
    }


def _dwell(
    transitions: TransitionCounts, lag_one: np.ndarray, names: tuple[str, ...], credible: float
) -> list[dict[str, object]]:
    """Mean stays from all frames at risk, cut off or not, beside the completed stays alone.

    A stay that an end, a gap or a lost track cuts off adds the frames that were watched and no
    exit: the likelihood of right-censored geometric times. The exit probability a frame has
    Jeffreys' prior; the mean stay is one over it.
    """
    at_risk = lag_one.sum(axis=1)
    exits = at_risk - np.diag(lag_one)
    _, low, high = intervals.share(exits, at_risk, credible) if len(names) else (0, exits, exits)
    completed, frames = transitions.dwells, transitions.dwell_frames
    return [
        {
            "state": name,
            "frames_at_risk": int(at_risk[s]),
            "exits": int(exits[s]),
            "mean_frames": float(at_risk[s] / exits[s]) if exits[s] else None,
            "low": float(1.0 / high[s]),
            "high": float(1.0 / low[s]),
            "completed": int(completed[s]),
            "completed_mean_frames": float(frames[s] / completed[s]) if completed[s] else None,
        }
        for s, name in enumerate(names)
    ]
