"""The whole tracker on dopants whose vacancies move by a known matrix, seen through noise."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import View, detect, info, make_specimen

from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch_kernels.lattice import NEIGHBOUR_CELLS

FRAMES = 150
MATRIX = np.array(
    [[0.9, 0.04, 0.03, 0.03], [0.16, 0.72, 0.06, 0.06],
     [0.15, 0.05, 0.75, 0.05], [0.2, 0.05, 0.05, 0.7]]
)  # fmt: skip


@pytest.fixture(scope="module")
def seen():
    """Statistics after 150 frames, of which three never came, and the true steps."""
    rng = np.random.default_rng(8)
    specimen = make_specimen(8, counts=(20, 4, 0, 0))
    dopants = [cell for cell, species in specimen.metal.items() if species == "MoW"]
    state = np.zeros(len(dopants), int)
    tracker = Tracker(TrackerSettings(), specimen.crystal)
    for frame in range(FRAMES):
        state = np.array([rng.choice(4, p=MATRIX[s]) for s in state])
        specimen.vacancies = [
            (cell[0] + NEIGHBOUR_CELLS[0][s - 1][0], cell[1] + NEIGHBOUR_CELLS[0][s - 1][1])
            for cell, s in zip(dopants, state, strict=True)
            if s
        ]
        if frame in (40, 41, 90):
            tracker.apply(info(frame), None)
            continue
        tracker.apply(info(frame), detect(specimen, View(noise=0.03, miss=0.02), rng))
    return tracker.statistics()["transitions"]


def test_the_hidden_matrix_is_the_true_one_where_the_filters_own_is_not(seen):
    hidden = seen["hidden"]
    assert 0.05 < hidden["label_error"] < 0.4
    low, high = np.array(hidden["low"]), np.array(hidden["high"])
    inside = (low <= MATRIX) & (high >= MATRIX)
    assert inside.sum() >= 13  # of 16: fewer come up once in 60 times at 95 %
    error = np.abs(np.array(hidden["probabilities"]) - MATRIX)
    assert error.max() < 0.1
    assert error.max() < np.abs(np.array(seen["probabilities"]) - MATRIX).max()


def test_every_step_over_one_frame_is_in_both_tables(seen):
    assert seen["memory"]["pairs"] == np.sum(seen["counts"][0])
    assert seen["memory"]["p_value"] < 1e-6
    assert "depends" in seen["memory"]["verdict"]


def test_memory_fades_with_the_lag_where_there_are_kinetics(seen):
    bits = seen["memory"]["bits_by_lag"]
    assert bits[0] > 1.3 * bits[1] > 1.5 * bits[2]


def test_rates_are_per_second(seen):
    assert seen["rates"]["frame_s"] == pytest.approx(1.0)
    assert np.array(seen["rates"]["per_s"]["rates"]).shape == (4, 4)
