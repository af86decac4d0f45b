"""What a frame's links add to the kinetics: steps between states and classes, displacements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch.detections import FrameInfo

from .hops import DiffusionSums
from .observation import Observation
from .tracks import TrackArray
from .transitions import TransitionCounts
from .words import UNEVEN, WordCounts

#: Bits of `step_known`: all steps, and steps of vacancies free at both ends.
ALL, FREE = 1, 2


@dataclass(frozen=True)
class Kinetics:
    """Cumulative counts and sums."""

    states: TransitionCounts
    classes: TransitionCounts
    all_steps: DiffusionSums
    free_steps: DiffusionSums
    words: WordCounts


def count_states(
    counts: TransitionCounts, tracks: TrackArray, state: np.ndarray, frame: int
) -> TransitionCounts:
    """Count state steps and completed stays of linked tracks; updates the tracks' memory."""
    seen = state >= 0
    lag = frame - tracks["state_frame"]
    step = seen & (tracks["state"] >= 0)
    counts = counts.add(tracks["state"][step], state[step], lag[step])
    changed = step & (state != tracks["state"])
    ended = changed & (lag == 1) & (tracks["dwell"] > 0)
    counts = counts.add_dwells(tracks["state"][ended], tracks["dwell"][ended])
    # A stay is complete only if its start was seen and no frame within it was missed.
    dwell = np.where(tracks["dwell"] > 0, tracks["dwell"] + 1, 0)
    dwell = np.where(changed, 1, dwell)
    dwell = np.where(step & (lag == 1), dwell, 0)
    tracks["dwell"] = np.where(seen, dwell, tracks["dwell"])
    tracks["state"] = np.where(seen, state, tracks["state"])
    tracks["state_frame"] = np.where(seen, frame, tracks["state_frame"])
    return counts


def count_classes(
    counts: TransitionCounts, tracks: TrackArray, class_id: np.ndarray, frame: int
) -> TransitionCounts:
    """Count class steps of linked tracks; updates the tracks' memory."""
    seen = class_id >= 0
    step = seen & (tracks["class_id"] >= 0)
    lag = frame - tracks["class_frame"]
    counts = counts.add(tracks["class_id"][step], class_id[step], lag[step])
    tracks["class_id"] = np.where(seen, class_id, tracks["class_id"])
    tracks["class_frame"] = np.where(seen, frame, tracks["class_frame"])
    return counts


def count_steps(
    kinetics: Kinetics,
    tracks: TrackArray,
    seen: Observation,
    index: np.ndarray,
    vacancy: int,
    info: FrameInfo,
) -> tuple[DiffusionSums, DiffusionSums]:
    """Add the displacements of linked vacancies; updates the tracks' memory.

    Displacements run between lattice sites, not measured positions: the lattice takes out drift and
    distortion, and a wrong site for one frame is flicker that the estimator cancels. Steps across
    frames in which the vacancy was missed count with their own duration. Called before the tracks
    take on their new sites.
    """
    time, lag = info.time_s - tracks["last_time"], info.frame - tracks["last_frame"]
    usable = time > 0
    if info.frame_time_s is not None:
        usable &= np.abs(time / (lag * info.frame_time_s) - 1.0) < UNEVEN
    usable &= (tracks["species"] == vacancy) & (seen.species[index] == vacancy)
    free = usable & (tracks["bound"] == 0) & ~seen.bound[index]
    step = (seen.cells[index] - tracks["cell"]).astype(float)
    before, known = tracks["step"], tracks["step_known"]
    results = [
        sums.add(
            step[chosen],
            time[chosen],
            before[chosen],
            (known[chosen] & bit) > 0,
            None if info.dose_e_per_A2 is None else info.dose_e_per_A2 * lag[chosen],
        )
        for sums, chosen, bit in (
            (kinetics.all_steps, usable, ALL),
            (kinetics.free_steps, free, FREE),
        )
    ]
    tracks["step"], tracks["step_known"] = step, ALL * usable + FREE * free
    return results[0], results[1]
