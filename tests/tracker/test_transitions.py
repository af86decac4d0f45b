"""Transition counts by lag, their intervals, and rates, against plain counting and scipy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from latticewatch.tracker import intervals
from latticewatch.tracker.counting import count_states
from latticewatch.tracker.tracks import new_tracks
from latticewatch.tracker.transitions import TransitionCounts, summary


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 3), min_size=12, max_size=12), min_size=1, max_size=6))
def test_incremental_counts_are_those_of_the_whole_history(histories):
    """-1 stands for a frame in which the state was not seen."""
    paths = np.array(histories)
    tracks, counts = new_tracks(np.arange(len(paths))), TransitionCounts.empty(4, 3)
    for frame, states in enumerate(paths.T):
        counts = count_states(counts, tracks, states, frame)
    batch = np.zeros((3, 4, 4), int)
    for path in paths:
        seen = np.flatnonzero(path >= 0)
        for first, second in pairwise(seen):
            if second - first <= 3:
                batch[second - first - 1, path[first], path[second]] += 1
    np.testing.assert_array_equal(counts.counts, batch)


def test_only_stays_watched_from_start_to_end_are_dwells():
    tracks, counts = new_tracks(np.arange(1)), TransitionCounts.empty(4, 3)
    #       first stay began before; 1,1 complete; 2 holds a gap; 3 complete; 0 goes on
    for frame, state in enumerate([0, 0, 1, 1, 2, -1, 2, 3, 0, 0]):
        counts = count_states(counts, tracks, np.array([state]), frame)
    assert counts.dwells.tolist() == [0, 1, 0, 1]
    assert counts.dwell_frames.tolist() == [0, 2, 0, 1]


def test_intervals_are_those_of_the_beta_posterior():
    counts = np.array([[7, 2, 0], [0, 0, 0]])
    mean, low, high = intervals.dirichlet(counts, 0.95)
    for i, j in np.ndindex(counts.shape):
        a = counts[i, j] + 0.5
        oracle = stats.beta(a, counts[i].sum() + 1.5 - a)
        assert mean[i, j] == pytest.approx(oracle.mean())
        assert (low[i, j], high[i, j]) == pytest.approx(oracle.interval(0.95))


def test_rate_interval_is_that_of_the_gamma_posterior():
    value, low, high = intervals.rate(7, 30.0, 0.9)
    assert value == pytest.approx(7 / 30)
    assert (low, high) == pytest.approx(stats.gamma(7.5, scale=1 / 30).interval(0.9))


def test_transition_intervals_cover_the_truth():
    rng = np.random.default_rng(2)
    truth = np.array([[0.9, 0.05, 0.03, 0.02], [0.2, 0.6, 0.1, 0.1],
                      [0.1, 0.1, 0.7, 0.1], [0.25, 0.25, 0.25, 0.25]])  # fmt: skip
    inside = []
    for _ in range(300):
        counts = np.array([rng.multinomial(n, row) for n, row in zip((300, 60, 80, 40), truth)])  # noqa: B905
        _, low, high = intervals.dirichlet(counts, 0.95)
        inside.append((low <= truth) & (truth <= high))
    covered = np.mean(inside)
    assert 0.93 <= covered <= 0.975


def test_a_row_without_counts_has_no_probability():
    told = summary(TransitionCounts.empty(2, 1), ("a", "b"), 0.95)
    assert told["probabilities"] == [[None, None], [None, None]]
    assert told["low"][0][0] < 0.01
    assert told["high"][0][0] > 0.99


def test_time_mean_covers_the_truth_of_a_correlated_series():
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(300):
        noise = rng.normal(size=400)
        x = np.zeros(400)
        x[0] = noise[0] / np.sqrt(1 - 0.7**2)
        for t in range(1, 400):
            x[t] = 0.7 * x[t - 1] + noise[t]
        x += 5.0
        sums = (np.array([v]) for v in (x.sum(), (x**2).sum(), (x[1:] * x[:-1]).sum()))
        _, low, high = intervals.time_mean(400, *sums, 0.95)
        inside += low[0] <= 5.0 <= high[0]
    assert 0.90 <= inside / 300 <= 0.98
