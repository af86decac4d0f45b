"""The ideal observer of every species: the best that any detector of single frames can do.

He knows the lattice, the probe, the noise and how common each defect is, and looks at one site at a
time, all others being undisturbed. The electrons of each pixel are Poisson distributed about a mean
that he knows for every reading, so their likelihoods and Bayes' rule say all there is to know, and
the best detector is a threshold on the posterior (Barrett and Myers, Foundations of Image Science,
ch. 13 (2004)). The integrals over images are sums over drawn ones. `observer.detectability` takes
the noise of the undisturbed column for all: a W vacancy's own noise is far less, so that it stands
out better than its d' says.

`ideal` looks at a clean crystal, without jitter, drift, film and contamination. `ideal_on` looks at
the very frames that are judged: the electrons of a film and of contamination make noise like any
others. He still knows what nobody can, the mean of every pixel: the contamination's height, its
grain, the shift of every scan line, and every other defect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from judging.counting import SPECIES
from judging.frames import CRYSTAL, SPECIMEN, Condition, Judged, judged
from latticewatch_kernels.lattice import HEXAGONAL_SITES
from latticewatch_models.crystal import CRYSTALS, Reading
from latticewatch_models.imaging import render_columns
from latticewatch_models.microscope import SimulatedFrame
from latticewatch_models.scoring import match
from latticewatch_models.settings import ImagingConfig
from latticewatch_models.view import lattice_of, lattice_vectors

#: Images drawn of each reading, and of each undisturbed site, of which there are most.
_DRAWN, _DRAWN_HOST = 10_000, 40_000
#: Half the side of the image that is looked at, in lattice constants: the probe's core and most of
#: its tail are in it.
_REACH = 0.8

SITES = 3
_SEED = 1


@dataclass(frozen=True)
class Limit:
    """What the ideal observer reaches at one dose.

    Attributes
    ----------
    named_f1
        Best F1 of each species, with the threshold that is best for it.
    f1, precision, recall
        Best F1 over all species, names aside, and what it consists of.
    recall_by_species
        At that threshold.
    curve, species_curves
        Recall and precision at all thresholds: all species, and each.
    """

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
    imaging = condition.imaging(rotation_deg=0.0)
    rng = np.random.default_rng(_SEED)
    parts = [_site_mass(site, imaging, rng) for site in range(SITES)]
    mass, posterior = (np.concatenate(one) for one in zip(*parts, strict=True))
    return limit_of(mass, posterior)


def limit_of(mass: np.ndarray, posterior: np.ndarray) -> Limit:
    """Sum an observer's hits and false alarms over all thresholds.

    Parameters
    ----------
    mass
        (n, 1 + species): how many sites each look stands for, by what is truly there; the
        undisturbed site first.
    posterior
        (n, species): what the observer makes of it.
    """
    total = mass[:, 1:].sum(axis=0)
    recall, precision, f1, order = _sweep(
        mass[:, 1:].sum(axis=1), mass.sum(axis=1), posterior.sum(axis=1)
    )
    best = int(f1.argmax())
    taken = mass[order[: best + 1], 1:].sum(axis=0) / np.maximum(total, 1e-300)
    named = {
        species: _sweep(mass[:, 1 + k], mass.sum(axis=1), posterior[:, k])
        for k, species in enumerate(SPECIES)
    }
    return Limit(
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


def ideal_on(frames: Sequence[SimulatedFrame], condition: Condition) -> Limit:
    """Let the ideal observer look at these frames, one site at a time."""
    imaging = condition.imaging(rotation_deg=0.0)
    parts = [part for frame in frames for part in _looks(frame, imaging)]
    mass, posterior = (np.concatenate(one) for one in zip(*parts, strict=True))
    return limit_of(mass, posterior)


def _looks(
    frame: SimulatedFrame, imaging: ImagingConfig
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Mass and posterior, as `limit_of` wants them, of a frame's sites on each sublattice."""
    truth = judged(frame.truth)
    lattice, detector = frame.truth.lattice, imaging.detector
    electrons = (frame.image.astype(float) - detector.offset) / detector.gain
    for site in range(SITES):
        points, species = told_sites(truth, site)
        here = [r for r in CRYSTALS[CRYSTAL].readings if r.sublattice == site]
        log = np.array(
            [
                _log_posterior(electrons, frame, point, name, here, imaging, lattice.constant)
                for point, name in zip(points, species, strict=True)
            ]
        )
        weight = np.exp(log - log.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        posterior = np.zeros((len(log), len(SPECIES)))
        for k, reading in enumerate(here):
            posterior[:, SPECIES.index(reading.species)] += weight[:, 1 + k]
        mass = species[:, None] == np.array(["", *SPECIES])
        yield mass.astype(float), posterior


def told_sites(truth: Judged, site: int) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, 2) of a sublattice's sites that count, and what is there, '' for the host."""
    lattice = truth.truth.lattice
    high = np.array(truth.truth.shape[::-1], float) - 1.0
    reach = int(np.ceil(np.abs(lattice.to_fractional(np.array([[0.0, 0.0], high]))).max())) + 2
    steps = np.arange(-2 * reach, 2 * reach + 1)
    cells = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    points = lattice.site_positions(cells, np.full(len(cells), site))
    points = points[truth.inside(points)]
    mine, true = match(points, truth.points, 0.5 * truth.reach_px)
    species = np.full(len(points), "", dtype="<U7")
    species[mine] = truth.species[true]
    points[mine] = truth.points[true]
    kept = species != "bound"
    return points[kept], species[kept]


def _log_posterior(
    electrons: np.ndarray,
    frame: SimulatedFrame,
    point: np.ndarray,
    name: str,
    here: list[Reading],
    imaging: ImagingConfig,
    constant: float,
) -> np.ndarray:
    """Unnormalised log posterior (1 + readings,) of one site, the host first."""
    crystal = CRYSTALS[CRYSTAL]
    middle, reach = np.rint(point).astype(int), int(np.ceil(_REACH * constant))
    low = np.maximum(middle - reach, 0)
    high = np.minimum(middle + reach + 1, np.array(electrons.shape[::-1]))
    window = slice(low[1], high[1]), slice(low[0], high[0])
    column = imaging.electrons_per_unit(crystal) * render_columns(
        (int(high[1] - low[1]), int(high[0] - low[0])),
        (point - low)[None],
        np.ones(1),
        imaging.probe,
        frame.row_shift_px[window[0]],
    )
    host = crystal.host_intensity(here[0].sublattice)
    change = np.array([0.0, *(crystal.reading_intensity(r) - host for r in here)])
    prior = np.array([shares(r) for r in here])
    present = change[1 + [r.species for r in here].index(name)] if name else 0.0
    extra = (imaging.detector.read_noise / imaging.detector.gain) ** 2
    means = frame.expected[window] + (change - present)[:, None, None] * column
    means = np.maximum(means, 0.0) + extra
    ratio = np.log(means / means[0])
    log = ((electrons[window] + extra) * ratio - (means - means[0])).sum(axis=(1, 2))
    return np.asarray(log + np.log(np.array([1.0 - prior.sum(), *prior])))


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
    return hits / max(float(total), 1e-300), precision, 2 * hits / (claimed + total), order
