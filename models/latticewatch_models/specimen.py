"""The static specimen: which atoms stand on which site of a periodic supercell.

A site is ``(sublattice, i, j)`` of an ``n`` by ``n`` supercell, flattened to one number. What
stands on it is a *kind*: 0 the host column, 1..R the crystal's readings, R + 1 a column lost to a
hole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from latticewatch_models.crystal import EMPTY_SITE, Crystal

HOST = 0

#: Cells of the three nearest sites on another sublattice, from a site in cell (0, 0). Entry k of
#: (0, 1) lies along (a1 + 2 a2)/3 turned by k * 120 degrees; (1, 0) is its opposite.
BONDS: dict[tuple[int, int], tuple[tuple[int, int], ...]] = {
    (0, 1): ((0, 0), (-1, -1), (0, -1)),
    (1, 0): ((0, 0), (1, 1), (0, 1)),
    (0, 2): ((0, 0), (-1, 0), (-1, -1)),
    (2, 0): ((0, 0), (1, 0), (1, 1)),
    (1, 2): ((0, 0), (-1, 0), (0, 1)),
    (2, 1): ((0, 0), (1, 0), (0, -1)),
}

#: Cells of the six nearest sites on the same sublattice.
RING = ((1, 0), (1, 1), (0, 1), (-1, 0), (-1, -1), (0, -1))


@dataclass(frozen=True)
class SiteTable:
    """Neighbours in a periodic supercell of n by n cells.

    A site's number is ``(sublattice * n + i) * n + j``.

    Attributes
    ----------
    cells
        Cells along each lattice vector, n.
    bonded
        int32 (3 n^2, 3): neighbours on the other host sublattice, in the order of `BONDS`; of an
        empty site the three columns of sublattice 0.
    ring
        int32 (3 n^2, 6): nearest sites on the same sublattice.
    around
        int32 (3 n^2, 6): nearest sites on the two other sublattices.
    """

    cells: int
    bonded: np.ndarray
    ring: np.ndarray
    around: np.ndarray

    @cached_property
    def bond_lists(self) -> list[list[int]]:
        """`bonded` as lists, which single look-ups read much faster."""
        return list(self.bonded.tolist())

    @cached_property
    def ring_lists(self) -> list[list[int]]:
        """`ring` as lists."""
        return list(self.ring.tolist())

    def index(self, sublattice: np.ndarray, cell: np.ndarray) -> np.ndarray:
        """Site numbers (n,) of sublattice (n,) and cells (n, 2), wrapped into the supercell."""
        i, j = np.moveaxis(np.asarray(cell) % self.cells, -1, 0)
        return np.asarray((np.asarray(sublattice) * self.cells + i) * self.cells + j)

    def place(self, site: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sublattice (n,) and home cell (n, 2) of site numbers (n,)."""
        site = np.asarray(site)
        row, j = np.divmod(site, self.cells)
        sublattice, i = np.divmod(row, self.cells)
        return sublattice, np.stack([i, j], -1)


@lru_cache(maxsize=32)
def site_table(cells: int) -> SiteTable:
    """Neighbour tables of a supercell of ``cells`` by ``cells``; raises ValueError below 4."""
    if cells < 4:
        raise ValueError(f"a supercell of {cells} cells meets itself: give a larger field of view")
    i, j = np.divmod(np.arange(cells * cells), cells)

    def shifted(sublattice: int, offsets: tuple[tuple[int, int], ...]) -> np.ndarray:
        columns = [
            (sublattice * cells + (i + di) % cells) * cells + (j + dj) % cells for di, dj in offsets
        ]
        return np.stack(columns, -1).astype(np.int32)

    others = {0: (1, 2), 1: (0, 2), 2: (0, 1)}
    first = {pair: shifted(pair[1], offsets) for pair, offsets in BONDS.items()}
    return SiteTable(
        cells=cells,
        bonded=np.concatenate([first[s, others[s][0]] for s in range(3)]),
        ring=np.concatenate([shifted(s, RING) for s in range(3)]),
        around=np.concatenate(
            [np.concatenate([first[s, o] for o in others[s]], axis=1) for s in range(3)]
        ),
    )


@dataclass(frozen=True)
class Kinds:
    """A crystal's readings as numbers: what the kinetics and the imaging index by.

    Attributes
    ----------
    species
        Name of each kind; '' for the host and for a lost column.
    weight
        float (kinds, 3): column intensity by kind and sublattice, in units of the host column of
        sublattice 0.
    atoms
        int (kinds, 3): number of atoms in the column.
    loss
        int (kinds, 3): the kind after one atom was knocked out, -1 where the crystal knows none.
    dopants, adatoms, vacancies
        Kinds by sublattice: one more, equally many or fewer atoms than the host column has.
    mobile
        The kind that hops and binds: `Crystal.vacancy`; -1 for none.
    stateful
        The kind that has states: `Crystal.dopant`; -1 for none.
    """

    crystal: Crystal
    species: tuple[str, ...]
    weight: np.ndarray
    atoms: np.ndarray
    loss: np.ndarray
    dopants: dict[int, int]
    adatoms: dict[int, int]
    vacancies: dict[tuple[int, int], int]
    mobile: int
    stateful: int

    @property
    def removed(self) -> int:
        """The kind of a column that a hole has taken."""
        return len(self.species) - 1


@lru_cache(maxsize=32)
def kinds_of(crystal: Crystal) -> Kinds:
    """Give each reading of a crystal a number, and sort them by what they do to the column."""
    species = ("", *(reading.species for reading in crystal.readings), "")
    size = (len(species), 3)
    weight, atoms, loss = np.zeros(size), np.zeros(size, int), np.full(size, -1)
    hosts = [len(column) for column in crystal.columns] + [0]
    weight[HOST] = [crystal.host_intensity(s) for s in range(3)]
    atoms[HOST] = hosts
    dopants: dict[int, int] = {}
    adatoms: dict[int, int] = {}
    vacancies: dict[tuple[int, int], int] = {}
    for kind, reading in enumerate(crystal.readings, start=1):
        site = reading.sublattice
        weight[kind, site] = crystal.reading_intensity(reading)
        atoms[kind, site] = len(reading.atoms)
        missing = hosts[site] - len(reading.atoms)
        if missing > 0:
            vacancies[site, missing] = kind
        else:
            (adatoms if missing < 0 else dopants)[site] = kind
    for (site, missing), kind in vacancies.items():
        before = HOST if missing == 1 else vacancies.get((site, missing - 1))
        if before is not None:
            loss[before, site] = kind

    def of(name: str) -> int:
        return species.index(name) if name else -1

    return Kinds(
        crystal=crystal,
        species=species,
        weight=weight,
        atoms=atoms,
        loss=loss,
        dopants=dopants,
        adatoms=adatoms,
        vacancies=vacancies,
        mobile=of(crystal.vacancy),
        stateful=of(crystal.dopant),
    )


@dataclass(frozen=True)
class Doping:
    """How often each kind of defect stands in the specimen at the start.

    Attributes
    ----------
    dopant_fraction
        Share of the columns of a sublattice that may be substituted which are.
    vacancy_fraction
        Share of the columns of sublattice 1 (of both, where the crystal has no chalcogen) that lack
        one atom; those bound to dopants come on top.
    divacancy_share
        Share of these vacancies that lack both atoms.
    metal_vacancy_fraction
        Share of the columns of sublattice 0 that are missing.
    adatom_per_cell
        Adatoms per unit cell.
    bound_share
        Share of the dopants that hold a vacancy, direction drawn evenly.
    hole_fraction
        Share of the area in round holes; `hole_radius_cells` is the radius of each, in lattice
        constants.
    """

    dopant_fraction: float = 0.03
    vacancy_fraction: float = 0.01
    divacancy_share: float = 0.1
    metal_vacancy_fraction: float = 0.006
    adatom_per_cell: float = 0.002
    bound_share: float = 0.4
    hole_fraction: float = 0.0
    hole_radius_cells: float = 3.0


def dopant_states(kind: np.ndarray, table: SiteTable, kinds: Kinds) -> np.ndarray:
    """State of every site that holds a dopant: -1 alone, 0..2 the bound vacancy's direction.

    Shape (n,) beside ``np.flatnonzero(kind == kinds.stateful)``.
    """
    sites = np.flatnonzero(kind == kinds.stateful)
    vacant = kind[table.bonded[sites]] == kinds.mobile
    return np.where(vacant.any(axis=1), vacant.argmax(axis=1), -1)


def _thin_bound(kind: np.ndarray, table: SiteTable, kinds: Kinds) -> None:
    """Leave each dopant at most one single vacancy: the first by direction stays."""
    near = table.bonded[np.flatnonzero(kind == kinds.stateful)]
    crowded = (kind[near] == kinds.mobile).sum(axis=1) > 1
    for sites in near[crowded]:
        vacant = sites[kind[sites] == kinds.mobile]
        kind[vacant[1:]] = HOST


def in_discs(
    table: SiteTable, share: float, radius_cells: float, rng: np.random.Generator
) -> np.ndarray:
    """Sites in round patches at random places that hold this share of the area, bool (3 n^2,).

    Patches may overlap; `share` is what their areas add up to on average.
    """
    n, cell_area = table.cells, np.sqrt(3.0) / 2.0
    number = rng.poisson(share * n * n * cell_area / (np.pi * radius_cells**2))
    sublattice, cell = table.place(np.arange(3 * n * n))
    thirds = np.array([[0.0, 0.0], [1 / 3, 2 / 3], [2 / 3, 1 / 3]])
    inside = np.zeros(3 * n * n, bool)
    for centre in rng.random((number, 2)) * n:
        gap = cell + thirds[sublattice] - centre
        gap -= n * np.round(gap / n)
        # |u a1 + v a2|^2 = u^2 + v^2 - u v for vectors at 120 degrees
        inside |= gap[:, 0] ** 2 + gap[:, 1] ** 2 - gap[:, 0] * gap[:, 1] < radius_cells**2
    return inside


def _carve_holes(
    kind: np.ndarray, table: SiteTable, kinds: Kinds, doping: Doping, rng: np.random.Generator
) -> None:
    inside = in_discs(table, doping.hole_fraction, doping.hole_radius_cells, rng)
    sublattice, _ = table.place(np.arange(len(kind)))
    kind[inside & (sublattice != EMPTY_SITE)] = kinds.removed
    kind[inside & (sublattice == EMPTY_SITE)] = HOST


def place_defects(
    table: SiteTable, kinds: Kinds, doping: Doping, rng: np.random.Generator
) -> np.ndarray:
    """Draw the kind of every site, int16 (3 n^2,), at random and independently.

    No site holds two defects, and no dopant holds two single vacancies.
    """
    n_cells = table.cells**2
    kind = np.zeros(3 * n_cells, np.int16)
    layers = kind.reshape(3, n_cells)

    def put(site: int, value: int, probability: float) -> None:
        chosen = (rng.random(n_cells) < probability) & (layers[site] == HOST)
        layers[site][chosen] = value

    single = 1.0 - doping.divacancy_share
    for (site, missing), value in kinds.vacancies.items():
        if site == 0:
            put(site, value, doping.metal_vacancy_fraction)
        else:
            paired = (site, 2) in kinds.vacancies
            share = single if missing == 1 else doping.divacancy_share
            put(site, value, doping.vacancy_fraction * (share if paired else 1.0))
    for site, value in kinds.dopants.items():
        put(site, value, doping.dopant_fraction)
    for site, value in kinds.adatoms.items():
        put(site, value, doping.adatom_per_cell / len(kinds.adatoms))
    if kinds.stateful >= 0 and kinds.mobile >= 0:
        dopants = np.flatnonzero(kind == kinds.stateful)
        holding = dopants[rng.random(len(dopants)) < doping.bound_share]
        near = table.bonded[holding, rng.integers(0, 3, len(holding))]
        kind[near[kind[near] == HOST]] = kinds.mobile
        _thin_bound(kind, table, kinds)
    if doping.hole_fraction > 0.0:
        _carve_holes(kind, table, kinds, doping, rng)
    return kind
