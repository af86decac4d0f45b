"""The whole way, from simulated frames to statistics, against the truth of the same movies.

Everything else in this package tests one estimator on data of its own kind; here its errors add up:
what the analysis misses, what contamination darkens, links that break.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from judging.frames import Judged

from estimating.fusion import CRYSTAL, movie
from latticewatch.analysis import Analyser
from latticewatch.scorecard import SpeciesScore
from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.tracker.links import site_places
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.kinetics import Rates
from latticewatch_models.microscope import ImagingConfig
from latticewatch_models.scoring import match
from latticewatch_models.truth import Truth

#: Apart from all seeds of training and of the other benches.
FIRST_SEED = 1_630_000_000

STATES = CRYSTALS[CRYSTAL].states


@dataclass
class TrueKinetics:
    """Steps between states and squared displacements as they truly were, over single frames.

    Attributes
    ----------
    steps
        (s, s) counts of dopants' steps.
    squares, moves
        Sum of squared displacements of free vacancies, in lattice constants squared, and how many
        frames they were watched for.
    """

    steps: np.ndarray = field(default_factory=lambda: np.zeros((len(STATES), len(STATES))))
    squares: float = 0.0
    moves: int = 0
    _before: dict[int, tuple[str, tuple[int, int], int]] = field(default_factory=dict)

    def add(self, truth: Truth) -> None:
        """Take in the next frame."""
        now = {
            int(ident): (str(state or species), (int(i), int(j)), int(site))
            for ident, species, state, i, j, site in zip(
                truth.ident, truth.species, truth.state, truth.cell_i, truth.cell_j,
                truth.sublattice, strict=True,
            )
        }  # fmt: skip
        for ident, (name, cell, site) in now.items():
            if ident not in self._before:
                continue
            before, old, _ = self._before[ident]
            if name in STATES and before in STATES:
                self.steps[STATES.index(before), STATES.index(name)] += 1
            if name == before == CRYSTALS[CRYSTAL].vacancy:
                places = site_places(np.array([old, cell]), np.array([site, site]))
                self.squares += float(((places[1] - places[0]) ** 2).sum())
                self.moves += 1
        self._before = now


@dataclass
class Rows:
    """Rows of the defect table against the truth, summed over frames."""

    true: Counter[str] = field(default_factory=Counter)
    reported: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    states: np.ndarray = field(default_factory=lambda: np.zeros((len(STATES), len(STATES))))

    def add(self, truth: Judged, table: dict[str, np.ndarray], turn: int) -> None:
        """Match a frame's rows.

        ``states`` counts true against told states, after the told directions are turned by `turn`
        thirds of a circle into the truth's.
        """
        points = np.stack([table["x_px"], table["y_px"]], axis=-1)
        species = table["species"].astype(str)
        mine, true = match(points, truth.points, truth.reach_px)
        counted = truth.inside(points)
        counted[mine] = truth.counts[true]
        self.true.update(truth.species[truth.counts].tolist())
        self.reported.update(species[counted].tolist())
        right = truth.counts[true] & (species[mine] == truth.species[true])
        self.right.update(species[mine[right]].tolist())
        for row, there in zip(mine, true, strict=True):
            if there < len(truth.truth.state) and truth.counts[there]:
                told, state = str(table["state"][row]), str(truth.truth.state[there])
                if told and state:
                    turned = turned_state(STATES.index(told), turn)
                    self.states[STATES.index(state), turned] += 1

    def scores(self) -> dict[str, SpeciesScore]:
        """Count by species."""
        return {
            name: SpeciesScore(self.true[name], self.reported[name], self.right[name])
            for name in sorted(set(self.true) - {"bound"})
        }


def turned_state(state: int, turn: int) -> int:
    """Dopant state with its direction counted from another lattice vector."""
    return state and 1 + (state - 1 + turn) % 3


@dataclass(frozen=True)
class Session:
    """One movie through analysis and tracker: its truth, its rows, its statistics."""

    kinetics: TrueKinetics
    rows: Rows
    told: dict[str, Any]
    order: np.ndarray


def session(seed: int, dose: float, frames: int) -> Session:
    """Run one movie; ``order`` are the told states in the truth's order."""
    crystal = CRYSTALS[CRYSTAL]
    tracker, kinetics, rows = Tracker(TrackerSettings(), crystal), TrueKinetics(), Rows()
    turn = 0
    for frame in movie(Analyser(crystal=crystal), seed, dose, Rates(), frames):
        truth = frame.truth.truth
        if not frame.info.frame:
            # the session's gauge is that of its first frame
            turned = frame.detections.lattice.rotation - truth.lattice.rotation
            turn = round(turned / 120.0) % 3
        update = tracker.apply(frame.info, frame.detections)
        kinetics.add(truth)
        rows.add(frame.truth, update.table, turn)
    order = np.empty(len(STATES), int)
    order[[turned_state(state, turn) for state in range(len(STATES))]] = range(len(STATES))
    return Session(kinetics, rows, tracker.statistics(), order)


def _matrix(told: dict[str, Any], name: str, order: np.ndarray) -> np.ndarray:
    values = np.array(told["transitions"]["hidden"][name], float)
    return values[np.ix_(order, order)]


def main_table(quick: bool = False) -> str:
    """Species, states, transitions and diffusion of whole movies."""
    movies, frames = (2, 20) if quick else (16, 80)
    lines = []
    for dose in (1600.0, 3200.0):
        done = [session(FIRST_SEED + k, dose, frames) for k in range(movies)]
        lines += [f"{movies} movies of {frames} frames, default rates, {dose:.0f} e/px", ""]
        lines += [*_species(done), "", *_states(done), "", *_diffusion(done), ""]
    return "\n".join(lines)


def _species(done: list[Session]) -> list[str]:
    names = sorted({name for one in done for name in one.rows.scores()})
    lines = ["| species | true | precision | recall |", "| --- | --- | --- | --- |"]
    for name in names:
        parts = [one.rows.scores()[name] for one in done if name in one.rows.scores()]
        true, reported, right = (
            sum(getattr(part, key) for part in parts) for key in ("true", "reported", "right")
        )
        pooled = SpeciesScore(true, reported, right)
        shares = (
            f"{share:.3f}" if share is not None else "-"
            for share in (pooled.precision, pooled.recall)
        )
        lines.append(f"| {name} | {true} | {' | '.join(shares)} |")
    return lines


def _states(done: list[Session]) -> list[str]:
    steps = sum(one.kinetics.steps for one in done)
    true = steps / np.maximum(steps.sum(axis=1, keepdims=True), 1)
    found = [_matrix(one.told, "probabilities", one.order) for one in done]
    inside = [
        (true >= _matrix(one.told, "low", one.order))
        & (true <= _matrix(one.told, "high", one.order))
        for one in done
    ]
    plain = np.nanmean(
        [
            np.array(one.told["transitions"]["probabilities"], float)[np.ix_(one.order, one.order)]
            for one in done
        ],
        axis=0,
    )
    wrong = sum(one.rows.states for one in done)
    said = [one.told["transitions"]["label_error"]["mean"] for one in done]
    error = 1.0 - np.trace(wrong) / wrong.sum()
    lines = [
        f"dopants' states wrong: {error:.3f}, told {np.mean(said):.3f}",
        f"true matrix inside the 95 % intervals: {np.mean(inside):.3f}",
        "| from | true | hidden-state estimate, mean | plain, mean |",
        "| --- | --- | --- | --- |",
    ]
    mean = np.nanmean(found, axis=0)
    for k, name in enumerate(STATES):
        rows = (" ".join(f"{value:.3f}" for value in one[k]) for one in (true, mean, plain))
        lines.append(f"| {name} | {' | '.join(rows)} |")
    return lines


def _diffusion(done: list[Session]) -> list[str]:
    area = CRYSTALS[CRYSTAL].lattice_constant_nm ** 2
    dt = ImagingConfig().frame_time_s
    moves = sum(one.kinetics.moves for one in done)
    true = sum(one.kinetics.squares for one in done) / (4.0 * max(moves, 1) * dt) * area
    told = [one.told["diffusion"]["free"]["D_nm2_s"] for one in done]
    known = [value for value in told if value is not None]
    covered = np.mean([value["low"] <= true <= value["high"] for value in known])
    mean = np.mean([value["value"] for value in known])
    numbers = f"true {1e3 * true:.3f}, told {1e3 * mean:.3f} in the mean of {len(known)}"
    return [
        f"D of free vacancies, 1e-3 nm^2/s: {numbers}",
        f"truth inside {covered:.2f} of the 95 % intervals",
    ]
