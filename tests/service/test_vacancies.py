from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from sklearn.mixture import GaussianMixture

from latticewatch.vacancies import (
    LEAST_THRESHOLD,
    Vacancies,
    best_threshold,
    combine,
    judge_vacancies,
    lacking_shares,
    network_evidence,
    outstanding_columns,
)
from latticewatch_kernels.deviations import Deviations
from latticewatch_models.crystal import CRYSTALS

HOST = 0.15


def columns(values: np.ndarray, error: float) -> Deviations:
    n = len(values)
    cells = np.stack([np.arange(n), np.zeros(n, int)], axis=-1)
    return Deviations(
        cells,
        np.ones(n, int),
        cells * 10.0,
        np.asarray(values, float),
        np.full(n, error),
        np.ones(n),
    )


def drawn(seed: int, share: float, error: float, number: int = 40_000):
    rng = np.random.default_rng(seed)
    vacant = rng.random(number) < share
    values = error * rng.standard_normal(number) - 0.5 * HOST * vacant
    return columns(values, error), vacant


@pytest.mark.parametrize("share", [0.004, 0.01, 0.04])
@pytest.mark.parametrize("separation", [2.0, 3.5])
def test_a_probability_of_p_is_right_in_a_share_p_of_cases(share, separation):
    deviations, vacant = drawn(1, share, 0.5 * HOST / separation)
    found = judge_vacancies(deviations, HOST, (0.5,), evidence=1.0)
    for low, high in ((0.05, 0.2), (0.2, 0.5), (0.5, 0.9)):
        here = (found.probability >= low) & (found.probability < high)
        error = np.sqrt(0.25 / here.sum())
        assert abs(vacant[here].mean() - found.probability[here].mean()) < 3 * error + 0.03


def test_shares_are_those_of_a_mixture_with_known_means():
    deviations, vacant = drawn(2, 0.05, 0.02)
    found = judge_vacancies(deviations, HOST, (0.5,), evidence=1.0)
    assert found.shares[0] == pytest.approx(vacant.mean(), rel=0.1)
    oracle = GaussianMixture(
        2,
        means_init=[[0.0], [-0.075]],
        weights_init=[0.95, 0.05],
        precisions_init=np.full((2, 1, 1), 2500.0),
    ).fit(deviations.deviation[:, None])
    share = oracle.predict_proba(deviations.deviation[:, None])[:, 1]
    assert np.corrcoef(share, found.probability)[0, 1] > 0.99


def test_columns_that_lack_all_are_told_from_those_that_lack_half():
    values = np.concatenate([np.zeros(500), np.full(5, -0.5 * HOST), np.full(5, -HOST)])
    found = judge_vacancies(columns(values, 0.01), HOST)
    assert (found.probability[:500] < 1e-3).all()
    assert (found.probability[500:] > 0.99).all()
    assert found.shares[0] > 0
    assert found.shares[1] > 0


def test_bright_columns_lack_nothing():
    found = judge_vacancies(columns(np.array([0.0, 0.2, -0.075]), 0.02), HOST)
    np.testing.assert_array_equal(found.bright, [False, True, False])
    assert found.probability[1] < 1e-3


def test_other_sublattices_are_not_judged():
    deviations = columns(np.full(4, -0.1), 0.02)
    other = Deviations(
        deviations.cells, np.array([0, 1, 2, 1]), deviations.points, deviations.deviation,
        deviations.error, deviations.level,
    )  # fmt: skip
    assert len(judge_vacancies(other, HOST).probability) == 2


@given(st.lists(st.floats(0.0, 1.0), max_size=60))
def test_the_best_threshold_makes_the_expected_f1_greatest(values):
    p = np.array(values)

    def f1(threshold: float) -> float:
        taken = p[p >= threshold]
        return 2 * taken.sum() / max(len(taken) + p.sum(), 1e-12)

    chosen = best_threshold(p)
    assert chosen >= LEAST_THRESHOLD
    better = [t for t in p if t >= LEAST_THRESHOLD and f1(t) > f1(chosen) + 1e-9]
    # one detection more or less may tie where its probability is the threshold itself
    assert all(abs(f1(t) - f1(chosen)) < 0.02 or len(p) < 4 for t in better)


def test_what_a_column_may_lack_follows_from_the_crystal():
    assert lacking_shares(CRYSTALS["WS2"]) == (0.5, 1.0)
    assert lacking_shares(CRYSTALS["graphene"]) == (1.0,)
    assert lacking_shares(None) == (0.5, 1.0)


def judged_sites() -> Vacancies:
    return Vacancies(
        cells=np.array([[0, 0], [1, 0], [2, 0], [3, 0]]),
        points=np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [30.0, 0.0]]),
        probability=np.array([0.9, 0.05, 0.3, 0.0]),
        bright=np.array([False, False, False, True]),
        shares=np.array([0.01, 0.001]),
        intensity=np.zeros(4),
        ratio=np.zeros((4, 2)),
        odd=np.zeros(4),
    )


def nothing_stands_out():
    return outstanding_columns(columns(np.zeros(3), 0.02))


def test_columns_that_stand_out_are_defects_whatever_the_network_says():
    """Two metal columns, an adatom, a bright and a dark chalcogen column; the last is a vacancy."""
    values = np.array([-0.62, 0.05, 1.0, 0.9, -0.15])
    cells = np.stack([np.arange(5), np.zeros(5, int)], axis=-1)
    found = outstanding_columns(
        Deviations(
            cells, np.array([0, 0, 2, 1, 1]), cells * 10.0, values, np.full(5, 0.03), np.ones(5)
        )
    )
    np.testing.assert_array_equal(found.cells[:, 0], [0, 2, 3])
    assert (found.probability > 0.99).all()
    # the network marked the first one, at a place of its own
    mark = np.array([[1.0, 1.0]]), np.array([0.8])
    sites = np.array([[0, 0]]), np.array([0])
    none = judge_vacancies(columns(np.zeros(0), 0.02), HOST)
    points, _ = combine(mark, sites, none, found, 0.2)
    np.testing.assert_allclose(sorted(points[:, 0]), [1.0, 20.0, 30.0])


def test_five_standard_deviations_are_enough_and_four_are_not():
    values = 0.2 * np.array([4.9, 5.1, -4.9, -5.1])
    other = columns(values, 0.2)
    zero, level = np.zeros(4, int), np.array([1.0, 1.0, 1.0, 1.0])
    metal = Deviations(other.cells, zero, other.points, values, other.error, level)
    assert len(outstanding_columns(metal).cells) == 2
    grains = Deviations(other.cells, zero, other.points, values, other.error, 2.5 * level)
    assert len(outstanding_columns(grains).cells) == 0
    faint = Deviations(other.cells, zero, other.points, 0.5 * values, 0.5 * other.error, level)
    np.testing.assert_array_equal(outstanding_columns(faint).cells[:, 0], [3])


def test_a_judged_site_speaks_for_itself():
    """Marks: on a vacant site, on a sound one, on a bright one, on a metal site."""
    found = (
        np.array([[1.0, 1.0], [11.0, 1.0], [30.5, 0.0], [5.0, 5.0]]),
        np.array([0.6, 0.8, 0.7, 0.95]),
    )
    sites = np.array([[0, 0], [1, 0], [3, 0], [0, 0]]), np.array([1, 1, 1, 0])
    points, probability = combine(found, sites, judged_sites(), nothing_stands_out(), 0.2)
    np.testing.assert_allclose(probability, [0.95, 0.9, 0.7, 0.3])
    np.testing.assert_allclose(points, [[5.0, 5.0], [0.0, 0.0], [30.5, 0.0], [20.0, 0.0]])


def test_nothing_found_is_no_trouble():
    none = np.zeros((0, 2)), np.zeros(0)
    sites = np.zeros((0, 2), int), np.zeros(0, int)
    points, _ = combine(none, sites, judged_sites(), nothing_stands_out(), 0.2)
    assert len(points) == 2
    empty = judge_vacancies(columns(np.zeros(0), 0.02), HOST)
    assert best_threshold(empty.probability) == LEAST_THRESHOLD


def test_evidence_of_a_network_that_knows_nothing_changes_nothing_on_average():
    deviations, _ = drawn(4, 0.01, 0.03, 4000)
    noise = np.random.default_rng(5).normal(-7.0, 1.2, 4000)
    further = network_evidence(noise, deviations, 0.16)
    assert np.exp(further).mean() == pytest.approx(1.0, abs=1e-9)
    assert further.std() == pytest.approx(0.16 * 1.2, rel=0.1)
    plain, with_it = (judge_vacancies(deviations, HOST, (0.5,), 1.0, f) for f in (None, further))
    assert with_it.probability.sum() == pytest.approx(plain.probability.sum(), rel=0.06)
    np.testing.assert_array_equal(network_evidence(noise, deviations, 0.0), 0.0)


def test_a_logit_that_repeats_what_the_column_says_is_no_evidence():
    deviations, _ = drawn(6, 0.01, 0.03, 4000)
    echo = -7.0 - 1.6 * deviations.deviation / deviations.error
    np.testing.assert_allclose(network_evidence(echo, deviations, 0.16), 0.0, atol=1e-6)


def test_independent_evidence_counts_as_a_likelihood_ratio_does():
    """A logit that reads d higher on vacancies, of unit noise, is worth d to the unit."""
    deviations, vacant = drawn(7, 0.02, 0.5 * HOST / 2.3, 60_000)
    logit = np.random.default_rng(8).normal(size=60_000) + 1.0 * vacant
    further = network_evidence(logit, deviations, 1.0)
    plain, both = (judge_vacancies(deviations, HOST, (0.5,), 1.0, f) for f in (None, further))
    for low, high in ((0.1, 0.3), (0.3, 0.6), (0.6, 0.95)):
        here = (both.probability >= low) & (both.probability < high)
        error = np.sqrt(0.25 / here.sum())
        assert abs(vacant[here].mean() - both.probability[here].mean()) < 3 * error + 0.03
    ranks = [average_precision_score(vacant, one.probability) for one in (plain, both)]
    assert ranks[1] > ranks[0] + 0.03


def test_a_power_of_the_likelihood_ratio_claims_no_more_than_there_is():
    """Where vacancies stand out well; without its mean taken off it would be 1.19."""
    deviations, vacant = drawn(9, 0.01, 0.5 * HOST / 3.5, 60_000)
    found = judge_vacancies(deviations, HOST, (0.5,))
    assert found.probability.sum() / vacant.sum() == pytest.approx(1.0, abs=0.1)


def test_columns_are_found_by_their_sites():
    sites = judged_sites()
    cells = np.array([[2, 0], [9, 9], [0, 0], [0, 0], [-1, 0]])
    np.testing.assert_array_equal(sites.find(cells, np.array([1, 1, 1, 0, 1])), [2, -1, 0, -1, -1])
    assert len(sites.find(np.zeros((0, 2), int), np.zeros(0, int))) == 0
