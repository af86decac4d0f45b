"""What earlier frames say of a site, against the same computed one defect at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from latticewatch.tracker.beliefs import (
    Recall,
    evidence_weight,
    recall,
    state_matrix,
    state_posterior,
)
from latticewatch.tracker.site_grid import SiteGrid
from latticewatch.tracker.tracks import STATES, new_tracks


def some_tracks(rng: np.random.Generator, n: int, frame: int):
    """Open tracks of which some share a site, and some never had a state."""
    tracks = new_tracks(np.arange(n))
    tracks["cell"] = rng.integers(-2, 3, (n, 2))
    tracks["sublattice"] = rng.integers(0, 2, n)
    tracks["last_frame"] = frame - rng.integers(1, 4, n)
    tracks["seen"] = rng.integers(1, 20, n)
    belief = rng.dirichlet(np.ones(STATES), n)
    belief[rng.random(n) < 0.3] = 0.0
    tracks["state_belief"] = belief
    return tracks


@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_a_site_recalls_the_track_that_was_seen_there_last(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    tracks = some_tracks(rng, n, 50)
    sites = np.array([(i, j, s) for i in range(-2, 3) for j in range(-2, 3) for s in range(2)])
    sites = rng.permutation(sites)[: rng.integers(0, len(sites))]
    grid = SiteGrid.of(sites[:, :2], sites[:, 2], 1)
    here = grid.find(tracks["cell"], tracks["sublattice"])
    known = recall(tracks, here, len(sites), 50)
    for row, (i, j, s) in enumerate(sites.tolist()):
        there = [
            (int(track["last_frame"]), number)
            for number, track in enumerate(tracks)
            if (*track["cell"].tolist(), int(track["sublattice"])) == (i, j, s)
        ]
        last, number = max(there, default=(49, -1))
        assert (known.track[row], known.elapsed[row]) == (number, 50 - last), f"seed {seed}"


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_states_are_filtered_as_one_dopant_at_a_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tracks, m = some_tracks(rng, 12, 50), 20
    track = rng.integers(-1, len(tracks), m)
    elapsed = np.where(track >= 0, 50 - tracks["last_frame"][track], 1)
    likelihood = rng.random((m, STATES))
    matrix = state_matrix(rng.gamma(2.0, 5.0, (STATES, STATES)), 0.2)
    fresh = np.array([0.4, 0.2, 0.2, 0.2])
    found, steps = state_posterior(Recall(track, elapsed), tracks, fresh, matrix, likelihood)
    expected = np.zeros((STATES, STATES))
    for k in range(m):
        past = tracks["state_belief"][track[k]].astype(float) if track[k] >= 0 else np.zeros(STATES)
        prior = past @ np.linalg.matrix_power(matrix, int(elapsed[k])) if past.any() else fresh
        assert_allclose(found[k], prior * likelihood[k] / (prior * likelihood[k]).sum())
        if past.any() and elapsed[k] == 1:
            joint = past[:, None] * matrix * likelihood[k][None, :]
            expected += joint / joint.sum()
    assert_allclose(steps, expected, atol=1e-12)


def test_without_open_tracks_every_state_is_fresh() -> None:
    known = Recall(np.full(3, -1), np.ones(3, np.int64))
    likelihood, fresh = np.ones((3, STATES)), np.array([0.4, 0.2, 0.2, 0.2])
    tracks = new_tracks(np.arange(0))
    found, steps = state_posterior(known, tracks, fresh, np.eye(STATES), likelihood)
    assert_allclose(found, np.tile(fresh, (3, 1)))
    assert not steps.any()
    assert_allclose(evidence_weight(known, tracks, 0.2, 0.25), 1.0)


@given(st.floats(0.0, 0.9), st.floats(0.01, 0.99), st.integers(1, 60))
def test_a_look_weighs_what_it_adds_to_those_before(repeat: float, change: float, n: int) -> None:
    tracks = new_tracks(np.arange(1))
    tracks["seen"] = n - 1

    def worth(looks: float) -> float:
        return looks / (1.0 + (looks - 1) * repeat) if looks else 0.0

    known = Recall(np.array([0, -1]), np.array([1, 1]))
    weight = evidence_weight(known, tracks, change, repeat)
    memory = 1.0 / change
    least = worth(memory) / memory
    expected = worth(n) - worth(n - 1) if n == 1 else max(worth(n) - worth(n - 1), least)
    assert_allclose(weight, [expected, 1.0], rtol=1e-9)
