"""One class or two: the refit against scikit-learn's, and what noise alone does."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from latticewatch.tracker.class_watch import SPLIT_GAIN, SPLIT_LOOKS, SPLIT_SEPARATION
from latticewatch.tracker.reservoir import BLOCK, SIZE, Reservoir
from latticewatch.tracker.splitting import divide, look_weights

FLOOR, REPEAT = 1e-6, 0.25


def two_kinds(rng, n=256, distance=6.0, share=0.3, d=6):
    """Descriptors of two kinds under one covariance, along a direction of their own."""
    root = np.eye(d) + 0.3 * rng.normal(size=(d, d))
    axis = rng.normal(size=d)
    axis *= distance / np.linalg.norm(np.linalg.solve(root, axis))
    second = np.arange(n) < share * n
    return rng.normal(size=(n, d)) @ root.T + second[:, None] * axis + 3.0, second


@pytest.mark.parametrize("seed", range(3))
def test_gain_and_parts_are_those_of_scikit_learns_tied_mixture(seed):
    points, second = two_kinds(np.random.default_rng(seed))
    found = divide(points, np.arange(len(points)), REPEAT, FLOOR)
    one, two = (
        GaussianMixture(k, covariance_type="tied", n_init=10, random_state=0, tol=1e-8).fit(points)
        for k in (1, 2)
    )
    # A bounded number of rounds leaves a nat of a hundred.
    best = (one.bic(points) - two.bic(points)) / 2
    assert best - 1.0 < found.gain < best + 0.05
    order = np.argsort(-two.weights_)
    assert found.share == pytest.approx(two.weights_[order[1]], abs=0.01)
    np.testing.assert_allclose(found.means, two.means_[order], atol=0.05)
    np.testing.assert_allclose(found.within, two.covariances_, atol=0.1)
    assert abs(found.share - second.mean()) < 0.02
    assert found.looks == pytest.approx(found.share * len(points))


def test_normal_classes_are_one_and_clear_pairs_are_two():
    rng = np.random.default_rng(3)
    site = np.arange(SIZE)
    alone = [divide(rng.normal(size=(SIZE, 10)), site, REPEAT, FLOOR) for _ in range(100)]
    assert max(found.gain for found in alone) < 0
    for share in (0.5, 0.2):
        pairs = [
            divide(two_kinds(rng, SIZE, 5.5, share, 10)[0], site, REPEAT, FLOOR) for _ in range(50)
        ]
        told = [f.gain > SPLIT_GAIN and f.separation > SPLIT_SEPARATION for f in pairs]
        assert np.mean(told) >= 0.9  # the rest was climbed from none of the five starts


def test_few_sites_seen_again_and_again_are_not_evidence():
    """Eight sites with errors of their own look like clusters; they are eight looks and no more."""
    rng = np.random.default_rng(4)
    own = rng.normal(size=(8, 10))
    site = np.repeat(np.arange(8), SIZE // 8)
    points = own[site] + 0.3 * rng.normal(size=(SIZE, 10))
    found = divide(points, site, REPEAT, FLOOR)
    assert found.gain < SPLIT_GAIN
    assert found.looks < SPLIT_LOOKS
    naive = divide(points, np.arange(SIZE), REPEAT, FLOOR)
    assert naive.gain > SPLIT_GAIN
    assert naive.looks > SPLIT_LOOKS


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.floats(0.0, 0.9))
@settings(max_examples=50, deadline=None)
def test_looks_at_a_site_are_worth_what_the_filters_take_them_for(sites, repeat):
    site = np.array(sites)
    weight = look_weights(site, repeat)
    for s in set(sites):
        m = sites.count(s)
        assert weight[site == s].sum() == pytest.approx(m / (1 + (m - 1) * repeat))


def test_reservoir_is_bounded_repeats_itself_and_forgets_exponentially():
    def filled():
        kept = Reservoir.empty(3, 1)
        for batch in range(300):
            number = np.array([0, 0, 0, 2] * 5)
            age = np.full((20, 1), float(batch))
            kept = kept.add(number, age, np.arange(20), seed=5)
        return kept

    kept = filled()
    assert kept.points.tobytes() == filled().points.tobytes()
    assert kept.filled.tolist() == [SIZE, 0, SIZE]
    assert kept.fresh.tolist() == [4500, 0, 1500]
    # 15 arrivals a batch: a mean age of SIZE / 15 batches, with a standard error of a sixteenth.
    assert (299 - kept.of(0)[0]).mean() == pytest.approx(SIZE / 15, rel=0.2)
    assert kept.without((0,)).filled.tolist() == [0, 0, SIZE]


@given(st.lists(st.integers(0, 400), max_size=6), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_reservoir_does_not_depend_on_how_arrivals_are_spread_over_frames(sizes, seed):
    rng, n = np.random.default_rng(seed), sum(sizes)
    number, points, site = rng.integers(0, 3, n) ** 2, rng.normal(size=(n, 2)), np.arange(n)
    # some way before, over and after the end of a block of places
    start = replace(Reservoir.empty(5, 2), draws=int(rng.integers(BLOCK - 1500, BLOCK + 100)))
    parts, whole = start, start.add(number, points, site, 7)
    for end, size in zip(np.cumsum(sizes), sizes, strict=True):
        chosen = slice(end - size, end)
        parts = parts.add(number[chosen], points[chosen], site[chosen], 7)
    for field in fields(Reservoir):
        np.testing.assert_array_equal(getattr(parts, field.name), getattr(whole, field.name))
    assert whole.draws == start.draws + n
    for k in range(5):
        kept = whole.of(k)[1]
        assert len(set(kept)) == len(kept) == min((number == k).sum(), SIZE)
        assert set(kept) <= set(site[number == k])
        np.testing.assert_allclose(whole.of(k)[0], points[kept], atol=2e-3)
