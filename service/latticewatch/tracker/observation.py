"""One frame in the session's gauge: sites, species and dopant states of its defects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch.detections import Detections
from latticewatch_models.crystal import Crystal

from .anchor import Alignment, site_keys
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
from .site_table import SiteTable
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
        if not np.isfinite(getattr(detections, name)).all():
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
    """States of m dopants, and which vacancies they tell of.

    Rows of the dopants and, by dopant, state, its posterior (m, s) and the likelihood of this frame
    alone (m, s); rows of the detections that a state tells of; sites (k, 2) of vacancies told that
    have no detection; steps and doubt as in `Observation`.
    """

    dopants: np.ndarray
    state: np.ndarray
    belief: np.ndarray
    single: np.ndarray
    told: np.ndarray
    cells: np.ndarray
    soft_steps: np.ndarray
    doubt: float

    @classmethod
    def none(cls) -> _Bound:
        """No dopant."""
        rows, shares = np.zeros(0, np.int64), np.zeros((0, STATES))
        cells, still = np.zeros((0, 2), np.int32), np.zeros((STATES, STATES))
        return cls(rows, rows, shares, shares, rows, cells, still, np.nan)


def _likelihood(
    around: np.ndarray,
    detected: np.ndarray,
    neighbours: np.ndarray,
    noise: np.ndarray,
    table: Readings,
    codes: tuple[int, ...],
    systematic: float,
    columns: Columns | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Likelihoods (m, 4) of m dopants' states: of this frame alone, and for the filter.

    `around` (m, 3, 2) are the cells of the neighbouring columns, `detected` (m, 3) those on which a
    vacancy was, `neighbours` (m, 3) their intensities. Judged columns say all that there is.
    Without them the filter heeds detections, too; which species one is called depends on earlier
    frames, the columns' intensities do not.
    """
    if columns is not None:
        judged = column_likelihood(columns.at(around))
        return judged, judged
    second = table.sublattice == 1
    vacancies = tuple(float(table.expected[(table.code == c) & second][0]) for c in codes)
    host = float(table.expected[table.host & second][0])
    values = np.asarray(neighbours, float)
    single = state_likelihood(values, float(noise[1]), host, vacancies, systematic)
    return single, with_detections(single, detected)


def _filtered(
    likelihood: np.ndarray, known: Recall, past: Past, settings: TrackerSettings, repeat: float
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior (m, 4) of m dopants' states after this frame, and the steps (4, 4) inferred."""
    weight = evidence_weight(known, past.tracks, settings.state_change, repeat)
    likelihood = likelihood ** weight[:, None]
    matrix = state_matrix(past.soft_steps, settings.state_change)
    vacant = settings.bound_vacancy_prior
    fresh = np.array([1 - vacant, vacant / 3, vacant / 3, vacant / 3])
    posterior = state_prior(known, past.tracks, fresh, matrix) * likelihood
    posterior /= posterior.sum(axis=1, keepdims=True)
    return posterior, inferred_steps(known, past.tracks, likelihood, matrix)


def _bind(
    sites: tuple[np.ndarray, SiteTable],
    dopants: np.ndarray,
    species: np.ndarray,
    neighbours: np.ndarray,
    noise: np.ndarray,
    table: Readings,
    codes: tuple[int, ...],
    settings: TrackerSettings,
    past: Past,
    columns: Columns | None,
) -> _Bound:
    """Settle the states of the detections (m,) that are `dopants`, and which vacancies they tell of.

    `codes` are the species codes of a vacancy.
    """
    cells, on_site = sites
    around = neighbour_sites(cells[dopants])
    beside = on_site.find(around, 1)
    vacant = (beside >= 0) & one_of(species, codes)[beside]
    single, likelihood = _likelihood(
        around,
        vacant,
        neighbours[dopants],
        noise,
        table,
        codes,
        settings.intensity_systematic,
        columns,
    )
    repeat = settings.repeat_share if columns is None else REPEAT_SHARE
    belief, steps = _filtered(likelihood, past.known.take(dopants), past, settings, repeat)
    state = belief.argmax(axis=1)
    held = np.flatnonzero(state > 0)
    bound, row = around[held, state[held] - 1], beside[held, state[held] - 1]
    told, lone = row[row >= 0], bound[row < 0]
    told = told[one_of(species, (*codes, table.names.index(UNKNOWN)))[told]]
    lone = lone[SiteTable.of(lone, 1).first()]
    doubt = float(1.0 - belief.max(axis=1).mean())
    return _Bound(dopants, state, belief, single, told, lone, steps, doubt)


def observe(
    sites: tuple[np.ndarray, np.ndarray, SiteTable],
    named: tuple[np.ndarray, np.ndarray],
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

    `sites` are cells, sublattice and table of n detections, no two on one site; `named` their
    species and the posterior (n, 1 + entries) behind it; `classes` their class and its probability;
    `neighbours` (n, 3) by anchored direction; `columns` what the frame says of the judged columns.
    """
    (cells, sublattice, on_site), (species, posterior) = sites, named
    codes, bound = vacancy_codes(crystal, table), _Bound.none()
    if crystal.dopant and codes:
        dopant = table.names.index(crystal.dopant)
        dopants = np.flatnonzero((species == dopant) & (sublattice == 0))
        if len(dopants):
            bound = _bind(
                (cells, on_site),
                dopants,
                species,
                neighbours,
                noise,
                table,
                codes,
                settings,
                past,
                columns,
            )
    n, total = len(species), len(species) + len(bound.cells)
    # A vacancy that is told only by a state has no measurement of its own: it will be fresh.
    seen = Observation(
        cells=np.concatenate([cells, bound.cells]),
        sublattice=_longer(sublattice, total, 1, np.int8),
        species=_longer(species, total, codes[0] if codes else 0, np.int8),
        state=np.full(total, -1, np.int8),
        row=np.ones(total, bool),
        bound=np.zeros(total, bool),
        class_id=_longer(classes[0], total, -1, np.int16),
        class_probability=_longer(classes[1], total, 0.0, float),
        belief=np.zeros((total, MAX_READINGS), np.float32),
        state_belief=np.zeros((total, STATES)),
        single=np.zeros((total, STATES)),
        found=n,
        soft_steps=bound.soft_steps,
        doubt=bound.doubt,
    )
    seen.belief[:n, : posterior.shape[1]] = posterior
    if total > n:
        alone = (table.code == codes[0]) & (table.sublattice == 1)
        seen.belief[n:, 1 : 1 + len(alone)] = alone
    if len(bound.dopants):
        seen.state[bound.dopants] = bound.state
        seen.state_belief[bound.dopants], seen.single[bound.dopants] = bound.belief, bound.single
        seen.row[bound.told], seen.row[n:] = False, False
        seen.bound[bound.told], seen.bound[n:] = True, True
        seen.species[bound.told[species[bound.told] == table.names.index(UNKNOWN)]] = codes[0]
    return seen


def _longer(values: np.ndarray, n: int, fill: float, kind: type) -> np.ndarray:
    """Values of a given kind, and after them as many as make up n."""
    longer = np.full(n, fill, kind)
    longer[: len(values)] = values
    return longer
