"""The online mixture against scikit-learn's batch mixture."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from latticewatch.tracker.mixture import divided, learn, merged, moments, reordered, warm_start

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
    mixture = warm_start(points[:warm], 5, rng, 6, FLOOR, batch, diagonal=diagonal)
    for start in range(warm, len(points), batch):
        mixture = learn(mixture, points[start : start + batch], 0.7, FLOOR)
    return mixture


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
    for name in ("weights", "means", "covariances", "s0", "s1", "s2"):
        np.testing.assert_allclose(getattr(one, name), getattr(whole, name), atol=1e-9)


def test_statistics_with_steps_one_over_n_are_batch_averages():
    rng = np.random.default_rng(6)
    points, r = rng.normal(size=(1000, 3)), rng.dirichlet(np.ones(5), 1000)
    running = moments(points[:100], r[:100])
    for k in range(1, 10):
        part = slice(100 * k, 100 * (k + 1))
        fresh = moments(points[part], r[part])
        eta = 1 / (k + 1)
        running = tuple((1 - eta) * a + eta * b for a, b in zip(running, fresh, strict=True))
    for mine, whole in zip(running, moments(points, r), strict=True):
        np.testing.assert_allclose(mine, whole, atol=1e-12)


def test_classes_keep_their_numbers_while_the_data_wander():
    rng = np.random.default_rng(8)
    base = np.array([[0.0, 0.0], [3.0, 0.0], [6.0, 0.0]])
    label = rng.integers(0, 3, 600)
    first = base[label] + 0.3 * rng.normal(size=(600, 2))
    mixture = warm_start(first, 3, np.random.default_rng(0), 6, FLOOR, 100)
    mixture = reordered(mixture, np.argsort(mixture.means[:, 0]))
    for step in range(200):
        label = rng.integers(0, 3, 100)
        # classes turn about their middle by 180 degrees: their order along x is reversed
        angle = np.pi * (step + 1) / 200
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        moved = (base - base[1]) @ turn.T + base[1]
        points = moved[label] + 0.3 * rng.normal(size=(100, 2))
        mixture = learn(mixture, points, 0.55, FLOOR)
        found = mixture.responsibilities(points)[0].argmax(axis=1)
    assert (found == label).mean() > 0.98


def test_covariance_never_falls_below_the_floor():
    points = np.repeat(np.eye(3), 50, axis=0)
    mixture = warm_start(points, 3, np.random.default_rng(0), 3, 1e-3, 100)
    values = np.linalg.eigvalsh(learn(mixture, points, 0.7, 1e-3).covariances)
    assert values.min() >= 1e-3 * (1 - 1e-9)
