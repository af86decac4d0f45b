"""The online mixture against scikit-learn's batch mixture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from latticewatch.tracker.mixture import (
    divided,
    learn,
    merged,
    reordered,
    step_size,
    steps_behind,
)
from latticewatch.tracker.mixture_start import reduced, warm_start
from latticewatch.tracker.moments import Moments, coefficients, packed, products, unpacked

FLOOR = 1e-6


def sample(rng, n, spread):
    """Five classes in four dimensions with covariances of their own."""
    shape_rng = np.random.default_rng(7)
    means = shape_rng.normal(0, spread, (5, 4))
    roots = shape_rng.normal(0, 0.4, (5, 4, 4)) + np.eye(4) * 0.6
    label = rng.choice(5, n, p=[0.3, 0.25, 0.2, 0.15, 0.1])
    return means[label] + np.einsum("nij,nj->ni", roots[label], rng.normal(size=(n, 4))), label


def online(points, warm=500, batch=100, diagonal=False):
    rng = np.random.default_rng(0)
    mixture = warm_start(points[:warm], 5, rng, 6, FLOOR, diagonal=diagonal)
    mixture = replace(mixture, steps=steps_behind(warm, batch, 0.7))
    for start in range(warm, len(points), batch):
        mixture = taught(mixture, points[start : start + batch], batch)
    return mixture


def taught(mixture, points, batch=100, exponent=0.7, floor=FLOOR):
    table = products(points)
    moments = Moments.of(table, mixture.told(table)[0])
    return learn(mixture, moments, batch, exponent, floor)


@pytest.mark.parametrize("spread", [2.5, 6.0])
def test_held_out_likelihood_is_that_of_a_batch_fit(spread):
    rng = np.random.default_rng(3)
    points, _ = sample(rng, 20_000, spread)
    held, _ = sample(rng, 10_000, spread)
    mixture = online(points)
    oracle = GaussianMixture(5, n_init=5, random_state=0, reg_covar=FLOOR).fit(points)
    mine = float(mixture.responsibilities(held)[1].mean())
    assert mine == pytest.approx(oracle.score(held), rel=0.005)


def test_well_separated_classes_are_told_apart():
    points, label = sample(np.random.default_rng(4), 10_000, 6.0)
    found = online(points).responsibilities(points)[0].argmax(axis=1)
    assert adjusted_rand_score(label, found) >= 0.98


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_densities_responsibilities_and_bic_are_those_of_scikit_learn(kind):
    points, _ = sample(np.random.default_rng(5), 400, 2.5)
    mixture = online(points, warm=300, diagonal=kind == "diag")
    oracle = GaussianMixture(5, covariance_type=kind)
    oracle.weights_, oracle.means_ = mixture.weights, mixture.means
    if kind == "full":
        oracle.covariances_ = mixture.covariances
        oracle.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(mixture.covariances))
    else:
        oracle.covariances_ = np.diagonal(mixture.covariances, axis1=1, axis2=2)
        oracle.precisions_cholesky_ = oracle.covariances_**-0.5
        assert np.count_nonzero(mixture.covariances) == 5 * 4
    r, density = mixture.responsibilities(points)
    np.testing.assert_allclose(density, oracle.score_samples(points), rtol=1e-9)
    np.testing.assert_allclose(r, oracle.predict_proba(points), atol=1e-9)
    assert mixture.bic(points) == pytest.approx(oracle.bic(points), rel=1e-9)


def test_no_responsibility_is_too_small_for_single_precision():
    points, _ = sample(np.random.default_rng(11), 2000, 6.0)
    r, _ = online(points).responsibilities(points * np.linspace(1, 50, 2000)[:, None])
    assert 1e-31 < r.min() < 2e-30
    assert r.astype(np.float32).min() > np.finfo(np.float32).tiny
    np.testing.assert_allclose(r.sum(axis=1), 1.0, atol=1e-12)


def test_diagonal_fit_is_scikit_learns():
    rng = np.random.default_rng(9)
    points, _ = sample(rng, 20_000, 6.0)
    held, _ = sample(rng, 10_000, 6.0)
    oracle = GaussianMixture(5, covariance_type="diag", n_init=5, random_state=0).fit(points)
    mixture = online(points, diagonal=True)
    mine = float(mixture.responsibilities(held)[1].mean())
    assert mine == pytest.approx(oracle.score(held), rel=0.005)


def test_one_class_taken_out_of_another_and_put_back_changes_nothing():
    points, _ = sample(np.random.default_rng(10), 2000, 6.0)
    whole = online(points)
    step = np.linalg.eigh(whole.covariances[2])[1][:, -1] * 0.1
    share, mean = 0.3, whole.means[2]
    means = np.stack([mean - share * step, mean + (1 - share) * step])
    within = whole.covariances[2] - share * (1 - share) * np.outer(step, step)
    two = divided(whole, 2, share, means, within, FLOOR)
    assert len(two) == 6
    assert two.weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(two.means[[2, 5]], means)
    one = merged(two, 2, 5, FLOOR)
    for name in ("weights", "means", "covariances", "sums"):
        np.testing.assert_allclose(getattr(one, name), getattr(whole, name), atol=1e-9)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_moments_are_the_sums_and_gathered_frame_by_frame_they_are_those_of_all(seed):
    rng = np.random.default_rng(seed)
    points, r = rng.normal(size=(200, 3)), rng.dirichlet(np.ones(5), 200)
    gathered = Moments.empty(5, 3)
    cuts = np.sort(rng.integers(0, 201, 4))
    for part in np.split(np.arange(200), cuts):
        gathered = gathered + Moments.of(products(points[part]), r[part].T)
    assert gathered.n == 200
    u = np.column_stack([np.ones(200), points])
    second = np.einsum("nk,ni,nj->kij", r, u, u)
    np.testing.assert_allclose(unpacked(gathered.sums), second, atol=1e-12)
    np.testing.assert_array_equal(packed(unpacked(gathered.sums)), gathered.sums)


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(0, 40))
@settings(max_examples=30, deadline=None)
def test_quadratic_forms_are_sums_of_products(seed, d, n):
    rng = np.random.default_rng(seed)
    points, forms = rng.normal(size=(n, d)), rng.normal(size=(3, d + 1, d + 1))
    forms = forms + forms.transpose(0, 2, 1)
    u = np.column_stack([np.ones(n), points])
    expected = np.einsum("ni,kij,nj->kn", u, forms, u)
    np.testing.assert_allclose(coefficients(forms) @ products(points), expected, atol=1e-10)


@given(st.floats(0, 500), st.integers(1, 9), st.floats(0.55, 1.0))
def test_a_long_step_forgets_what_as_many_ordinary_steps_would(before, passed, exponent):
    kept = np.prod([1 - (before + i + 2) ** -exponent for i in range(passed)])
    assert step_size(before, passed, exponent) == pytest.approx(1 - kept, rel=1e-9)
    # A part of a step and the rest of it are one step.
    part = step_size(before, passed - 0.4, exponent)
    assert part < step_size(before, passed, exponent)
    assert 1 - part == pytest.approx(kept / (1 - (before + passed + 1) ** -exponent) ** 0.4)


@given(st.integers(10, 5000), st.floats(0.55, 1.0))
def test_the_first_step_after_a_batch_fit_weighs_its_points_half_as_much_as_the_fits(n, exponent):
    steps = steps_behind(n, 100, exponent)
    assert step_size(steps, 1.0, exponent) == pytest.approx(100 / (2 * n + 100), rel=1e-9)


def test_steps_of_equal_weight_make_the_statistics_batch_averages():
    points, _ = sample(np.random.default_rng(6), 1000, 2.5)
    mixture, r = online(points[:200], warm=200), []
    r.append(mixture.responsibilities(points[:200])[0])
    first = Moments.of(products(points[:200]), r[0].T)
    mixture = replace(mixture, sums=first.sums / 200)
    for begin in range(200, 1000, 200):
        part = points[begin : begin + 200]
        r.append(mixture.responsibilities(part)[0])
        mixture = replace(mixture, steps=steps_behind(begin // 2, 200, 0.7))
        mixture = taught(mixture, part, batch=200)
    whole = Moments.of(products(points), np.concatenate(r).T)
    np.testing.assert_allclose(mixture.sums, whole.sums / 1000, atol=1e-9)


def test_starts_for_more_kinds_than_classes_find_what_twenty_of_scikit_learns_do_or_better():
    gained = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        # eight kinds in three groups, as kinds of defects on three sublattices are
        group = np.append(np.arange(3), rng.integers(0, 3, 5))
        middle = 20.0 * np.eye(3, 6)[group] + rng.normal(0, 2.5, (8, 6))
        spread = rng.uniform(0.2, 1.2, (8, 6))
        kind = rng.choice(8, 600, p=rng.dirichlet(np.full(8, 4.0)))
        points = middle[kind] + spread[kind] * rng.normal(size=(600, 6))
        mine = warm_start(points, 5, rng, 16, FLOOR).responsibilities(points)[1].mean()
        peer = GaussianMixture(5, n_init=20, random_state=seed, max_iter=500).fit(points)
        gained.append(float(mine) - peer.score(points))
    assert min(gained) > -1e-3, gained
    assert max(gained) > 0.1, gained


def test_classes_that_are_one_in_two_parts_are_those_that_a_start_makes_one():
    rng = np.random.default_rng(11)
    kinds = 8.0 * np.eye(4)[rng.integers(0, 4, 2000)] + rng.normal(size=(2000, 4))
    four = warm_start(kinds, 4, np.random.default_rng(0), 4, FLOOR)
    many = four
    for k in range(4):
        root = np.sqrt(np.linalg.eigvalsh(many.covariances[k])[-1])
        axis = 0.5 * root * np.linalg.eigh(many.covariances[k])[1][:, -1]
        means = many.means[k] + np.stack([-0.5 * axis, 0.5 * axis])
        within = many.covariances[k] - 0.25 * np.outer(axis, axis)
        many = divided(many, k, 0.5, means, within, FLOOR)
    assert len(many) == 8
    again = reduced(many, 4, FLOOR)
    order = np.argsort(again.means[:, 0]), np.argsort(four.means[:, 0])
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(
            getattr(again, name)[order[0]], getattr(four, name)[order[1]], atol=1e-9
        )


def test_classes_keep_their_numbers_while_the_data_wander():
    rng = np.random.default_rng(8)
    base = np.array([[0.0, 0.0], [3.0, 0.0], [6.0, 0.0]])
    label = rng.integers(0, 3, 600)
    first = base[label] + 0.3 * rng.normal(size=(600, 2))
    mixture = warm_start(first, 3, np.random.default_rng(0), 6, FLOOR)
    mixture = replace(mixture, steps=steps_behind(600, 100, 0.55))
    mixture = reordered(mixture, np.argsort(mixture.means[:, 0]))
    for step in range(200):
        label = rng.integers(0, 3, 100)
        # classes turn about their middle by 180 degrees: their order along x is reversed
        angle = np.pi * (step + 1) / 200
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        moved = (base - base[1]) @ turn.T + base[1]
        points = moved[label] + 0.3 * rng.normal(size=(100, 2))
        mixture = taught(mixture, points, exponent=0.55)
        found = mixture.responsibilities(points)[0].argmax(axis=1)
    assert (found == label).mean() > 0.98


def test_covariance_never_falls_below_the_floor():
    points = np.repeat(np.eye(3), 50, axis=0)
    mixture = warm_start(points, 3, np.random.default_rng(0), 3, 1e-3)
    values = np.linalg.eigvalsh(taught(mixture, points, floor=1e-3).covariances)
    assert values.min() >= 1e-3 * (1 - 1e-9)
