"""What a rule may speak of: quantities with their units, signs, and series that may change."""

from __future__ import annotations

from dataclasses import dataclass

from latticewatch.tracker.species import species_names
from latticewatch_models.crystal import Crystal

#: First words of the quantities and series that are named by a species or a dopant's state.
POPULATION = "population of"
CHANGE = "change in"


@dataclass(frozen=True)
class Quantity:
    """A number that every frame has.

    Attributes
    ----------
    name
        As it stands in a rule.
    unit
        Of its value; empty for counts and shares.
    meaning
        One line for people.
    share
        It lies between 0 and 1.
    interval
        It comes with a credible interval.
    learnt
        It is read from the tracker's statistics, which costs some milliseconds a frame.
    """

    name: str
    unit: str
    meaning: str
    share: bool = False
    interval: bool = False
    learnt: bool = False


#: By name; the populations come on top, one for each species and state of the crystal.
QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        Quantity("defect_density", "/nm²", "defects of the frame over its area without holes"),
        Quantity("hole_fraction", "", "share of the frame's area that is hole", share=True),
        Quantity("disordered_fraction", "", "share of the area that is disordered", share=True),
        Quantity("crystalline_fraction", "", "share of the area that is crystal", share=True),
        Quantity("dose", "e/Å²", "electron dose of the session so far, lost frames included"),
        Quantity(
            "diffusion", "nm²/s", "coefficient of free vacancies, over the session",
            interval=True, learnt=True,
        ),
        Quantity(
            "agreement", "", "of segmenter and labels, newest checks", share=True, interval=True
        ),
        Quantity("missing_frames", "", "frames of the session that brought no result"),
        Quantity("missing_in_a_row", "", "frames without a result since the last that had one"),
    )
}  # fmt: skip

#: Signs that are there or not, without a number of their own.
SIGNS = {
    "segmenter_disagreement": "segmenter and labels have disagreed for long",
    "lattice_lost": "site numbers began anew: the crystal of the frame does not fit the last one's",
}

#: Series whose change points the tracker reports, as rules call them and as the tracker does.
SERIES = {
    "defect_density": "defect_density_nm2",
    "hole_fraction": "fractions.hole",
    "disordered_fraction": "fractions.disordered",
    "crystalline_fraction": "fractions.crystalline",
    "lattice_constant": "lattice.constant_px",
}


@dataclass(frozen=True)
class Names:
    """Names that a rule may use with one crystal: species and states of its dopant."""

    species: tuple[str, ...] = ()
    states: tuple[str, ...] = ()

    @classmethod
    def of(cls, crystal: Crystal) -> Names:
        """List those of a crystal; the state without a vacancy is called as the dopant itself."""
        species = species_names(crystal)
        return cls(species, tuple(name for name in crystal.states if name not in species))

    @property
    def counted(self) -> tuple[str, ...]:
        """All of which there is a population."""
        return (*self.species, *self.states)

    def series(self) -> dict[str, str]:
        """Series that may change, by the name that a rule has for them."""
        populations = {name: f"populations.{name}" for name in self.species}
        states = {name: f"states.{name}" for name in self.states}
        return {**SERIES, **populations, **states}


def population(name: str) -> Quantity:
    """Give the quantity of one species' or state's count."""
    return Quantity(f"{POPULATION} {name}", "", f"{name} in the frame")
