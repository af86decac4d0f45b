"""One frame in the session's gauge: sites, species and dopant states of its defects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch.detections import Detections
from latticewatch_models.crystal import Crystal

from .anchor import Alignment
from .classes import Sample
from .dopants import neighbour_sites, site_keys, state_posterior
from .settings import TrackerSettings
from .species import HOLE_EDGE, UNKNOWN, Readings, by_species, single_posterior


@dataclass(frozen=True)
class Observation:
    """Defects of a frame on anchored sites; the first `found` of them were detected.

    The rest are vacancies told only by a dopant's state. ``row`` marks those that have a row in the
    table, ``bound`` the vacancies beside a dopant, ``state`` is -1 where there is none.
    """

    cells: np.ndarray
    sublattice: np.ndarray
    species: np.ndarray
    state: np.ndarray
    row: np.ndarray
    bound: np.ndarray
    class_id: np.ndarray
    class_probability: np.ndarray
    found: int

    def __len__(self) -> int:
        return len(self.species)


def anchored(detections: Detections, alignment: Alignment) -> tuple[np.ndarray, np.ndarray, Sample]:
    """Cells, sublattice and descriptors' raw material in the session's gauge."""
    cells, sublattice = alignment.sites(detections.cells, detections.sublattice)
    patches = detections.patches
    if alignment.flipped:
        patches = patches[:, ::-1, ::-1]
    neighbours = alignment.directions(detections.neighbours)
    return cells, sublattice, Sample(detections.centre, neighbours, sublattice, patches)


def first_on_site(cells: np.ndarray, sublattice: np.ndarray) -> np.ndarray:
    """Find, in ascending order, the first detection on each site: the most probable one."""
    return np.sort(np.unique(site_keys(cells, sublattice), return_index=True)[1])


def name_species(
    table: Readings,
    prior: np.ndarray | None,
    sample: Sample,
    detections: Detections,
    keep: np.ndarray,
) -> np.ndarray:
    """Species code (n,) of greatest posterior; detections at a hole are its edge.

    `prior` is what the classes say, (n, 1 + entries); `keep` the detections that `sample` holds.
    """
    posterior = single_posterior(
        table,
        prior,
        sample.centre,
        detections.noise,
        sample.sublattice,
        detections.probability[keep],
    )
    codes = by_species(table, posterior).argmax(axis=1)
    return np.where(detections.in_hole[keep], table.names.index(HOLE_EDGE), codes).astype(np.int8)


def vacancy_codes(crystal: Crystal, table: Readings) -> tuple[int, ...]:
    """Species codes of one and of two atoms missing beside a dopant."""
    wanted = (crystal.vacancy, f"{crystal.vacancy}2")
    return tuple(table.names.index(name) for name in wanted if name and name in table.names)


@dataclass(frozen=True)
class _Bound:
    state: np.ndarray
    told: np.ndarray
    cells: np.ndarray


def _bind(
    cells: np.ndarray,
    sublattice: np.ndarray,
    species: np.ndarray,
    neighbours: np.ndarray,
    noise: float,
    table: Readings,
    crystal: Crystal,
    settings: TrackerSettings,
) -> _Bound:
    """States of the dopants, detections that a state tells of, and vacant sites without one."""
    n = len(species)
    state, told = np.full(n, -1, np.int8), np.zeros(n, bool)
    none = np.zeros((0, 2), np.int32)
    if not crystal.dopant:
        return _Bound(state, told, none)
    dopants = np.flatnonzero((species == table.names.index(crystal.dopant)) & (sublattice == 0))
    codes = vacancy_codes(crystal, table)
    if not len(dopants) or not codes:
        state[dopants] = 0
        return _Bound(state, told, none)
    around = neighbour_sites(cells[dopants])
    keys = site_keys(around, 1)
    own = site_keys(cells, sublattice)
    detected = np.isin(keys, own[np.isin(species, codes)])
    entry = [np.flatnonzero((table.code == c) & (table.sublattice == 1))[0] for c in codes]
    host = float(table.expected[table.host & (table.sublattice == 1)][0])
    posterior = state_posterior(
        np.asarray(neighbours[dopants], float),
        noise,
        host,
        tuple(float(table.expected[e]) for e in entry),
        settings.bound_vacancy_prior,
        detected,
        settings.intensity_systematic,
    )
    best = posterior.argmax(axis=1)
    state[dopants] = best
    vacant = best > 0
    chosen = keys[vacant, best[vacant] - 1]
    ties = np.isin(own, chosen)
    bindable = np.isin(species, (*codes, table.names.index(UNKNOWN)))
    told = ties & bindable
    _, index = np.unique(chosen, return_index=True)
    fresh = index[~np.isin(chosen[index], own)]
    return _Bound(state, told, around[vacant, best[vacant] - 1][np.sort(fresh)])


def observe(
    sites: tuple[np.ndarray, np.ndarray, np.ndarray],
    neighbours: np.ndarray,
    classes: tuple[np.ndarray, np.ndarray],
    noise: float,
    table: Readings,
    crystal: Crystal,
    settings: TrackerSettings,
) -> Observation:
    """Settle the dopants' states and which defects have a row of their own.

    `sites` are cells, sublattice and species of n detections; `classes` their class and its
    probability; `neighbours` (n, 3) by anchored direction.
    """
    cells, sublattice, species = sites
    bound = _bind(cells, sublattice, species, neighbours, noise, table, crystal, settings)
    codes = vacancy_codes(crystal, table)
    n, extra = len(species), len(bound.cells)
    unknown = bound.told & ~np.isin(species, codes)
    species = np.where(unknown, codes[0] if codes else species, species)
    return Observation(
        cells=np.concatenate([cells, bound.cells]).astype(np.int32),
        sublattice=np.concatenate([sublattice, np.ones(extra)]).astype(np.int8),
        species=np.concatenate([species, np.full(extra, codes[0] if codes else 0)]).astype(np.int8),
        state=np.concatenate([bound.state, np.full(extra, -1)]).astype(np.int8),
        row=np.concatenate([~bound.told, np.zeros(extra, bool)]),
        bound=np.concatenate([bound.told, np.ones(extra, bool)]),
        class_id=np.concatenate([classes[0], np.full(extra, -1)]).astype(np.int16),
        class_probability=np.concatenate([classes[1], np.zeros(extra)]),
        found=n,
    )
