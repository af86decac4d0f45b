"""Dopants of one frame: their states, and the vacancies beside them that these tell of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from latticewatch_kernels.lattice import NEIGHBOUR_CELLS
from latticewatch_models.crystal import Crystal

from .beliefs import Past, Recall, evidence_weight, state_matrix, state_posterior
from .dopants import (
    REPEAT_SHARE,
    Columns,
    neighbour_entries,
    state_likelihood,
    with_detections,
)
from .settings import TrackerSettings
from .site_grid import SiteGrid
from .species import UNKNOWN, Readings, host_heights, one_of, readings, species_names
from .tracks import STATES


@dataclass(frozen=True)
class Bound:
    """States of m dopants, and which vacancies they tell of.

    Attributes
    ----------
    dopants
        (m,), their rows among the detections.
    state, belief, single
        (m,), (m, s) and (m, s): state, its posterior, and its likelihood in this frame alone.
    told
        Rows of the detections that a state tells of.
    cells
        (k, 2), sites of the vacancies told of that were not detected.
    grid
        The detections, and these after them.
    soft_steps, doubt
        As in `observation.Observation`.
    """

    dopants: np.ndarray
    state: np.ndarray
    belief: np.ndarray
    single: np.ndarray
    told: np.ndarray
    cells: np.ndarray
    grid: SiteGrid
    soft_steps: np.ndarray
    doubt: float

    @classmethod
    def none(cls, grid: SiteGrid, past: Past) -> Bound:
        """No dopant."""
        rows, shares = np.zeros(0, np.int64), np.zeros((0, STATES))
        cells, still = np.zeros((0, 2), np.int32), np.zeros_like(past.soft_steps)
        return cls(rows, rows, shares, shares, rows, cells, grid, still, np.nan)


@lru_cache(maxsize=16)
def vacancy_codes(crystal: Crystal) -> tuple[int, ...]:
    """Species codes of one and of two atoms missing beside a dopant."""
    names, wanted = species_names(crystal), (crystal.vacancy, f"{crystal.vacancy}2")
    return tuple(names.index(name) for name in wanted if name and name in names)


@lru_cache(maxsize=16)
def _vacant_entries(crystal: Crystal) -> tuple[int, ...]:
    """Which readings on sublattice 1 are of these codes, and which is the undisturbed column."""
    table = readings(crystal, host_heights(crystal, None), 0.0)
    second = table.sublattice == 1
    of_kind = [*(table.code == code for code in vacancy_codes(crystal)), table.host]
    return tuple(int((kind & second).nonzero()[0][0]) for kind in of_kind)


def _measured(
    neighbours: np.ndarray, noise: np.ndarray, table: Readings, crystal: Crystal, systematic: float
) -> np.ndarray:
    """Likelihood (m, 4) of m dopants' states by the intensities of their neighbours (m, 3)."""
    *vacancies, host = (float(table.expected[entry]) for entry in _vacant_entries(crystal))
    values = np.asarray(neighbours, float)
    return state_likelihood(values, float(noise[1]), host, tuple(vacancies), systematic)


def _filtered(
    likelihood: np.ndarray, known: Recall, past: Past, settings: TrackerSettings, repeat: float
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior (m, 4) of m dopants' states after this frame, and the steps (4, 4) inferred."""
    weight = evidence_weight(known, past.tracks, settings.state_change, repeat)
    matrix = state_matrix(past.soft_steps, settings.state_change)
    vacant = settings.bound_vacancy_prior
    fresh = np.array([1 - vacant, vacant / 3, vacant / 3, vacant / 3])
    weighed = (likelihood.T**weight).T
    return state_posterior(known, past.tracks, fresh, matrix, weighed)


def bind(
    sites: tuple[np.ndarray, np.ndarray, SiteGrid],
    species: np.ndarray,
    measured: tuple[np.ndarray, np.ndarray],
    table: Readings,
    crystal: Crystal,
    settings: TrackerSettings,
    past: Past,
    columns: Columns | None,
) -> Bound:
    """Settle the dopants' states, and which vacancies they tell of.

    Judged columns say all that there is. Without them a state is told by the neighbours'
    intensities, and the filter heeds detections, too: which species one is called depends on
    earlier frames, the intensities do not.

    Parameters
    ----------
    sites
        Cells (n, 2), sublattice (n,) and grid of n detections, no two on one site.
    species
        (n,) codes.
    measured
        Intensities (n, 3) of their neighbours by anchored direction, and the noise (3,).
    table, crystal, settings, past
        What may be on a site, and what is known beforehand.
    columns
        What this frame says of the judged columns.
    """
    (cells, sublattice, grid), codes = sites, vacancy_codes(crystal)
    if not crystal.dopant or not codes:
        return Bound.none(grid, past)
    dopants = ((species == table.names.index(crystal.dopant)) & (sublattice == 0)).nonzero()[0]
    if not len(dopants):
        return Bound.none(grid, past)
    around = neighbour_entries(grid, grid.own[dopants])
    beside = grid.rows[around]
    if columns is not None:
        single = likelihood = columns.likelihood(cells[dopants])
    else:
        neighbours, noise = measured
        systematic = settings.intensity_systematic
        single = _measured(neighbours[dopants], noise, table, crystal, systematic)
        vacant = (beside >= 0) & one_of(species, codes)[beside]
        likelihood = with_detections(single, vacant)
    repeat = settings.repeat_share if columns is None else REPEAT_SHARE
    belief, steps = _filtered(likelihood, past.known.take(dopants), past, settings, repeat)
    state = belief.argmax(axis=1)
    doubt = 1.0 - float(belief.T.max(axis=0).sum()) / len(state)
    held = (state > 0).nonzero()[0]
    told = beside[held, state[held] - 1]
    held, told = held[told < 0], told[told >= 0]
    told = told[one_of(species[told], (*codes, table.names.index(UNKNOWN)))]
    grid, first = grid.joined(around[held, state[held] - 1])
    held = held[first]
    lone = cells[dopants[held]] + NEIGHBOUR_CELLS[0][state[held] - 1]
    return Bound(dopants, state, belief, single, told, lone, grid, steps, doubt)
