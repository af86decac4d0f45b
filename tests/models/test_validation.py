"""The judge of atomic columns, on segmenters whose answers are known."""

import numpy as np
import pytest

from latticewatch_models.segmentation import Segmentation
from latticewatch_models.targets import POSITIVE_RADIUS, make_targets
from latticewatch_models.validation import columns_table, judge_columns, validation_frame


def answer(points, shape):
    t = make_targets(points, shape, 4, None, POSITIVE_RADIUS)
    nothing = np.zeros_like(t.heat), np.zeros_like(t.offset)
    return Segmentation(*nothing, 4, shape, t.heat, t.offset)


@pytest.fixture(scope="module")
def frame():
    return validation_frame(1600.0, 4000, (128, 128))


def test_the_truth_is_without_a_fault(frame):
    points = frame.columns.points
    score = judge_columns(lambda image, columns: answer(points, image.shape), [frame])
    assert score.recall() == score.precision() == 1.0
    assert score.position_error() < 1e-3
    inner = ((points >= 4) & (points <= 123)).all(axis=1)
    assert sum(score.hits.values()) == inner.sum()


def test_what_is_left_out_added_and_moved_is_counted(frame):
    points, inner = frame.columns.points, [40.0, 90.0]
    kept = ~((points > inner[0]) & (points < inner[1])).all(axis=1)
    empty = frame.truth.lattice.nearest_site(points[kept])[0]
    hollow = frame.truth.lattice.site_positions(empty[:1] * 0, np.array([2]))
    added = np.vstack([points[kept] + [0.3, 0.4], hollow])
    score = judge_columns(lambda image, columns: answer(added, image.shape), [frame])
    assert score.recall() == pytest.approx(kept.mean(), abs=0.04)
    assert score.position_error() == pytest.approx(0.5, abs=0.05)
    assert sum(score.false_alarms.values()) == 1


def test_the_table_has_a_row_to_a_dose(monkeypatch):
    monkeypatch.setattr("latticewatch_models.validation.DOSES", (1600.0, 6400.0))

    def segment(image, columns):
        return answer(np.array([[60.0, 60.0]]), image.shape)

    lines = columns_table(segment, 1).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["1600", "6400"]
    assert len({line.count("|") for line in lines}) == 1
