"""What a frame's links add to the kinetics: steps between states and classes, displacements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch.detections import FrameInfo

from .hops import DiffusionSums
from .observation import Observation
from .tracks import TrackArray
from .transitions import TransitionCounts
from .words import UNEVEN, WordCounts, count_words

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


def count(
    kinetics: Kinetics, tracks: TrackArray, seen: Observation, vacancy: int, info: FrameInfo
) -> Kinetics:
    """Add what a frame tells of the tracks of its n defects, and update their memory.

    Parameters
    ----------
    kinetics
        Before the frame.
    tracks
        (n,) as earlier frames left them, new ones among them; they have not yet taken on their new
        sites and species.
    seen
        The defects.
    vacancy
        Species whose displacements are counted.
    info
        The frame.
    """
    steps = count_steps(kinetics, tracks, seen, vacancy, info)
    return Kinetics(
        count_states(kinetics.states, tracks, seen.state, info.frame),
        count_classes(kinetics.classes, tracks, seen.class_id, info.frame),
        *steps,
        count_words(kinetics.words, tracks, seen.single, info),
    )


def count_states(
    counts: TransitionCounts, tracks: TrackArray, state: np.ndarray, frame: int
) -> TransitionCounts:
    """Count state steps and completed stays of linked tracks; updates the tracks' memory."""
    seen = (state >= 0).nonzero()[0]
    if not len(seen):
        return counts
    now, before, dwell = state[seen], tracks["state"][seen], tracks["dwell"][seen]
    lag = frame - tracks["state_frame"][seen]
    step = before >= 0
    counts = counts.add(before[step], now[step], lag[step])
    changed, next_ = step & (now != before), step & (lag == 1)
    ended = changed & next_ & (dwell > 0)
    counts = counts.add_dwells(before[ended], dwell[ended])
    # A stay is complete only if its start was seen and no frame within it was missed.
    dwell = np.where(changed, 1, dwell + (dwell > 0))
    tracks["dwell"][seen] = np.where(next_, dwell, 0)
    tracks["state"][seen], tracks["state_frame"][seen] = now, frame
    return counts


def count_classes(
    counts: TransitionCounts, tracks: TrackArray, class_id: np.ndarray, frame: int
) -> TransitionCounts:
    """Count class steps of linked tracks; updates the tracks' memory."""
    seen = (class_id >= 0).nonzero()[0]
    if not len(seen):
        return counts
    now, before = class_id[seen], tracks["class_id"][seen]
    step = before >= 0
    lag = frame - tracks["class_frame"][seen]
    counts = counts.add(before[step], now[step], lag[step])
    tracks["class_id"][seen], tracks["class_frame"][seen] = now, frame
    return counts


def count_steps(
    kinetics: Kinetics, tracks: TrackArray, seen: Observation, vacancy: int, info: FrameInfo
) -> tuple[DiffusionSums, DiffusionSums]:
    """Add the displacements of linked vacancies, all and free ones; updates the tracks' memory.

    Displacements run between lattice sites, not measured positions: the lattice takes out drift and
    distortion, and a wrong site for one frame is flicker that the estimator cancels. Steps across
    frames in which the vacancy was missed count with their own duration.
    """
    use = ((tracks["species"] == vacancy) & (seen.species == vacancy)).nonzero()[0]
    time, lag = info.time_s - tracks["last_time"][use], info.frame - tracks["last_frame"][use]
    fits = time > 0
    if info.frame_time_s is not None:
        fits &= np.abs(time / (lag * info.frame_time_s) - 1.0) < UNEVEN
    use, time, lag = use[fits], time[fits], lag[fits]
    free = (tracks["bound"][use] == 0) & ~seen.bound[use]
    step = (seen.cells[use] - tracks["cell"][use]).astype(float)
    before, known = tracks["step"][use], tracks["step_known"][use]
    dose = None if info.dose_e_per_A2 is None else info.dose_e_per_A2 * lag
    everywhere = kinetics.all_steps.add(step, time, before, (known & ALL) > 0, dose)
    freely = kinetics.free_steps.add(
        step[free],
        time[free],
        before[free],
        (known[free] & FREE) > 0,
        None if dose is None else dose[free],
    )
    tracks["step"], tracks["step_known"] = 0.0, 0
    tracks["step"][use], tracks["step_known"][use] = step, ALL + FREE * free
    return everywhere, freely
