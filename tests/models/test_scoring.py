"""Matching against brute force, counts against hand-counted cases, calibration against its law."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from latticewatch_models.scoring import MATCH_DISTANCE, Score, calibration_error, match


def best_by_exhaustion(a, b, distance):
    """Most pairs within reach, then least sum, over every injection of the smaller set."""
    cost = cdist(a, b)
    if len(a) > len(b):
        cost = cost.T
    best = (0, 0.0)
    for columns in permutations(range(cost.shape[1]), cost.shape[0]):
        gaps = cost[np.arange(cost.shape[0]), columns]
        gaps = gaps[gaps <= distance]
        best = max(best, (len(gaps), -gaps.sum()))
    return best[0], -best[1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5), st.floats(0.5, 6.0))
def test_match_is_the_best_of_all_matchings(seed, n, m, distance):
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0, 8, (n, 2)), rng.uniform(0, 8, (m, 2))
    found, true = match(a, b, distance)
    gaps = np.hypot(*(a[found] - b[true]).T)
    pairs, total = best_by_exhaustion(a, b, distance)
    assert len(gaps) == pairs
    assert gaps.sum() == pytest.approx(total, abs=1e-9)
    assert len(set(found)) == len(found)
    assert len(set(true)) == len(true)


def test_match_equals_plain_assignment_where_everything_is_in_reach():
    rng = np.random.default_rng(5)
    a, b = rng.uniform(0, 10, (40, 2)), rng.uniform(0, 10, (55, 2))
    rows, columns = linear_sum_assignment(cdist(a, b))
    found, true = match(a, b, 100.0)
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_array_equal(true, columns)


def test_empty_sides_match_nothing():
    some = np.array([[1.0, 2.0]])
    for a, b in ((some[:0], some), (some, some[:0]), (some, some + 100)):
        found, true = match(a, b, 3.0)
        assert len(found) == len(true) == 0


def test_match_distance_is_half_of_metal_to_chalcogen():
    from latticewatch_kernels.lattice import HEXAGONAL_SITES

    vectors = np.array([[1.0, -0.5], [0.0, np.sqrt(0.75)]])
    bond = np.linalg.norm(vectors @ HEXAGONAL_SITES[1] - vectors @ np.array([0.0, 1.0]))
    assert pytest.approx(bond / 2) == MATCH_DISTANCE


def test_score_counts_by_label_and_leaves_ignored_ones_out():
    truth = np.array([[10.0, 10.0], [30.0, 10.0], [50.0, 10.0], [70.0, 10.0]])
    labels = np.array(["MoW", "VS", "VS", "edge"])
    ignore = np.array([False, False, False, True])
    detections = np.array([[10.0, 11.0], [31.0, 10.0], [70.0, 10.0], [90.0, 90.0]])
    score = Score()
    score.add(detections, truth, labels, 3.0, np.array(["m", "s", "m", "s"]), ignore)
    assert score.hits == {"MoW": 1, "VS": 1}
    assert score.misses == {"VS": 1}
    assert score.false_alarms == {"s": 1}
    assert score.recall(["VS"]) == 0.5
    assert score.precision(["MoW"], ["m"]) == 1.0
    assert score.precision() == pytest.approx(2 / 3)
    assert score.f1(["VS"], ["s"]) == pytest.approx(0.5)
    assert score.position_error() == pytest.approx(1.0)


def test_calibration_error_sees_honest_and_boastful_claims():
    rng = np.random.default_rng(3)
    p = rng.uniform(0, 1, 200_000)
    honest = rng.uniform(0, 1, p.size) < p
    assert calibration_error(p, honest) < 0.01
    assert calibration_error(np.full(1000, 0.95), np.arange(1000) % 2 == 0) == pytest.approx(0.45)
