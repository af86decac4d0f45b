"""Species by Z-contrast, dopant states by their neighbours, and what earlier frames add."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from latticewatch.tracker.dopants import state_likelihood
from latticewatch.tracker.species import (
    FLAT_SHARE,
    HOST_PRIOR,
    LEAST_TOLD,
    UNKNOWN_PRIOR,
    UNKNOWN_RANGE,
    by_species,
    class_posterior,
    fresh_prior,
    host_heights,
    readings,
    single_posterior,
)
from latticewatch_models.crystal import crystal_named

WS2 = crystal_named("WS2")
TABLE = readings(WS2, host_heights(WS2, None), 0.1)


def names(centre, sublattice, told=None, noise=0.02, table=TABLE, probability=0.95):
    n = len(centre)
    site = np.asarray(sublattice)
    prior = fresh_prior(table, told, site, np.full(n, probability))
    posterior = single_posterior(table, prior, np.asarray(centre), np.full(3, noise), np.ones(n))
    assert posterior.sum(axis=1) == pytest.approx(np.ones(n))
    return [table.names[k] for k in by_species(table, posterior).argmax(axis=1)]


@pytest.mark.parametrize("name", ["WS2", "MoS2", "WSe2", "graphene"])
def test_every_reading_is_told_where_the_noise_is_small(name):
    crystal = crystal_named(name)
    table = readings(crystal, host_heights(crystal, None), 0.1)
    centre = [crystal.reading_intensity(r) for r in crystal.readings]
    found = names(centre, [r.sublattice for r in crystal.readings], noise=0.005, table=table)
    assert found == [r.species for r in crystal.readings]


def test_host_like_and_outlandish_columns_are_unknown():
    assert names([1.0, 0.148, 3.2], [0, 1, 0], noise=0.01) == ["unknown"] * 3


def test_measured_host_height_rescales_what_is_expected_of_vacancies():
    table = readings(WS2, host_heights(WS2, 0.3), 0.1)
    assert names([0.15], [1], table=table) == ["VS"]
    assert names([0.15], [1]) == ["unknown"]  # the host itself, without that calibration


def test_a_class_that_mixes_species_does_not_mislabel_clear_single_defects():
    told = np.zeros((2, 1 + len(TABLE.code)))
    told[:, 1 + TABLE.names.index("MoW")] = 1.0
    assert names([0.382, 0.0], [0, 0], told, noise=0.05) == ["MoW", "VW"]


def test_a_class_decides_where_the_single_measurement_cannot():
    between = float(np.mean([TABLE.expected[2], TABLE.expected[3]]))  # of VS and VS2
    row = {species: np.zeros((1, 1 + len(TABLE.code))) for species in ("VS", "VS2")}
    for species, told in row.items():
        told[0, 1 + TABLE.names.index(species)] = 1.0
        assert names([between], [1], told, noise=0.05) == [species]


def test_class_posterior_reads_site_and_intensity():
    shares = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.1, 0.9]])
    mean = np.array([[0.38, np.nan, np.nan], [np.nan, 0.075, np.nan], [np.nan, 1.1, 1.0]])
    error = np.full((3, 3), 0.003)
    posterior = by_species(TABLE, class_posterior(TABLE, shares, mean, error, error))
    best = [TABLE.names[k] for k in posterior.argmax(axis=1)]
    assert best == ["MoW", "VS", "adatom"]
    assert posterior.sum(axis=1) == pytest.approx(np.ones(3))


def test_vacancies_that_noise_made_fainter_are_not_taken_for_double_ones():
    """Columns reported for being dark: N(0.074, 0.037) below 0.06, whose mean is 0.035."""
    rng = np.random.default_rng(3)
    dark = rng.normal(0.074, 0.037, 4000)
    dark = dark[dark < 0.06]
    shares, none = np.array([[0.0, 1.0, 0.0]]), np.nan
    moments = [np.array([[none, v, none]]) for v in (dark.mean(), 0.001, dark.std())]
    told = by_species(TABLE, class_posterior(TABLE, shares, *moments))[0]
    assert told[TABLE.names.index("VS")] > 2 * told[TABLE.names.index("VS2")]
    # at a high dose nothing is in doubt
    clear = [np.array([[none, v, none]]) for v in (0.0, 0.001, 0.01)]
    told = by_species(TABLE, class_posterior(TABLE, shares, *clear))[0]
    assert told[TABLE.names.index("VS2")] > 0.9


def by_bayes(table, told, site, probability, centre, noise, weight):
    """Posterior of one detection, entry by entry."""
    here = [e for e in range(len(table.code)) if table.sublattice[e] == site]
    defects = [e for e in here if not table.host[e]]
    flat = {e: table.share[e] / max(sum(table.share[i] for i in defects), 1.0) for e in defects}
    mass = 0.0 if told is None else sum(told[1 + e] for e in defects)
    host = min(max(1.0 - probability, HOST_PRIOR[0]), HOST_PRIOR[1])
    joint = np.zeros(1 + len(table.code))
    joint[0] = UNKNOWN_PRIOR * (1.0 / UNKNOWN_RANGE) ** weight
    heights = table.expected[table.host]
    order = np.argsort(heights)
    for e in here:
        prior = host
        if e in defects:
            mixed = flat[e]
            if told is not None:
                share = told[1 + e] / mass if mass > LEAST_TOLD else flat[e]
                mixed = FLAT_SHARE * flat[e] + (1 - FLAT_SHARE) * share
            prior = (1 - host - UNKNOWN_PRIOR) * mixed
        variance = np.interp(table.expected[e], heights[order], noise[order] ** 2)
        deviation = np.sqrt(variance + table.error[e] ** 2)
        joint[1 + e] = prior * norm.pdf(centre, table.expected[e], deviation) ** weight
    return joint / joint.sum()


@pytest.mark.parametrize("name", ["WS2", "graphene"])
@given(seed=st.integers(0, 2**32 - 1), with_classes=st.booleans())
@settings(max_examples=20, deadline=None)
def test_single_detections_are_told_by_bayes_rule(name, seed, with_classes):
    crystal, rng, n = crystal_named(name), np.random.default_rng(seed), 12
    table = readings(crystal, host_heights(crystal, rng.uniform(0.1, 1.2)), 0.1)
    site, noise = rng.integers(0, 3, n), rng.uniform(0.01, 0.1, 3)
    centre, probability = rng.uniform(-0.2, 1.5, n).astype(np.float32), rng.random(n)
    weight = rng.uniform(0.1, 1.0, n)
    told = rng.random((n, 1 + len(table.code))) * rng.choice([0.0, 1e-312, 1e-9, 1.0], (n, 1))
    told = told if with_classes else None
    prior = fresh_prior(table, told, site, probability)
    found = single_posterior(table, prior, centre, noise, weight)
    for k in range(n):
        row = None if told is None else told[k]
        expected = by_bayes(table, row, site[k], probability[k], float(centre[k]), noise, weight[k])
        np.testing.assert_allclose(found[k], expected, rtol=1e-9, atol=1e-12)
    named = by_species(table, found)
    for code, species in enumerate(table.names):
        entries = [1 + e for e in np.flatnonzero(table.code == code)]
        entries += [0] if species == "unknown" else []
        np.testing.assert_allclose(named[:, code], found[:, entries].sum(axis=1), atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_classes_are_told_by_bayes_rule_on_each_sublattice(seed):
    rng = np.random.default_rng(seed)
    table = readings(WS2, host_heights(WS2, rng.uniform(0.1, 0.3)), 0.1)
    shares = rng.dirichlet(np.ones(3), 4) * (rng.random((4, 3)) < 0.8)
    mean = np.where(rng.random((4, 3)) < 0.7, rng.uniform(-0.1, 1.2, (4, 3)), np.nan)
    error, spread = rng.uniform(0.001, 0.05, (2, 4, 3))
    found = class_posterior(table, shares, mean, error, spread)
    expected = np.zeros_like(found)
    for k, site in np.ndindex(4, 3):
        if np.isnan(mean[k, site]):
            continue
        here = np.flatnonzero(table.sublattice == site)
        deviation = np.sqrt(error[k, site] ** 2 + spread[k, site] ** 2 + table.error[here] ** 2)
        likelihood = norm.pdf(mean[k, site], table.expected[here], deviation)
        prior = (1 - UNKNOWN_PRIOR) * table.share[here] / table.share[here].sum()
        joint = np.append(UNKNOWN_PRIOR / UNKNOWN_RANGE, prior * likelihood)
        expected[k, np.append(0, 1 + here)] += shares[k, site] * joint / joint.sum()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_state_likelihood_is_the_multivariate_normal_one():
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(0)
    seen, host, vacant = rng.normal(0.12, 0.04, (20, 3)), 0.15, (0.075, 0.0)
    mine = state_likelihood(seen, 0.03, host, vacant, 0.1)
    shared = (0.25 * (host - max(vacant))) ** 2
    covariance = np.eye(3) * (0.03**2 + 0.015**2) + shared
    oracle = np.zeros((20, 4))
    oracle[:, 0] = multivariate_normal(np.full(3, host), covariance).pdf(seen)
    for k in range(3):
        for value in vacant:
            mean = np.full(3, host)
            mean[k] = value
            oracle[:, k + 1] += multivariate_normal(mean, covariance).pdf(seen) / 2
    np.testing.assert_allclose(mine, oracle / mine.max(axis=1, keepdims=True)
                               / oracle.max(axis=1, keepdims=True), rtol=1e-9)  # fmt: skip


def test_an_offset_common_to_all_neighbours_is_no_vacancy():
    lowered = np.full((1, 3), 0.15 - 0.03)
    assert state_likelihood(lowered, 0.01, 0.15, (0.075,), 0.0).argmax() == 0
    lowered[0, 2] -= 0.075
    assert state_likelihood(lowered, 0.01, 0.15, (0.075,), 0.0).argmax() == 3


def test_a_column_that_lacks_all_is_as_quiet_as_an_empty_site():
    """More columns without an atom are named so, where noise goes with the height as it does."""
    rng = np.random.default_rng(3)
    noise = np.array([0.09, 0.036, 0.024])
    centre = 0.024 * rng.standard_normal(4000)
    site = np.ones(4000, int)
    prior = fresh_prior(TABLE, None, site, np.full(4000, 0.95))

    def share(deviation):
        named = by_species(TABLE, single_posterior(TABLE, prior, centre, deviation, np.ones(4000)))
        return (named.argmax(axis=1) == TABLE.names.index("VS2")).mean()

    even = share(np.full(3, 0.036))
    assert share(noise) > even + 0.1
