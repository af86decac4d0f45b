"""Imposed displacements and areas come back from simulated frames within what the issue asks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from estimating import crystallography, phases  # noqa: E402
from estimating.crystallography import CLEAN, single_frames  # noqa: E402


@pytest.mark.parametrize(
    ("imaging", "shift", "number"),
    [({}, 10.0, 1000), ({}, 0.0, 300), (CLEAN, 10.0, 300), ({"contamination": 0.3}, 10.0, 300)],
)
def test_ten_picometres_toward_the_vacancy_are_recovered_within_two(imaging, shift, number):
    case = crystallography.Case("", shift, imaging)
    found, _ = single_frames(case, number, seed=5000)
    assert len(found) >= number
    across, toward = (found[:, 0] - found[:, 1:].mean(axis=1)).mean(axis=0)
    assert abs(toward - shift) < 2.0
    assert abs(across) < 2.0
    # nothing else was moved
    assert (np.abs(found[:, 1:].mean(axis=0)) < 1.0).all()


def test_the_tracker_finds_imposed_displacements_without_being_told_the_states():
    found = crystallography.movie(10.0, frames=12, seed=3, side=256).statistics()["crystallography"]
    toward = found["told"]["MoW+VS"]["toward_pm"]
    assert found["told"]["MoW+VS"]["looks"] > 30
    assert 4.0 < toward["value"] < 12.0  # wrong states dilute it
    assert abs(found["told"]["MoW"]["toward_pm"]["value"]) < 3.0


@pytest.mark.parametrize(
    "case",
    [
        phases.Case(),
        *(phases.Case(hole=hole, dose=800.0) for hole in (0.05, 0.15, 0.25)),
        phases.Case(hole=0.15, dose=6400.0, pixel_nm=0.02, side=512),
        phases.Case(hole=0.15, pixel_nm=0.06),
        phases.Case(disordered=0.15),
        phases.Case(hole=0.1, disordered=0.1, side=512),
        phases.Case(hole=0.15, imaging={"contamination": 0.3}, side=512),
    ],
)
def test_every_frames_fractions_are_within_two_points(case):
    gaps, truths = phases.errors(case, range(100, 103))
    assert np.abs(gaps).max() < 0.02
    assert truths[:, 2].max() >= 0.6 * case.hole
    assert truths[:, 1].max() >= 0.3 * case.disordered
    assert np.isclose(truths.sum(axis=1), 1.0).all()


def test_tables_have_a_row_a_case():
    lines = phases.table((phases.Case(side=128), phases.Case(hole=0.2, side=128)), 1).splitlines()
    assert len(lines) == 4
    assert lines[2].count("|") == lines[0].count("|")
    case = crystallography.Case("clean", 10.0, CLEAN)
    lines = crystallography.table((case,), 10).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("| clean | 10 |")
