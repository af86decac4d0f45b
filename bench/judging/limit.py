"""The ideal observer of every species: the best that any detector of single frames can do.

He knows the lattice, the probe, the noise and how common each defect is, and looks at one site at a
time, all others being undisturbed. Whatever stands on a site has the probe's shape, so the matched
filter's one number says all there is to know (a sufficient statistic): normal with unit variance,
its mean d' times the sign of the change. Bayes' rule gives the probability of each reading, and
the best detector is a threshold on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from judging.counting import SPECIES
from judging.frames import CRYSTAL, SPECIMEN, Condition
from latticewatch_models.crystal import CRYSTALS, Reading
from latticewatch_models.observer import detectability

#: Step of the statistic's grid and its reach beyond the outermost mean, in standard deviations.
_STEP, _REACH = 0.01, 8.0

_SITES = 3


@dataclass(frozen=True)
class Limit:
    """What the ideal observer reaches at one dose.

    Attributes
    ----------
    separation
        d' of each species on its usual site.
    named_f1
        Best F1 of each species, with the threshold that is best for it.
    f1, precision, recall
        Best F1 over all species, names aside, and what it consists of.
    recall_by_species
        At that threshold.
    curve, species_curves
        Recall and precision at all thresholds: all species, and each.
    """

    separation: dict[str, float]
    named_f1: dict[str, float]
    f1: float
    precision: float
    recall: float
    recall_by_species: dict[str, float]
    curve: tuple[np.ndarray, np.ndarray]
    species_curves: dict[str, tuple[np.ndarray, np.ndarray]]


def shares(reading: Reading) -> float:
    """Share of the sites of its sublattice that hold a reading, in the frames to be judged."""
    adatom_sites = sum(r.species == "adatom" for r in CRYSTALS[CRYSTAL].readings)
    return {
        "MoW": SPECIMEN.dopant_fraction,
        "VW": SPECIMEN.metal_vacancy_fraction,
        "VS": SPECIMEN.vacancy_fraction * (1.0 - SPECIMEN.divacancy_share),
        "VS2": SPECIMEN.vacancy_fraction * SPECIMEN.divacancy_share,
        "adatom": SPECIMEN.adatom_per_cell / adatom_sites,
    }[reading.species]


def ideal(condition: Condition) -> Limit:
    """Integrate the ideal observer's hits and false alarms over all thresholds."""
    crystal = CRYSTALS[CRYSTAL]
    imaging = condition.imaging(rotation_deg=0.0)
    mass, separation = [], {}
    for site in range(_SITES):
        here = [r for r in crystal.readings if r.sublattice == site]
        distance = np.array([detectability(crystal, r, imaging) for r in here])
        change = [crystal.reading_intensity(r) - crystal.host_intensity(site) for r in here]
        mean = distance * np.sign(change)
        for reading, d in zip(here, distance, strict=True):
            separation.setdefault(reading.species, float(d))
        mass.append(_site_mass(here, mean))
    table = np.concatenate(mass)
    defects = table[:, 1:].sum(axis=1)
    recall, precision, f1, order = _sweep(defects, table[:, 0] + defects)
    best = int(f1.argmax())
    taken = table[order[: best + 1], 1:].sum(axis=0) / table[:, 1:].sum(axis=0)
    named = {
        species: _sweep(table[:, 1 + k], table.sum(axis=1)) for k, species in enumerate(SPECIES)
    }
    return Limit(
        separation,
        {species: float(swept[2].max()) for species, swept in named.items()},
        float(f1[best]),
        float(precision[best]),
        float(recall[best]),
        dict(zip(SPECIES, taken.tolist(), strict=True)),
        (recall, precision),
        {species: swept[:2] for species, swept in named.items()},
    )


def _site_mass(here: list[Reading], mean: np.ndarray) -> np.ndarray:
    """Probability, per cell, of each grid value with the host (column 0) and each of `SPECIES`."""
    grid = np.arange(min(0.0, *mean) - _REACH, max(0.0, *mean) + _REACH, _STEP)
    mass = np.zeros((len(grid), 1 + len(SPECIES)))
    rest = 1.0
    for reading, centre in zip(here, mean, strict=True):
        share = shares(reading)
        mass[:, 1 + SPECIES.index(reading.species)] += share * norm.pdf(grid - centre) * _STEP
        rest -= share
    mass[:, 0] = rest * norm.pdf(grid) * _STEP
    return mass


def _sweep(
    wanted: np.ndarray, whole: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Recall, precision and F1 by falling posterior, and the order of the grid values."""
    posterior = wanted / np.maximum(whole, 1e-300)
    order = np.argsort(-posterior, kind="stable")
    hits, claimed = np.cumsum(wanted[order]), np.cumsum(whole[order])
    total = wanted.sum()
    precision = hits / np.maximum(claimed, 1e-300)
    return hits / total, precision, 2 * hits / (claimed + total), order
