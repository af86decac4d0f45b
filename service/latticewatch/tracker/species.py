"""What a class and a single defect are: column intensity against Z-contrast, by Bayes' rule.

Expected intensities follow the crystal's readings (about Z^1.7, summed over a column), with
sublattice 1 rescaled by what its host columns really measure, since probe tails and background
raise or lower a light column as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from latticewatch_models.crystal import Crystal, column_share

HOLE_EDGE, UNKNOWN = "hole_edge", "unknown"

#: Density of "something not on the list": flat over -0.5 to 3 host columns, beyond which no column
#: of any crystal lies.
UNKNOWN_RANGE = 3.5
#: Prior share of such things.
UNKNOWN_PRIOR = 0.05
#: A class's reading weighs in with a flat prior mixed to it in this share, so that a class that
#: holds two species cannot overrule a clear measurement.
FLAT_SHARE = 0.3
#: Least that classes say of a sublattice's defects, in all, to be heeded: far above the least
#: number whose inverse is one.
LEAST_TOLD = 1e-300
#: Bounds to the prior that the site is an undisturbed column, 1 - the segmenter's probability:
#: a network's probability is no better calibrated than this.
HOST_PRIOR = (0.05, 0.6)
#: Least host height of sublattice 1, in host columns of sublattice 0, that can calibrate anything.
LEAST_HEIGHT = 0.01
#: Numbers of the sublattices.
SITES = np.arange(3)


@dataclass(frozen=True)
class Readings:
    """What a site may hold, as arrays; one entry a reading, the three hosts last.

    Attributes
    ----------
    names
        Species names, in the order of the codes.
    code
        Species code of each entry; hosts have that of ``unknown``: a site that looks undisturbed
        although the segmenter marked it.
    sublattice, expected, error
        Site, expected intensity and its systematic standard deviation, in host columns.
    host
        True for the three undisturbed columns.
    share, prior
        How common each is beside the others of its sublattice, before anything is known; and as a
        probability that leaves `UNKNOWN_PRIOR`.
    site
        (entries, 3), 1.0 at the entry's sublattice.
    flat
        (1 + entries, 3), `share` of "unknown" and of each entry among the defects that may stand on
        a sublattice: 0 for the former, for hosts and for those of other sublattices.
    named
        (1 + entries, species), 1.0 where "unknown", or an entry, is of that name.
    """

    names: tuple[str, ...]
    code: np.ndarray
    sublattice: np.ndarray
    expected: np.ndarray
    error: np.ndarray
    host: np.ndarray
    share: np.ndarray
    prior: np.ndarray
    site: np.ndarray
    flat: np.ndarray
    named: np.ndarray


@lru_cache(maxsize=16)
def species_names(crystal: Crystal) -> tuple[str, ...]:
    """Species of a crystal in the order of their codes, ``hole_edge`` and ``unknown`` last."""
    listed = dict.fromkeys(reading.species for reading in crystal.readings)
    return (*listed, HOLE_EDGE, UNKNOWN)


def one_of(species: np.ndarray, wanted: tuple[int, ...] | list[int]) -> np.ndarray:
    """Whether each species code is one of those wanted; codes count from 0."""
    return np.asarray(_wanted(tuple(wanted)).take(species))


@lru_cache(maxsize=64)
def _wanted(codes: tuple[int, ...]) -> np.ndarray:
    """Whether each code that a species may have is one of these."""
    table = np.zeros(np.iinfo(np.int8).max + 1, bool)
    table[list(codes)] = True
    return table


def host_heights(crystal: Crystal, measured: float | None) -> np.ndarray:
    """Intensity (3,) of undisturbed columns: 1, the measured sublattice 1 (or Z^1.7), 0."""
    second = crystal.host_intensity(1)
    if measured is not None and measured > LEAST_HEIGHT and second > 0:
        second = measured
    return np.array([1.0, second, 0.0])


@lru_cache(maxsize=16)
def _listed(crystal: Crystal) -> tuple[Readings, np.ndarray, np.ndarray]:
    """List what may stand on each site of a crystal, hosts last; intensities are still to come.

    Those expected are the second result and, times the host height of sublattice 1, which varies
    with the imaging, the third.
    """
    names, second, listed = species_names(crystal), crystal.host_intensity(1), crystal.readings
    code = [names.index(reading.species) for reading in listed] + [names.index(UNKNOWN)] * 3
    where = np.array([reading.sublattice for reading in listed] + [0, 1, 2])
    value = np.array([crystal.reading_intensity(reading) for reading in listed] + [1.0, second, 0])
    # What is left of the host column goes with it; what an adatom adds on top is a metal atom,
    # whose height is known in units of sublattice 0.
    left = np.minimum(value, second) * (where == 1)
    host = np.arange(len(code)) >= len(listed)
    share = np.array([column_share(crystal, reading) for reading in listed] + [1.0] * 3)
    site, named = np.eye(3)[where], np.eye(len(names))[[names.index(UNKNOWN), *code]]
    prior = (1 - UNKNOWN_PRIOR) * share / (share @ site)[where]
    flat = np.vstack([np.zeros(3), (share * ~host)[:, None] * site])
    flat /= np.maximum(flat.sum(axis=0), 1.0)
    blank = np.zeros(len(code))
    kinds = (np.array(code), where, blank, blank, host, share, prior)
    table = Readings(names, *kinds, site, flat, named)
    return table, value - left, left / (second or 1.0)


def readings(crystal: Crystal, hosts: np.ndarray, systematic: float) -> Readings:
    """List what may stand on each site, with expected intensities for these host heights."""
    table, fixed, of_host = _listed(crystal)
    mean = fixed + of_host * hosts[1]
    unit = np.where(table.sublattice == 1, hosts[1], 1.0)
    return replace(table, expected=mean, error=systematic * np.sqrt(unit**2 + mean**2))


def class_posterior(
    table: Readings, shares: np.ndarray, mean: np.ndarray, error: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    """Posterior over readings of each class at each sublattice.

    Where columns are faint, members of a class are those that noise made fainter still, so that
    their mean lies off what they are: it is trusted no further than the members' own spread.

    Parameters
    ----------
    table
        Readings.
    shares
        (K, 3), how a class's members spread over sublattices.
    mean, error
        (K, 3), mean column intensity there and its standard error; NaN mean where there is none.
    spread
        (K, 3), standard deviation of the members' intensity there.

    Returns
    -------
    ndarray
        (K, 1 + entries): probability of "unknown", then of each reading; a class's row is summed
        over sublattices by its shares.
    """
    where = table.sublattice
    variance = (error**2 + spread**2)[:, where] + table.error**2
    known = np.isfinite(mean) & (shares > 0)
    likelihood = np.exp(-0.5 * (mean[:, where] - table.expected) ** 2 / variance)
    likelihood /= np.sqrt(2 * np.pi * variance)
    joint = np.where(known[:, where], table.prior * likelihood, 0.0)
    unknown = UNKNOWN_PRIOR / UNKNOWN_RANGE
    total = unknown + joint @ table.site
    factor = np.where(known, shares, 0.0) / total
    result = np.empty((len(shares), 1 + len(where)))
    result[:, 0] = unknown * factor.sum(axis=1)
    result[:, 1:] = joint * factor[:, where]
    return result


def fresh_prior(
    table: Readings, told: np.ndarray | None, sublattice: np.ndarray, probability: np.ndarray
) -> np.ndarray:
    """Prior (n, 1 + entries) of detections without a past: "unknown", then each reading.

    Parameters
    ----------
    told
        (n, 1 + entries) from the classes (responsibility times class posterior), or None before
        the mixture is known.
    sublattice, probability
        (n,) site, and the segmenter's probability that it is a defect.
    """
    # Here and below entry by entry in memory: detections are many, entries are few.
    prior = table.flat.take(sublattice, axis=1)
    if told is not None:
        share = told.T * (prior > 0)
        mass = share.sum(axis=0)
        nothing = mass < LEAST_TOLD
        if nothing.any():
            share[:, nothing], mass[nothing] = prior[:, nothing], 1.0
        share *= (1 - FLAT_SHARE) / mass
        prior *= FLAT_SHARE
        prior += share
    host = np.minimum(np.maximum(1.0 - probability, HOST_PRIOR[0]), HOST_PRIOR[1])
    prior *= (1 - UNKNOWN_PRIOR) - host
    prior[0] = UNKNOWN_PRIOR
    prior[-3:] = host * (SITES[:, None] == sublattice)
    return prior.T


def single_posterior(
    table: Readings, prior: np.ndarray, centre: np.ndarray, noise: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Posterior (n, 1 + entries) of single detections from their own column intensity.

    `centre` (n,) are the measured intensities, `noise` (3,) their standard deviation by sublattice,
    to which the systematic error of each expected intensity is added in quadrature. `weight` (n,)
    is the power to which the likelihood counts.
    """
    precision = 1.0 / (_noise_variance(table, noise) + table.error**2)
    # Logarithms are parabolas of the intensity, so that one product gives those of all entries.
    parabola = np.zeros((prior.shape[1], 3))
    parabola[0, 0] = -np.log(UNKNOWN_RANGE)
    parabola[1:, 2] = -0.5 * precision
    parabola[1:, 1] = table.expected * precision
    parabola[1:, 0] = 0.5 * (np.log(precision / (2 * np.pi)) - table.expected * parabola[1:, 1])
    powers = np.empty((3, len(centre)))
    powers[0] = weight
    np.multiply(weight, centre, out=powers[1])
    np.multiply(powers[1], centre, out=powers[2])
    joint = parabola @ powers
    np.exp(joint, out=joint)
    joint *= prior.T
    joint /= joint.sum(axis=0)
    return joint.T


def _noise_variance(table: Readings, noise: np.ndarray) -> np.ndarray:
    """Give the variance (entries,) of a column's intensity by noise, were it that entry's.

    Counting noise goes with the electrons counted: its variance between the heights of the three
    undisturbed sites is interpolated. A column that lacks all is as quiet as an empty site.
    """
    hosts = table.expected[-3:]
    rising = np.argsort(hosts)
    variance = np.maximum(np.asarray(noise, float), 1e-6)[rising] ** 2
    return np.asarray(np.interp(table.expected, hosts[rising], variance))


def by_species(table: Readings, posterior: np.ndarray) -> np.ndarray:
    """Sum a posterior (n, 1 + entries) over entries of one name: (n, species)."""
    return np.asarray(posterior @ table.named)
