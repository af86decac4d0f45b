"""One frame in the session's gauge: sites, species and dopant states of its defects."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from latticewatch.detections import Detections
from latticewatch_models.crystal import Crystal

from .anchor import Alignment, among, site_keys
from .beliefs import (
    Recall,
    evidence_weight,
    inferred_steps,
    species_prior,
    state_matrix,
    state_prior,
)
from .dopants import (
    REPEAT_SHARE,
    Columns,
    column_likelihood,
    neighbour_sites,
    state_likelihood,
    with_detections,
)
from .samples import Sample
from .settings import TrackerSettings
from .species import HOLE_EDGE, UNKNOWN, Readings, by_species, fresh_prior, one_of, single_posterior
from .tracks import MAX_READINGS, STATES, TrackArray


@dataclass(frozen=True)
class Observation:
    """Defects of a frame on anchored sites; the first `found` of them were detected.

    The rest are vacancies told only by a dopant's state. ``row`` marks those that have a row in the
    table, ``bound`` the vacancies beside a dopant, ``state`` is -1 where there is none. ``belief``
    and ``state_belief`` are the posteriors behind species and state; ``single`` (n, s) the
    likelihood of the states in this frame alone, zeros where there is none; ``soft_steps`` (s, s)
    the steps between states that the filter infers from this frame, ``doubt`` the mean probability
    that a state told is wrong (NaN without dopants).
    """

    cells: np.ndarray
    sublattice: np.ndarray
    species: np.ndarray
    state: np.ndarray
    row: np.ndarray
    bound: np.ndarray
    class_id: np.ndarray
    class_probability: np.ndarray
    belief: np.ndarray
    state_belief: np.ndarray
    single: np.ndarray
    found: int
    soft_steps: np.ndarray
    doubt: float

    def __len__(self) -> int:
        return len(self.species)


@dataclass(frozen=True)
class Past:
    """What earlier frames hand to this one.

    Open tracks, which of them was last seen on the site of each detection, and the state filter's
    inferred steps.
    """

    tracks: TrackArray
    known: Recall
    soft_steps: np.ndarray


def check_finite(detections: Detections) -> None:
    """Raise ValueError for NaN or infinity, which would stay in the classes for good."""
    for name in ("x_px", "y_px", "probability", "centre", "neighbours", "patches", "noise"):
        values = np.ravel(getattr(detections, name))
        # Their squares' sum is finite only if all of them are, and is had in half the time.
        if not math.isfinite(np.vdot(values, values)) and not np.isfinite(values).all():
            raise ValueError(f"detections hold NaN or infinity in {name!r}: reject the frame")


def anchored(detections: Detections, alignment: Alignment) -> tuple[np.ndarray, np.ndarray, Sample]:
    """Cells, sublattice and descriptors' raw material in the session's gauge."""
    cells, sublattice = alignment.sites(detections.cells, detections.sublattice)
    patches = detections.patches
    if alignment.flipped:
        patches = patches[:, ::-1, ::-1]
    neighbours = alignment.directions(detections.neighbours)
    return (
        cells,
        sublattice,
        Sample(detections.centre, neighbours, sublattice, patches, site_keys(cells, sublattice)),
    )


def first_on_site(cells: np.ndarray, sublattice: np.ndarray) -> np.ndarray:
    """Find, in ascending order, the first detection on each site: the most probable one."""
    return np.sort(np.unique(site_keys(cells, sublattice), return_index=True)[1])


def name_species(
    table: Readings,
    told: np.ndarray | None,
    sites: tuple[np.ndarray, Sample],
    detections: tuple[Detections, np.ndarray],
    past: Past,
    settings: TrackerSettings,
) -> tuple[np.ndarray, np.ndarray]:
    """Species code (n,) of greatest posterior, and the posterior (n, 1 + entries).

    `told` is what the classes say, (n, 1 + entries); `sites` the cells and the sample of the
    detections kept, which the second of `detections` indexes. Those at a hole are its edge.
    """
    (_, sample), (found, keep) = sites, detections
    fresh = fresh_prior(table, told, sample.sublattice, found.probability[keep])
    known = past.known
    prior = species_prior(known, past.tracks, fresh, settings.species_change)
    weight = evidence_weight(known, past.tracks, settings.species_change, settings.repeat_share)
    posterior = single_posterior(table, prior, sample.centre, found.noise, weight)
    codes = by_species(table, posterior).argmax(axis=1)
    edge = table.names.index(HOLE_EDGE)
    return np.where(found.in_hole[keep], edge, codes).astype(np.int8), posterior


def vacancy_codes(crystal: Crystal, table: Readings) -> tuple[int, ...]:
    """Species codes of one and of two atoms missing beside a dopant."""
    wanted = (crystal.vacancy, f"{crystal.vacancy}2")
    return tuple(table.names.index(name) for name in wanted if name and name in table.names)


@dataclass(frozen=True)
class _Bound:
    """States, their posteriors, detections that a state tells of, vacant sites without one."""

    state: np.ndarray
    belief: np.ndarray
    single: np.ndarray
    told: np.ndarray
    cells: np.ndarray
    soft_steps: np.ndarray
    doubt: float


def _likelihood(
    dopants: np.ndarray,
    sites: tuple[np.ndarray, np.ndarray, np.ndarray],
    neighbours: np.ndarray,
    noise: np.ndarray,
    table: Readings,
    codes: tuple[int, ...],
    systematic: float,
    columns: Columns | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Likelihoods (m, 4) of the chosen dopants' states: of this frame alone, and for the filter.

    Judged columns say all that there is. Without them the filter heeds detections, too; which
    species one is called depends on earlier frames, the columns' intensities do not.
    """
    cells, sublattice, species = sites
    keys = site_keys(neighbour_sites(cells[dopants]), 1)
    if columns is not None:
        judged = column_likelihood(columns.at(keys))
        return judged, judged
    detected = among(keys, site_keys(cells, sublattice)[one_of(species, codes)])
    entry = [np.flatnonzero((table.code == c) & (table.sublattice == 1))[0] for c in codes]
    host = float(table.expected[table.host & (table.sublattice == 1)][0])
    vacancies = tuple(float(table.expected[e]) for e in entry)
    values = np.asarray(neighbours[dopants], float)
    single = state_likelihood(values, float(noise[1]), host, vacancies, systematic)
    return single, with_detections(single, detected)


def _bind(
    sites: tuple[np.ndarray, np.ndarray, np.ndarray],
    neighbours: np.ndarray,
    noise: np.ndarray,
    table: Readings,
    crystal: Crystal,
    settings: TrackerSettings,
    past: Past,
    columns: Columns | None,
) -> _Bound:
    """Settle the dopants' states, and which vacancies they tell of."""
    cells, sublattice, species = sites
    n, none = len(species), np.zeros((0, 2), np.int32)
    state, told, belief = np.full(n, -1, np.int8), np.zeros(n, bool), np.zeros((n, STATES))
    single = np.zeros((n, STATES))
    codes = vacancy_codes(crystal, table)
    still = np.zeros_like(past.soft_steps)
    if not crystal.dopant or not codes:
        return _Bound(state, belief, single, told, none, still, np.nan)
    dopants = np.flatnonzero((species == table.names.index(crystal.dopant)) & (sublattice == 0))
    if not len(dopants):
        return _Bound(state, belief, single, told, none, still, np.nan)
    single[dopants], likelihood = _likelihood(
        dopants, sites, neighbours, noise, table, codes, settings.intensity_systematic, columns
    )
    known = past.known.take(dopants)
    repeat = settings.repeat_share if columns is None else REPEAT_SHARE
    weight = evidence_weight(known, past.tracks, settings.state_change, repeat)
    likelihood = likelihood ** weight[:, None]
    matrix = state_matrix(past.soft_steps, settings.state_change)
    vacant = settings.bound_vacancy_prior
    fresh = np.array([1 - vacant, vacant / 3, vacant / 3, vacant / 3])
    posterior = state_prior(known, past.tracks, fresh, matrix) * likelihood
    posterior /= posterior.sum(axis=1, keepdims=True)
    best = posterior.argmax(axis=1)
    state[dopants], belief[dopants] = best, posterior
    around, held = neighbour_sites(cells[dopants]), best > 0
    bound = around[held, best[held] - 1]
    chosen, own = site_keys(bound, 1), site_keys(cells, sublattice)
    told = among(own, chosen) & one_of(species, (*codes, table.names.index(UNKNOWN)))
    _, index = np.unique(chosen, return_index=True)
    lone = np.sort(index[~among(chosen[index], own)])
    return _Bound(
        state,
        belief,
        single,
        told,
        bound[lone],
        inferred_steps(known, past.tracks, likelihood, matrix),
        float(1.0 - posterior.max(axis=1).mean()),
    )


def observe(
    sites: tuple[np.ndarray, np.ndarray, np.ndarray],
    posterior: np.ndarray,
    neighbours: np.ndarray,
    classes: tuple[np.ndarray, np.ndarray],
    noise: np.ndarray,
    table: Readings,
    crystal: Crystal,
    settings: TrackerSettings,
    past: Past,
    columns: Columns | None = None,
) -> Observation:
    """Settle the dopants' states and which defects have a row of their own.

    `sites` are cells, sublattice and species of n detections, `posterior` (n, 1 + entries) that
    behind the species; `classes` their class and its probability; `neighbours` (n, 3) by anchored
    direction; `columns` what the frame says of the judged columns.
    """
    cells, sublattice, species = sites
    bound = _bind(sites, neighbours, noise, table, crystal, settings, past, columns)
    codes = vacancy_codes(crystal, table)
    n, extra = len(species), len(bound.cells)
    unknown = bound.told & ~one_of(species, codes)
    species = np.where(unknown, codes[0] if codes else species, species)
    belief = np.zeros((n + extra, MAX_READINGS), np.float32)
    belief[:n, : posterior.shape[1]] = posterior
    # A vacancy that is told only by a state has no measurement of its own: it will be fresh.
    alone = (table.code == (codes[0] if codes else -1)) & (table.sublattice == 1)
    belief[n:, 1 : 1 + len(alone)] = alone
    return Observation(
        cells=np.concatenate([cells, bound.cells]).astype(np.int32),
        sublattice=np.concatenate([sublattice, np.ones(extra)]).astype(np.int8),
        species=np.concatenate([species, np.full(extra, codes[0] if codes else 0)]).astype(np.int8),
        state=np.concatenate([bound.state, np.full(extra, -1)]).astype(np.int8),
        row=np.concatenate([~bound.told, np.zeros(extra, bool)]),
        bound=np.concatenate([bound.told, np.ones(extra, bool)]),
        class_id=np.concatenate([classes[0], np.full(extra, -1)]).astype(np.int16),
        class_probability=np.concatenate([classes[1], np.zeros(extra)]),
        belief=belief,
        state_belief=np.concatenate([bound.belief, np.zeros((extra, STATES))]),
        single=np.concatenate([bound.single, np.zeros((extra, STATES))]),
        found=n,
        soft_steps=bound.soft_steps,
        doubt=bound.doubt,
    )
