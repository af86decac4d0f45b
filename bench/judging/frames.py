"""Simulated frames to judge, tune and train on, by seeds that no training of ours draws."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from latticewatch.scorecard import BORDER, RIM
from latticewatch_models.microscope import ImagingConfig, Microscope, SimulatedFrame, SpecimenConfig
from latticewatch_models.scoring import MATCH_DISTANCE
from latticewatch_models.specimen import BONDS
from latticewatch_models.truth import Truth
from latticewatch_models.validation import FIRST_SEED

#: First seeds, above those of validation, by which models may have been chosen. Training draws its
#: scenes by 62-bit numbers. Test frames, frames on which thresholds are chosen, and frames on which
#: AtomAI is trained never meet.
TEST_SEED, TUNING_SEED, TRAINING_SEED = (FIRST_SEED + k * 100_000_000 for k in (1, 2, 3))

#: Distance between pixels at magnification 1, nm, and pixels along a side of the field of view.
PIXEL_NM, SIDE = 0.03, 256

CRYSTAL = "WS2"

#: As in validation: W vacancies somewhat commoner than by default, so that there are enough of
#: them to count.
SPECIMEN = SpecimenConfig(metal_vacancy_fraction=0.01)

#: Cells from a dopant's cell to the chalcogen site of a bound vacancy, by its direction.
_BOUND_CELLS = np.array(BONDS[(0, 1)])


@dataclass(frozen=True)
class Condition:
    """How a set of frames is acquired.

    Attributes
    ----------
    dose
        Electrons a pixel at magnification 1. The dose per area does not go with magnification.
    magnification
        1 is 0.03 nm a pixel; the field of view stays the same.
    rotation_deg
        Of the lattice; drawn for each frame without.
    """

    dose: float = 1600.0
    magnification: float = 1.0
    rotation_deg: float | None = None

    @property
    def pixel_nm(self) -> float:
        """Distance between pixels."""
        return PIXEL_NM / self.magnification

    def imaging(self, rotation_deg: float) -> ImagingConfig:
        """Give the microscope's settings."""
        return ImagingConfig(
            pixel_size_nm=self.pixel_nm,
            dose_e_per_pixel=self.dose / self.magnification**2,
            rotation_deg=rotation_deg,
            # jitter is set in pixels, but it is the probe that shakes
            jitter_px=ImagingConfig.jitter_px * self.magnification,
        )


@dataclass(frozen=True)
class Judged:
    """The truth of a frame as detectors are held against it.

    Attributes
    ----------
    points, species
        True defects, (n, 2) pixels and (n,).
    counts
        Boolean (n,): those to be found. The others, at the frame's border, on a hole's rim, and
        vacancies bound to a dopant (which the dopant's state tells of), are neither hits nor misses
        and a detection on one is no false alarm.
    reach_px
        Longest distance of a detection from its defect.
    truth
        As simulated.
    """

    points: np.ndarray
    species: np.ndarray
    counts: np.ndarray
    reach_px: float
    truth: Truth = field(repr=False)

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Which points lie so that a false alarm there counts, bool (m,)."""
        lattice = self.truth.lattice
        size = np.array([self.truth.shape[1], self.truth.shape[0]])
        border = BORDER * lattice.constant
        within = ((points >= border) & (points <= size - 1 - border)).all(axis=1)
        return np.asarray(within & ~self.truth.in_hole(points, RIM * lattice.constant))


def acquire(condition: Condition, seed: int, *, contaminated: bool = True) -> SimulatedFrame:
    """One frame; a seed gives the same specimen at every condition, contaminated or not."""
    rotation = condition.rotation_deg
    if rotation is None:
        rotation = float(np.random.default_rng(seed).uniform(-60, 60))
    side = round(SIDE * condition.magnification)
    imaging = condition.imaging(rotation)
    if not contaminated:
        imaging = replace(imaging, contamination=0.0)
    return Microscope(CRYSTAL, (side, side), seed, SPECIMEN, imaging).acquire()


def judged(truth: Truth) -> Judged:
    """Lay down which true defects count."""
    bound = _bound_vacancies(truth)
    points = np.concatenate([truth.points, bound])
    species = np.concatenate([truth.species.astype(str), np.full(len(bound), "bound")])
    everything = Judged(
        points, species, np.ones(len(points), bool), MATCH_DISTANCE * truth.lattice.constant, truth
    )
    counts = everything.inside(points) & (species != "bound")
    return Judged(points, species, counts, everything.reach_px, truth)


def _bound_vacancies(truth: Truth) -> np.ndarray:
    """Positions (m, 2) of the vacancies that dopants hold."""
    holding = np.char.find(truth.state.astype(str), "/") >= 0
    direction = np.array([int(state[-1]) for state in truth.state[holding]], int)
    cells = np.stack([truth.cell_i[holding], truth.cell_j[holding]], axis=-1)
    return truth.lattice.site_positions(
        cells + _BOUND_CELLS[direction], np.ones(len(cells), np.int8)
    )
