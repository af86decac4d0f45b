"""Rates behind a transition matrix, and mean stays with those that are cut off."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats
from scipy.linalg import expm, logm

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from estimating.transitions import judge_dwells, judge_rates
from simulated_labels import MATRICES, RATES, Movie, likelihoods, states_of, words_of

from latticewatch.tracker import inferred, rates

TINY = np.diag(np.full(16, 1e-8))
NAMES = ("a", "b", "c", "d")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.001, 0.4), min_size=12, max_size=12))
def test_rates_are_the_matrix_logarithm(drawn):
    generator = np.zeros((4, 4))
    generator[~np.eye(4, dtype=bool)] = drawn
    generator -= np.diag(generator.sum(axis=1))
    found = rates.generator(expm(generator), TINY)
    assert isinstance(found, rates.Generator)
    assert_allclose(found.rates, generator, atol=1e-7)


def test_variances_are_those_of_small_changes_of_the_matrix():
    rng = np.random.default_rng(0)
    root = 1e-4 * rng.standard_normal((16, 16))
    matrix, covariance = MATRICES["uneven"], root @ root.T
    slope = np.zeros((16, 16))
    for k in range(16):
        change = np.zeros(16)
        change[k] = 1e-5
        change = change.reshape(4, 4)
        slope[:, k] = ((logm(matrix + change) - logm(matrix - change)) / 2e-5).ravel()
    found = rates.generator(matrix, covariance)
    assert_allclose(found.variance.ravel(), np.diag(slope @ covariance @ slope.T), rtol=1e-5)


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        (np.roll(np.eye(4), 1, axis=1) * 0.9 + 0.025, rates.NO_GENERATOR),  # a cycle in one frame
        (np.full((4, 4), 0.25), rates.TOO_FAST),  # forgets all within one
        (MATRICES["published"], rates.NO_GENERATOR),
    ],
)
def test_a_matrix_without_a_process_says_why(matrix, why):
    assert rates.generator(matrix, TINY) == why


def test_a_matrix_whose_eigenvalues_may_be_zero_is_too_fast():
    assert rates.generator(MATRICES["published"], np.diag(np.full(16, 4e-4))) == rates.TOO_FAST


def test_rates_negative_within_their_error_become_zero():
    generator = RATES.copy()
    generator[3, 1], generator[3, 3] = -0.01, -0.39
    found = rates.generator(expm(generator), np.diag(np.full(16, 1e-4)))
    assert found.adjusted
    assert found.rates[3, 1] == 0.0
    assert_allclose(found.rates.sum(axis=1), 0.0, atol=1e-12)
    assert rates.generator(expm(generator), TINY) == rates.NO_GENERATOR


def test_intervals_are_those_of_the_gamma_of_mean_and_variance():
    low, high = rates.interval(np.array([0.2, 0.0]), np.array([0.004, 0.0002]), 0.9)
    assert (low[0], high[0]) == pytest.approx(stats.gamma(10, scale=0.02).interval(0.9))
    assert low[1] == 0.0
    assert high[1] == pytest.approx(stats.gamma(0.5, scale=0.02).ppf(0.95))


def test_rates_cover_the_truth():
    covered, mean, none = judge_rates(Movie(frames=150), 60, 31)
    some = RATES > 0
    assert none == 0
    assert 0.92 <= covered[some].mean() <= 0.98  # 660 intervals: 0.95 +- 0.01
    assert np.abs(mean - RATES)[some].max() < 0.03


def test_rates_are_per_second_and_per_dose_where_these_are_known():
    movie = Movie(10, 80)
    single = likelihoods(states_of(MATRICES["rates"], movie, np.random.default_rng(2)), movie,
                         np.random.default_rng(3))  # fmt: skip
    told = inferred.summary(words_of(single, 2.0, 50.0), NAMES, 0.95)["rates"]
    assert (told["frame_s"], told["frame_dose_e_per_A2"], told["reason"]) == (2.0, 50.0, None)
    for key in ("rates", "low", "high"):
        seconds, dose = np.array(told["per_s"][key]), np.array(told["per_dose"][key])
        assert_allclose(2.0 * seconds, 50.0 * dose)
    assert inferred.summary(words_of(single), NAMES, 0.95)["rates"]["per_dose"] is None


def test_stays_that_are_cut_off_do_not_shorten_the_mean():
    told = judge_dwells(MATRICES["uneven"], Movie(frames=30, error=0.0), 100, 41)
    assert_allclose(told["exposure"], told["truth"], rtol=0.06)
    assert (told["completed"] < 0.9 * told["truth"]).all()
    assert told["completed"][0] < 0.5 * told["truth"][0]
    assert 0.92 <= told["covered"].mean() <= 0.98  # 400 intervals: 0.95 +- 0.01
