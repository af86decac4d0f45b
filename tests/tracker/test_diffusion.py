"""The covariance estimator: bias and coverage where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from latticewatch.tracker.diffusion import (
    LEAST_PAIRS,
    DiffusionSums,
    LastSteps,
    add_steps,
    estimate,
    summary,
)

HOPS = np.array([[1.0, 0.0], [-1.0, 0.0], [0.5, np.sqrt(0.75)],
                 [-0.5, np.sqrt(0.75)], [0.5, -np.sqrt(0.75)], [-0.5, -np.sqrt(0.75)]])  # fmt: skip


def feed(paths, dt=1.0):
    """Fold positions (frames, n, 2) in, one frame at a time."""
    n = paths.shape[1]
    sums = DiffusionSums.empty()
    no = np.zeros((n, 2), bool)
    memory = LastSteps(np.zeros((n, 2)), no[:, 0], np.zeros((n, 2)), no)
    for step in np.diff(paths, axis=0):
        hop = (step**2).sum(axis=1) > 0.1
        sums, memory = add_steps(sums, memory, step, np.full(n, dt), hop)
    return sums


def brownian(rng, d, sigma, frames=40, n=10, dt=1.0):
    steps = rng.normal(0, np.sqrt(2 * d * dt), (frames, n, 2))
    return np.cumsum(steps, axis=0) + rng.normal(0, sigma, (frames, n, 2))


def walkers(rng, rate, flicker, frames=60, n=15):
    """Hops on a triangular lattice, and a wrong neighbouring site in a share of frames."""
    steps = np.zeros((frames, n, 2))
    for _ in range(4):  # several hops may fall into one frame
        steps += HOPS[rng.integers(0, 6, (frames, n))] * (rng.random((frames, n, 1)) < rate / 4)
    place = np.cumsum(steps, axis=0)
    wrong = rng.random((frames, n, 1)) < flicker
    return place + HOPS[rng.integers(0, 6, (frames, n))] * wrong


def check(make, truth, runs=200):
    """Bias in standard errors of the mean, and the share of intervals that hold the truth."""
    rng = np.random.default_rng(9)
    values, inside = [], 0
    for _ in range(runs):
        told = summary(feed(make(rng)), 1.0, 0.95)["D_nm2_s"]
        values.append(told["value"])
        inside += told["low"] <= truth <= told["high"]
    return (np.mean(values) - truth) / np.std(values) * np.sqrt(runs), inside / runs


@pytest.mark.parametrize("sigma", [0.0, 0.3, 1.0])
def test_free_diffusion_is_unbiased_and_covered_whatever_the_noise(sigma):
    bias, covered = check(lambda rng: brownian(rng, 0.1, sigma), 0.1)
    assert abs(bias) < 3.3
    assert 0.90 <= covered <= 0.99


@pytest.mark.parametrize(("rate", "flicker"), [(0.02, 0.0), (0.3, 0.0), (0.05, 0.05)])
def test_lattice_walkers_are_unbiased_and_covered_also_under_flicker(rate, flicker):
    bias, covered = check(lambda rng: walkers(rng, rate, flicker), rate / 4)
    assert abs(bias) < 3.3
    assert 0.90 <= covered <= 0.99


def test_sums_give_what_the_formula_gives_on_the_whole_history():
    paths = brownian(np.random.default_rng(1), 0.2, 0.3, frames=30, n=8)
    steps = np.diff(paths, axis=0)
    whole = (steps**2).mean() / 2 + (steps[1:] * steps[:-1]).mean()
    value, _, noise = estimate(feed(paths))
    assert value == pytest.approx(whole, rel=1e-12)
    assert noise == pytest.approx(-(steps[1:] * steps[:-1]).mean(), rel=1e-12)


def test_too_little_data_gives_no_coefficient():
    told = summary(feed(brownian(np.random.default_rng(1), 0.2, 0.3, frames=4, n=5)), 1.0, 0.95)
    assert told["pairs"] < LEAST_PAIRS
    assert told["D_nm2_s"] is None


def test_nothing_that_moves_leaves_an_upper_limit():
    told = summary(feed(np.zeros((30, 5, 2))), 0.3, 0.95)["D_nm2_s"]
    assert told["value"] == told["standard_error"] == 0.0
    assert 0.0 < told["high"] < 0.3**2 / 4 * 5 / 100
