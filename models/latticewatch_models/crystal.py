"""Crystals as data: the cell, its columns, and what may go wrong on each site.

A crystal is a hexagonal cell with three sites: 0 the heaviest column at (0, 0), 1 the second at
(1/3, 2/3), 2 the empty site at (2/3, 1/3). HAADF column intensity goes about as Z^1.7 (Krivanek et
al., Nature 464, 571 (2010)), summed over the atoms of a column.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

Z_EXPONENT = 1.7

#: The sublattice that is empty in the undisturbed crystal.
EMPTY_SITE = 2


def column_intensity(atomic_numbers: tuple[int, ...], exponent: float = Z_EXPONENT) -> float:
    """HAADF intensity of a column, arbitrary units, from the atoms in it."""
    return float(sum(z**exponent for z in atomic_numbers))


#: How much rarer each further missing atom makes a column. In as-grown monolayers one missing
#: chalcogen is the commonest defect, and both missing an occasional one (Zhou et al., Nano Lett.
#: 13, 2615 (2013); Hong et al., Nat. Commun. 6, 6293 (2015)).
RARER = 0.1


@dataclass(frozen=True)
class Reading:
    """One thing that a site may turn out to be.

    Attributes
    ----------
    species
        Name as in the defect table: ``MoW``, ``VS``, ...
    sublattice
        0, 1 or 2.
    atoms
        Atomic numbers of what stands in the column instead of the host; empty for a full vacancy.
    """

    species: str
    sublattice: int
    atoms: tuple[int, ...]


@dataclass(frozen=True)
class Crystal:
    """A two-dimensional hexagonal crystal.

    Attributes
    ----------
    name
        Key in `CRYSTALS`.
    lattice_constant_nm
        In-plane lattice constant.
    columns
        Atomic numbers of the host columns on sublattices 0 and 1.
    readings
        The point defects that are told apart on it.
    dopant, vacancy
        Species that has states (its neighbours on sublattice 1 may be vacant) and the species of
        such a vacancy; the states are ``dopant`` and ``dopant+vacancy/0|1|2``. Empty for none.
    exponent
        Power of Z that intensity goes by; depends on the detector's inner angle.
    """

    name: str
    lattice_constant_nm: float
    columns: tuple[tuple[int, ...], tuple[int, ...]]
    readings: tuple[Reading, ...]
    dopant: str = ""
    vacancy: str = ""
    literature: str = field(default="", repr=False)
    exponent: float = Z_EXPONENT

    def __hash__(self) -> int:
        """By the name alone: what is kept per crystal is looked up many times a frame."""
        return hash(self.name)

    def host_intensity(self, sublattice: int) -> float:
        """Intensity of the undisturbed column, in units of sublattice 0; 0 for the empty site."""
        if sublattice == EMPTY_SITE:
            return 0.0
        return self._relative(self.columns[sublattice])

    def reading_intensity(self, reading: Reading) -> float:
        """Intensity of a defect's column, in units of the host column of sublattice 0."""
        return self._relative(reading.atoms)

    def _relative(self, atoms: tuple[int, ...]) -> float:
        unit = column_intensity(self.columns[0], self.exponent)
        return column_intensity(atoms, self.exponent) / unit

    def without(self, species: Iterable[str]) -> Crystal:
        """Give the same crystal with none of these species in it; names of others change nothing.

        One whose vacancy, or dopant, is left out has no states either.
        """
        left = frozenset(species)
        readings = tuple(r for r in self.readings if r.species not in left)
        if left & {self.dopant, self.vacancy}:
            return replace(self, readings=readings, dopant="", vacancy="")
        return replace(self, readings=readings)

    @property
    def states(self) -> tuple[str, ...]:
        """States of the dopant, in the order of the transition matrix."""
        if not self.dopant:
            return ()
        return (self.dopant, *(f"{self.dopant}+{self.vacancy}/{k}" for k in range(3)))


_W, _MO, _S, _C, _SI, _SE, _V = 74, 42, 16, 6, 14, 34, 23

CRYSTALS: dict[str, Crystal] = {
    crystal.name: crystal
    for crystal in (
        Crystal(
            name="WS2",
            lattice_constant_nm=0.3153,
            columns=((_W,), (_S, _S)),
            readings=(
                Reading("MoW", 0, (_MO,)),
                Reading("VW", 0, ()),
                Reading("VS", 1, (_S,)),
                Reading("VS2", 1, ()),
                Reading("adatom", 2, (_W,)),
                Reading("adatom", 1, (_W, _S, _S)),
                Reading("adatom", 0, (_W, _W)),
            ),
            dopant="MoW",
            vacancy="VS",
            literature="Schutte et al., J. Solid State Chem. 70, 207 (1987)",
        ),
        Crystal(
            name="MoS2",
            lattice_constant_nm=0.316,
            columns=((_MO,), (_S, _S)),
            readings=(
                Reading("V@Mo", 0, (_V,)),
                Reading("VMo", 0, ()),
                Reading("VS", 1, (_S,)),
                Reading("VS2", 1, ()),
                Reading("adatom", 2, (_MO,)),
                Reading("adatom", 1, (_MO, _S, _S)),
                Reading("adatom", 0, (_MO, _MO)),
            ),
            dopant="V@Mo",
            vacancy="VS",
            literature="Wakabayashi et al., Phys. Rev. B 12, 659 (1975)",
        ),
        Crystal(
            name="WSe2",
            lattice_constant_nm=0.3282,
            columns=((_W,), (_SE, _SE)),
            readings=(
                Reading("MoW", 0, (_MO,)),
                Reading("VW", 0, ()),
                Reading("VSe", 1, (_SE,)),
                Reading("VSe2", 1, ()),
                Reading("adatom", 2, (_W,)),
            ),
            dopant="MoW",
            vacancy="VSe",
            literature="Schutte et al., J. Solid State Chem. 70, 207 (1987)",
        ),
        Crystal(
            name="graphene",
            lattice_constant_nm=0.246,
            columns=((_C,), (_C,)),
            readings=(
                Reading("SiC", 0, (_SI,)),
                Reading("SiC", 1, (_SI,)),
                Reading("VC", 0, ()),
                Reading("VC", 1, ()),
                Reading("adatom", 2, (_SI,)),
            ),
            literature="Castro Neto et al., Rev. Mod. Phys. 81, 109 (2009)",
        ),
    )
}


def column_share(crystal: Crystal, reading: Reading) -> float:
    """How common a reading is beside the others of its sublattice, before anything is known.

    A column that lost two atoms is `RARER` times as common as one that lost a single one.
    """
    host = len(crystal.columns[reading.sublattice]) if reading.sublattice < EMPTY_SITE else 0
    return RARER ** max(host - len(reading.atoms) - 1, 0)


def crystal_named(name: str) -> Crystal:
    """Look a crystal up by name; raises ValueError that lists the known ones."""
    try:
        return CRYSTALS[name]
    except KeyError:
        known = ", ".join(CRYSTALS)
        raise ValueError(f"crystal {name!r} is not known: use one of {known}") from None
