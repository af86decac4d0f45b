"""The memory test: noise is not taken for kinetics, nor kinetics for noise."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2_contingency, random_table

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from estimating.transitions import NOISE, judge_memory
from simulated_labels import MATRICES, Movie, words_of

from latticewatch.tracker import inferred
from latticewatch.tracker.dependence import dependence, pearson_moments
from latticewatch.tracker.words import pairs

NAMES = ("MoW", "MoW+VS/0", "MoW+VS/1", "MoW+VS/2")


@pytest.mark.parametrize(
    ("rows", "columns"), [([3, 4, 5], [2, 6, 4]), ([1, 2, 10, 3], [4, 4, 4, 4]), ([2, 2], [2, 2])]
)
def test_moments_are_those_of_tables_with_these_margins(rows, columns):
    tables = random_table(rows, columns, seed=1).rvs(100_000)
    expected = np.outer(rows, columns) / sum(rows)
    drawn = ((tables - expected) ** 2 / expected).sum(axis=(1, 2))
    mean, variance = pearson_moments(np.array(rows), np.array(columns))
    assert mean == pytest.approx(drawn.mean(), rel=0.01)
    assert variance == pytest.approx(drawn.var(), rel=0.03)


def test_where_counts_are_many_the_p_value_is_that_of_chi_squared():
    table = np.array([[120, 80, 95], [100, 110, 90], [85, 95, 130]])
    assert dependence(table).p_value == pytest.approx(
        chi2_contingency(table, correction=False).pvalue, rel=0.02
    )


def test_bits_are_the_mutual_information_less_its_bias():
    table = np.array([[40, 10], [10, 40]])
    plain = 1 + 0.8 * np.log2(0.8) + 0.2 * np.log2(0.2)
    assert dependence(table).bits == pytest.approx(plain - 1 / (200 * np.log(2)))


@pytest.mark.parametrize(
    "table", [np.zeros((4, 4), int), np.diag([9, 0, 0, 0]), np.diag([1, 1, 1, 0])]
)
def test_too_few_pairs_or_one_label_alone_cannot_be_tested(table):
    told = dependence(table)
    assert told.p_value is None
    assert told.remembers is None


def test_rare_labels_are_not_taken_for_memory():
    """Two pairs out of the ordinary in 3000: chi-squared and moments would fail here."""
    table = np.zeros((4, 4), int)
    table[0, 0], table[0, 1], table[1, 0] = 2998, 1, 1
    assert dependence(table).p_value == 1.0


def test_200_movies_of_noise_and_of_kinetics():
    """The movies as bench/estimating has them, of 30 dopants, 100 frames, a tenth wrong."""
    noise, kinetics = judge_memory(200, 21, Movie(frames=100))
    assert len(noise) == len(NOISE)
    assert len(kinetics) == len(MATRICES)
    shares = [share for _, share, _ in noise]
    assert np.mean(shares) <= 0.05
    assert max(shares) <= 0.05 + 1.96 * 0.0154  # of one kind, 200 movies at 5 %
    assert min(share for _, share, _ in kinetics) >= 0.95


def test_dopants_that_differ_but_never_change_remember_at_every_lag():
    """What the test does not tell from kinetics, and how the published bits show it."""
    rng = np.random.default_rng(3)
    single = np.tile(0.04 + 0.84 * np.eye(4)[rng.integers(0, 4, 30)][:, None], (1, 60, 1))
    told = inferred.summary(words_of(single), NAMES, 0.95)["memory"]
    assert told["p_value"] < 0.001
    assert told["bits_by_lag"] == pytest.approx([told["bits"]] * 3, rel=0.02)


@pytest.mark.parametrize(("noise", "says"), [(True, "not kinetics"), (False, "depends")])
def test_the_verdict_says_plainly_what_the_matrix_is(noise, says):
    rng = np.random.default_rng(4)
    states = rng.integers(0, 4, (30, 60))
    states = states if noise else np.repeat(states[:, ::5], 5, axis=1)
    counts = words_of(0.02 + 0.92 * np.eye(4)[states])
    told = inferred.summary(counts, NAMES, 0.95)["memory"]
    assert says in told["verdict"]
    assert told["pairs"] == pairs(counts, 1).sum() == 30 * 59
