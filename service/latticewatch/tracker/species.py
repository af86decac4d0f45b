"""What a class and a single defect are: column intensity against Z-contrast, by Bayes' rule.

Expected intensities follow the crystal's readings (about Z^1.7, summed over a column), with
sublattice 1 rescaled by what its host columns really measure, since probe tails and background
raise or lower a light column as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

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
#: Bounds to the prior that the site is an undisturbed column, 1 - the segmenter's probability:
#: a network's probability is no better calibrated than this.
HOST_PRIOR = (0.05, 0.6)
#: Least host height of sublattice 1, in host columns of sublattice 0, that can calibrate anything.
LEAST_HEIGHT = 0.01


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
    share
        How common each is beside the others of its sublattice, before anything is known.
    """

    names: tuple[str, ...]
    code: np.ndarray
    sublattice: np.ndarray
    expected: np.ndarray
    error: np.ndarray
    host: np.ndarray
    share: np.ndarray


def species_names(crystal: Crystal) -> tuple[str, ...]:
    """Species of a crystal in the order of their codes, ``hole_edge`` and ``unknown`` last."""
    listed = dict.fromkeys(reading.species for reading in crystal.readings)
    return (*listed, HOLE_EDGE, UNKNOWN)


def one_of(species: np.ndarray, wanted: tuple[int, ...] | list[int]) -> np.ndarray:
    """Whether each species code is one of those wanted; codes count from 0."""
    table = np.zeros(np.iinfo(np.int8).max + 1, bool)
    table[list(wanted)] = True
    return np.asarray(table[species])


def host_heights(crystal: Crystal, measured: float | None) -> np.ndarray:
    """Intensity (3,) of undisturbed columns: 1, the measured sublattice 1 (or Z^1.7), 0."""
    second = crystal.host_intensity(1)
    if measured is not None and measured > LEAST_HEIGHT and second > 0:
        second = measured
    return np.array([1.0, second, 0.0])


def readings(crystal: Crystal, hosts: np.ndarray, systematic: float) -> Readings:
    """List what may stand on each site, with expected intensities for these host heights."""
    names = species_names(crystal)
    code, sublattice, expected, share = [], [], [], []
    for reading in crystal.readings:
        share.append(column_share(crystal, reading))
        value = crystal.reading_intensity(reading)
        if reading.sublattice == 1:
            # Scale what is left of the host column; what an adatom adds on top is a metal atom,
            # whose height is known in units of sublattice 0.
            host = crystal.host_intensity(1)
            value = min(value, host) * hosts[1] / host + max(value - host, 0.0)
        code.append(names.index(reading.species))
        sublattice.append(reading.sublattice)
        expected.append(value)
    for site in range(3):
        code.append(names.index(UNKNOWN))
        sublattice.append(site)
        expected.append(hosts[site])
        share.append(1.0)
    where, mean = np.array(sublattice), np.array(expected)
    scale = np.hypot(systematic * np.where(where == 2, 1.0, hosts[where]), systematic * mean)
    host_entry = np.arange(len(code)) >= len(crystal.readings)
    return Readings(names, np.array(code), where, mean, scale, host_entry, np.array(share))


def _normal(x: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    with np.errstate(under="ignore"):
        return np.asarray(
            np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
        )


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
    result = np.zeros((len(shares), 1 + len(table.code)))
    for site in range(3):
        here = table.sublattice == site
        off = np.hypot(error[:, site, None], spread[:, site, None])
        deviation = np.hypot(off, table.error[here])
        likelihood = _normal(mean[:, site, None], table.expected[here], deviation)
        joint = np.zeros_like(result)
        joint[:, 0] = UNKNOWN_PRIOR / UNKNOWN_RANGE
        prior = table.share[here] / table.share[here].sum()
        joint[:, 1:][:, here] = (1 - UNKNOWN_PRIOR) * prior * likelihood
        known = np.isfinite(mean[:, site]) & (shares[:, site] > 0)
        posterior = joint[known] / joint[known].sum(axis=1, keepdims=True)
        result[known] += shares[known, site, None] * posterior
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
    here = table.sublattice[None, :] == sublattice[:, None]
    defect = here & ~table.host
    flat = np.where(defect, table.share, 0.0)
    flat /= np.maximum(flat.sum(axis=1, keepdims=True), 1.0)
    mixed = flat
    if told is not None:
        share = np.where(defect, told[:, 1:], 0.0)
        mass = share.sum(axis=1, keepdims=True)
        share = np.where(mass > 0, share / np.maximum(mass, 1e-300), flat)
        mixed = FLAT_SHARE * flat + (1 - FLAT_SHARE) * share
    host = np.clip(1.0 - probability, *HOST_PRIOR)[:, None]
    weight = np.where(table.host, host, (1 - host - UNKNOWN_PRIOR) * mixed) * here
    return np.hstack([np.full((len(probability), 1), UNKNOWN_PRIOR), weight])


def single_posterior(
    table: Readings, prior: np.ndarray, centre: np.ndarray, noise: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Posterior (n, 1 + entries) of single detections from their own column intensity.

    `centre` (n,) are the measured intensities, `noise` (3,) their standard deviation by sublattice,
    to which the systematic error of each expected intensity is added in quadrature. `weight` (n,)
    is the power to which the likelihood counts.
    """
    deviation = np.hypot(_noise_of_entries(table, noise), table.error)[None, :]
    likelihood = _normal(np.asarray(centre, float)[:, None], table.expected[None, :], deviation)
    unknown = np.full((len(centre), 1), 1.0 / UNKNOWN_RANGE)
    joint = prior * np.hstack([unknown, likelihood]) ** weight[:, None]
    return np.asarray(joint / joint.sum(axis=1, keepdims=True))


def _noise_of_entries(table: Readings, noise: np.ndarray) -> np.ndarray:
    """Give the standard deviation (entries,) of a column's intensity, were it that entry's.

    Counting noise goes with the electrons counted: its variance between the heights of the three
    undisturbed sites is interpolated. A column that lacks all is as quiet as an empty site.
    """
    hosts = np.array([table.expected[table.host & (table.sublattice == k)][0] for k in range(3)])
    rising = np.argsort(hosts)
    variance = np.maximum(np.asarray(noise, float), 1e-6)[rising] ** 2
    return np.asarray(np.sqrt(np.interp(table.expected, hosts[rising], variance)))


def by_species(table: Readings, posterior: np.ndarray) -> np.ndarray:
    """Sum a posterior (n, 1 + entries) over entries of one name: (n, species)."""
    result = np.zeros((len(posterior), len(table.names)))
    np.add.at(result.T, table.code, posterior[:, 1:].T)
    result[:, table.names.index(UNKNOWN)] += posterior[:, 0]
    return result
