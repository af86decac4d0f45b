"""The online mixture after 20,000 descriptors beside scikit-learn's batch fits."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from estimating import mixture


@pytest.mark.parametrize("seed", [0, 1])
def test_without_overlap_it_is_the_batch_fit(seed):
    row = mixture.compare(mixture.apart(30_000, seed), 5, starts=3)
    assert abs(row.excess()) < 0.005
    assert row.rand >= 0.98


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("dose", "seed"), [(1600.0, 1), (1600.0, 2), (8000.0, 0), (8000.0, 1)])
def test_on_a_specimen_it_is_the_batch_fit_by_the_default_settings(dose, seed):
    row = mixture.compare(mixture.specimen(30_000, dose, seed).scene(mixture.WARM_UP), 5)
    assert row.excess("own") > -0.005, row
    assert row.excess("same") > -0.005, row
    assert row.rand_same >= 0.98, row


def test_cost_of_a_step_is_told_beside_a_refit():
    rows = mixture.update_ms(mixture.apart(2000, 0), (300, 600))
    assert [count for count, _, _ in rows] == [300, 600]
    assert all(step > 0 and refit > 0 for _, step, refit in rows)
