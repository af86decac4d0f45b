"""Dopant states on simulated frames: how wrong labels are, and what matrix is told for them.

The whole analysis and tracker run over movies of the simulated microscope. Unlike in the movies of
`simulated_labels`, errors stay with a site for many frames, as contamination does, and the
classifier's likelihoods are only a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from latticewatch.analysis import Analyser
from latticewatch.detections import FrameInfo
from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.tracker.tracks import STATES
from latticewatch.tracker.words import ALPHABET, state_of
from latticewatch_kernels.lattice import NoLatticeError
from latticewatch_models.crystal import crystal_named
from latticewatch_models.microscope import ImagingConfig, Microscope, SimulatedFrame

#: Distance in pixels within which a row of the table and a true dopant are the same.
SAME_PX = 4.0
#: Seeds and doses (electrons a pixel) of the movies.
MOVIES = ((5, 1600.0), (6, 1600.0), (7, 1600.0), (5, 20_000.0))


@dataclass
class Followed:
    """True states, states told, single-frame labels of rows; true steps; the statistics."""

    true: list[int] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    steps: np.ndarray = field(default_factory=lambda: np.zeros((STATES, STATES)))
    statistics: dict[str, object] = field(default_factory=dict)


def true_states(frame: SimulatedFrame, names: tuple[str, ...]) -> dict[int, int]:
    """State of each true dopant in a frame, by its number."""
    truth = frame.truth
    return {
        int(i): names.index(str(s)) for i, s in zip(truth.ident, truth.state, strict=True) if str(s)
    }


def _rows(
    frame: SimulatedFrame, table: dict[str, np.ndarray], tracker: Tracker, names: tuple[str, ...]
) -> Iterator[tuple[int, int, int]]:
    """Yield true state, state told and single-frame label of rows that are a true dopant."""
    truth, true = frame.truth, true_states(frame, names)
    place = {int(i): (x, y) for i, x, y in zip(truth.ident, truth.x_px, truth.y_px, strict=True)}
    tracks = tracker._memory.tracks
    last = dict(zip(tracks["track"].tolist(), (tracks["word"] % ALPHABET).tolist(), strict=True))
    for row in np.flatnonzero(table["state"] != ""):
        x, y = table["x_px"][row], table["y_px"][row]
        apart = {i: np.hypot(place[i][0] - x, place[i][1] - y) for i in true}
        nearest = min(apart, key=lambda i: apart[i], default=-1)
        if nearest >= 0 and apart[nearest] < SAME_PX:
            label = int(state_of(np.array(last[int(table["track"][row])])))
            yield true[nearest], names.index(str(table["state"][row])), label


def follow(seed: int, dose: float, frames: int) -> Followed:
    """Run analysis and tracker over a movie of WS2; hold the rows of dopants against the truth."""
    crystal = crystal_named("WS2")
    microscope = Microscope(seed=seed, imaging=ImagingConfig(dose_e_per_pixel=dose))
    analyse, tracker = Analyser(crystal=crystal), Tracker(TrackerSettings(), crystal)
    found, before = Followed(), {}
    for number, frame in enumerate(microscope.frames(frames)):
        now = true_states(frame, crystal.states)
        for ident in before.keys() & now.keys():
            found.steps[before[ident], now[ident]] += 1
        before = now
        info = FrameInfo(number, frame.time_s, frame.truth.shape, **frame.header)
        try:
            update = tracker.apply(info, analyse(frame.image))
        except NoLatticeError:
            tracker.apply(info, None)
            continue
        for true, told, label in _rows(frame, update.table, tracker, crystal.states):
            found.true.append(true)
            found.told.append(told)
            found.label.append(label)
    found.statistics = tracker.statistics()["transitions"]  # type: ignore[assignment]
    return found


def turned(found: Followed) -> tuple[np.ndarray, np.ndarray]:
    """Return true states (n,) and matrix (s, s), directions counted as the session does.

    The session's directions may be turned against the movie's by 120 or 240 degrees: the turn is
    that with the fewest errors.
    """
    true, told = np.array(found.true), np.array(found.told)
    turns = [np.array([0, *((np.arange(3) + k) % 3 + 1)]) for k in range(3)]
    best = min(turns, key=lambda turn: float((turn[true] != told).mean()))
    matrix = np.zeros((STATES, STATES))
    matrix[np.ix_(best, best)] = found.steps / found.steps.sum(axis=1, keepdims=True)
    return best[true], matrix


def line(seed: int, dose: float, frames: int) -> str:
    """One movie as text."""
    found = follow(seed, dose, frames)
    true, matrix = turned(found)
    told = found.statistics
    hidden = told["hidden"]
    low, high = np.array(hidden["low"]), np.array(hidden["high"])
    inside = int(((low <= matrix) & (matrix <= high)).sum())
    error = np.abs(np.array(hidden["probabilities"]) - matrix).max()
    plain = np.abs(np.array(told["probabilities"]) - matrix).max()
    stays = [np.array2string(np.diag(m), precision=2) for m in (matrix, hidden["probabilities"],
                                                                told["probabilities"])]  # fmt: skip
    return (
        f"{seed:4d} {dose:6.0f} {len(true):5d}  label wrong {(true != found.label).mean():5.1%}, "
        f"told {hidden['label_error']:5.1%}; state wrong {(true != found.told).mean():5.1%}, "
        f"told {told['label_error']['mean']:5.1%}; stay true {stays[0]} hidden {stays[1]} plain "
        f"{stays[2]}; worst entry {error:.3f} plain {plain:.3f}, {inside} of 16 held"
    )


def main_table(quick: bool) -> str:
    """Four movies of 120 frames, or one of 40 where `quick`."""
    movies, frames = (MOVIES[:1], 40) if quick else (MOVIES, 120)
    head = f"seed   dose  rows of dopants in {frames} frames of 256 x 256"
    return "\n".join([head, *(line(seed, dose, frames) for seed, dose in movies)])
