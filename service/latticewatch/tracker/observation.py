"""One frame in the session's gauge: sites, species and dopant states of its defects."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from latticewatch.detections import Detections
from latticewatch_models.crystal import Crystal

from .anchor import Alignment, site_keys
from .beliefs import Past, evidence_weight, species_prior
from .binding import bind, vacancy_codes
from .dopants import Columns
from .samples import Sample
from .settings import TrackerSettings
from .site_grid import SiteGrid
from .species import HOLE_EDGE, UNKNOWN, Readings, by_species, fresh_prior, single_posterior
from .tracks import MAX_READINGS, STATES


@dataclass(frozen=True)
class Observation:
    """Defects of a frame on anchored sites; the first `found` of them were detected.

    The rest are vacancies told only by a dopant's state. ``row`` marks those that have a row in the
    table, ``bound`` the vacancies beside a dopant, ``state`` is -1 where there is none. ``belief``
    and ``state_belief`` are the posteriors behind species and state; ``single`` (n, s) the
    likelihood of the states in this frame alone, zeros where there is none; ``soft_steps`` (s, s)
    the steps between states that the filter infers from this frame, ``doubt`` the mean probability
    that a state told is wrong (NaN without dopants). ``grid`` holds them by site.
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
    grid: SiteGrid

    def __len__(self) -> int:
        return len(self.species)


def check_finite(detections: Detections) -> None:
    """Raise ValueError for NaN or infinity, which would stay in the classes for good."""
    for name in ("x_px", "y_px", "probability", "centre", "neighbours", "patches", "noise"):
        values = getattr(detections, name)
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


def observe(
    sites: tuple[np.ndarray, np.ndarray, SiteGrid],
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

    `sites` are cells, sublattice and grid of n detections, no two on one site; `named` their
    species and the posterior (n, 1 + entries) behind it; `classes` their class and its probability;
    `neighbours` (n, 3) by anchored direction; `columns` what the frame says of the judged columns.
    """
    (cells, sublattice, _), (species, posterior) = sites, named
    bound = bind(sites, species, (neighbours, noise), table, crystal, settings, past, columns)
    codes = vacancy_codes(crystal) or (0,)
    n, total = len(species), len(species) + len(bound.cells)
    seen = Observation(
        cells=np.concatenate([cells, bound.cells]),
        sublattice=_longer(sublattice, total, 1, np.int8),
        species=_longer(species, total, codes[0], np.int8),
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
        grid=bound.grid,
    )
    seen.belief[:n, : posterior.shape[1]] = posterior
    # A vacancy that is told only by a state has no measurement of its own: it will be fresh.
    alone = (table.code == codes[0]) & (table.sublattice == 1)
    seen.belief[n:, 1 : 1 + len(alone)] = alone
    seen.state[bound.dopants] = bound.state
    seen.state_belief[bound.dopants], seen.single[bound.dopants] = bound.belief, bound.single
    for which in (bound.told, slice(n, None)):
        seen.row[which], seen.bound[which] = False, True
    unknown = species[bound.told] == table.names.index(UNKNOWN)
    seen.species[bound.told[unknown]] = codes[0]
    return seen


def _longer(values: np.ndarray, n: int, fill: float, kind: type) -> np.ndarray:
    """Values of a given kind, and after them as many as make up n."""
    longer: np.ndarray = np.full(n, fill, kind)
    longer[: len(values)] = values
    return longer
