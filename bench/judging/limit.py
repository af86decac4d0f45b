"""The ideal observer of every species: the best that any detector of single frames can do.

He knows the lattice, the probe, the noise and how common each defect is, and looks at one site at a
time, all others being undisturbed. The electrons of each pixel are Poisson distributed about a mean
that he knows for every reading, so their likelihoods and Bayes' rule say all there is to know, and
the best detector is a threshold on the posterior (Barrett and Myers, Foundations of Image Science,
ch. 13 (2004)). The integrals over images are sums over drawn ones. `observer.detectability` takes
the noise of the undisturbed column for all: a W vacancy's own noise is far less, so that it stands
out better than its d' says. Jitter, drift, film and contamination are left out: they only take
away from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from judging.counting import SPECIES
from judging.frames import CRYSTAL, SPECIMEN, Condition
from latticewatch_kernels.lattice import HEXAGONAL_SITES
from latticewatch_models.crystal import CRYSTALS, Reading
from latticewatch_models.imaging import render_columns
from latticewatch_models.observer import detectability
from latticewatch_models.settings import ImagingConfig
from latticewatch_models.view import lattice_of, lattice_vectors

#: Images drawn of each reading, and of each undisturbed site, of which there are most.
_DRAWN, _DRAWN_HOST = 10_000, 40_000
#: Half the side of the image that is looked at, in lattice constants: the probe's core and most of
#: its tail are in it.
_REACH = 0.8

_SITES = 3
_SEED = 1


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
    rng = np.random.default_rng(_SEED)
    parts = [_site_mass(site, imaging, rng) for site in range(_SITES)]
    mass, posterior = (np.concatenate(one) for one in zip(*parts, strict=True))
    separation: dict[str, float] = {}
    for reading in crystal.readings:
        separation.setdefault(reading.species, detectability(crystal, reading, imaging))
    total = mass[:, 1:].sum(axis=0)
    recall, precision, f1, order = _sweep(
        mass[:, 1:].sum(axis=1), mass.sum(axis=1), posterior.sum(axis=1)
    )
    best = int(f1.argmax())
    taken = mass[order[: best + 1], 1:].sum(axis=0) / total
    named = {
        species: _sweep(mass[:, 1 + k], mass.sum(axis=1), posterior[:, k])
        for k, species in enumerate(SPECIES)
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


def _site_mass(
    site: int, imaging: ImagingConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw images of one sublattice's sites.

    Returns
    -------
    mass
        (n, 1 + species): what share of a cell's sites each image stands for, under the reading it
        was drawn of; the undisturbed site first.
    posterior
        (n, species): probability of each species, given the image.
    """
    here = [r for r in CRYSTALS[CRYSTAL].readings if r.sublattice == site]
    prior = np.array([shares(r) for r in here])
    prior = np.concatenate([[1.0 - prior.sum()], prior])
    means = _means(site, here, imaging)
    column = [0, *(1 + SPECIES.index(r.species) for r in here)]
    masses, logs = [], []
    for k, mean in enumerate(means):
        number = _DRAWN if k else _DRAWN_HOST
        electrons = rng.poisson(mean, (number, mean.size)).astype(np.float32)
        # what all readings share cancels, so only ratios to the undisturbed site are summed
        ratio = np.log(means / means[0]).astype(np.float32)
        logs.append(electrons @ ratio.T - (means - means[0]).sum(axis=1) + np.log(prior))
        mass = np.zeros((number, 1 + len(SPECIES)))
        mass[:, column[k]] = prior[k] / number
        masses.append(mass)
    log = np.concatenate(logs)
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    posterior = np.zeros((len(log), 1 + len(SPECIES)))
    for k, target in enumerate(column):
        posterior[:, target] += weight[:, k]
    return np.concatenate(masses), posterior[:, 1:]


def _means(site: int, here: list[Reading], imaging: ImagingConfig) -> np.ndarray:
    """Mean electrons of the pixels around a site, undisturbed first, (1 + readings, pixels)."""
    crystal = CRYSTALS[CRYSTAL]
    vectors = lattice_vectors(crystal, imaging.pixel_size_nm, imaging.rotation_deg)
    half = int(np.ceil(_REACH * crystal.lattice_constant_nm / imaging.pixel_size_nm))
    shape = (2 * half + 1, 2 * half + 1)
    place = np.array([[float(half), float(half)]])
    lattice = lattice_of(vectors, place[0] - vectors @ HEXAGONAL_SITES[site], crystal)
    steps = np.arange(-6, 7)
    cells = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    unit = imaging.electrons_per_unit(crystal)
    host = np.zeros(shape)
    for other in (0, 1):
        points = lattice.site_positions(cells, np.full(len(cells), other))
        weight = np.full(len(cells), crystal.host_intensity(other))
        host += unit * render_columns(shape, points, weight, imaging.probe)
    column = unit * render_columns(shape, place, np.ones(1), imaging.probe)
    change = [crystal.reading_intensity(r) - crystal.host_intensity(site) for r in here]
    # read noise as so many more electrons, of which only the noise is seen
    extra = (imaging.detector.read_noise / imaging.detector.gain) ** 2
    means = host + np.array([0.0, *change])[:, None, None] * column
    return np.maximum(means, 0.0).reshape(len(change) + 1, -1) + extra


def _sweep(
    wanted: np.ndarray, whole: np.ndarray, posterior: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Recall, precision and F1 by falling posterior, and the order of the images."""
    order = np.argsort(-posterior, kind="stable")
    hits, claimed = np.cumsum(wanted[order]), np.cumsum(whole[order])
    total = wanted.sum()
    precision = hits / np.maximum(claimed, 1e-300)
    return hits / total, precision, 2 * hits / (claimed + total), order
