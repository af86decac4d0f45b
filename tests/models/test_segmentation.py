"""Targets and decoding are inverse to each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from latticewatch_models.segmentation import VOTE_REACH, Segmentation
from latticewatch_models.targets import POSITIVE_RADIUS, make_targets


def spread_points(seed, number, shape, least=5.5):
    """Random points no two of which are nearer than neighbouring sites of the crystal."""
    rng = np.random.default_rng(seed)
    points = []
    for point in rng.uniform(0, [shape[1] - 1, shape[0] - 1], (20 * number, 2)):
        if len(points) < number and all(np.hypot(*(point - p)) > least for p in points):
            points.append(point)
    return np.array(points).reshape(-1, 2)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_targets_decode_to_the_points_they_were_made_of(seed, number):
    shape = (64, 96)
    points = spread_points(seed, number, shape)
    targets = make_targets(points, shape, 4)
    found, probability = Segmentation(targets.heat, targets.offset, 4, shape).detections()
    assert len(found) == len(points)
    assert (probability == 1).all()
    order, wanted = np.lexsort(found.T), np.lexsort(points.T)
    np.testing.assert_allclose(found[order], points[wanted], atol=1e-4)


def test_ignored_pixels_count_nowhere():
    points = np.array([[20.0, 20.0], [50.0, 50.0]])
    ignore = np.zeros((64, 64), bool)
    ignore[12:30, 12:30] = True
    targets = make_targets(points, (64, 64), 4, ignore)
    assert not targets.weight[3:7, 3:7].any()
    assert not targets.near[3:7, 3:7].any()
    assert targets.near[12, 12] == 1
    assert targets.weight[12, 12] == 1
    assert targets.weight[10, 2] == 1


def test_the_neutral_ring_is_asked_nothing_but_its_offset():
    targets = make_targets(np.array([[13.5, 13.5]]), (32, 32), 4)  # on the centre of cell (3, 3)
    assert targets.heat.sum() == 1
    assert targets.weight[3, 4] == 0
    assert targets.near[3, 4] == 1
    np.testing.assert_allclose(targets.offset[:, 3, 4], [-4.0, 0.0])
    assert targets.weight[4, 4] == 1  # 5.7 px off: nothing there


def test_neighbouring_cells_speak_together_and_the_surest_says_how_sure():
    rng = np.random.default_rng(0)
    heat = np.zeros((8, 8), np.float32)
    offset = np.zeros((2, 8, 8), np.float32)
    heat[3, 3], heat[3, 4], heat[6, 6] = 0.6, 0.9, 0.7
    offset[:, 3, 3], offset[:, 3, 4] = (2.0, 0.0), (-1.0, 0.0)
    points, probability = Segmentation(heat, offset, 4, (32, 32)).detections(0.5)
    mean = (0.6 * 15.5 + 0.9 * 16.5) / 1.5
    np.testing.assert_allclose(points, [[mean, 13.5], [25.5, 25.5]], rtol=1e-6)
    # a cell of another mind has no say
    offset[:, 3, 3] = (0.5, 0.0)
    points, _ = Segmentation(heat, offset, 4, (32, 32)).detections(0.5)
    np.testing.assert_allclose(points, [[16.5, 13.5], [25.5, 25.5]])
    offset[:, 3, 3] = (2.0, 0.0)
    np.testing.assert_allclose(probability, [0.9, 0.7], rtol=1e-6)
    # a detection that points out of the frame is none
    offset[:, 6, 6] = (9.0, 0.0)
    assert len(Segmentation(heat, offset, 4, (32, 32)).detections(0.5)[0]) == 1
    # merged detections keep their distance whatever the map
    noise = Segmentation(
        rng.random((30, 30), np.float32), rng.normal(0, 3, (2, 30, 30)), 4, (120, 120)
    )
    assert pdist(noise.detections(0.2, merge_px=4.0)[0]).min() > 4.0 - 2 * VOTE_REACH * 4.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_columns_decode_to_the_columns_they_were_made_of(seed):
    shape = (64, 96)
    columns = spread_points(seed, 60, shape, least=6.0)
    t = make_targets(columns, shape, 4, None, POSITIVE_RADIUS)
    assert (t.weight == 1).all()
    nothing = np.zeros_like(t.heat), np.zeros_like(t.offset)
    seen = Segmentation(*nothing, 4, shape, t.heat, t.offset)
    found, probability = seen.columns()
    assert len(found) == len(columns)
    assert (probability == 1).all()
    order, wanted = np.lexsort(found.T), np.lexsort(columns.T)
    np.testing.assert_allclose(found[order], columns[wanted], atol=1e-4)


def test_a_column_is_the_mean_of_what_its_cells_say():
    heat, offset = np.zeros((8, 8), np.float32), np.zeros((2, 8, 8), np.float32)
    heat[3, 3], heat[3, 4] = 0.6, 0.9
    offset[:, 3, 3], offset[:, 3, 4] = (2.5, 0.0), (-1.0, 0.5)
    points, probability = Segmentation(heat, offset, 4, (32, 32), heat, offset).columns()
    np.testing.assert_allclose(points, [[(0.6 * 16.0 + 0.9 * 16.5) / 1.5, 13.5 + 0.3]], rtol=1e-6)
    np.testing.assert_allclose(probability, [0.9], rtol=1e-6)
    assert len(Segmentation(heat, offset, 4, (32, 32), heat * 0, offset).columns()[0]) == 0


def test_columns_that_were_not_asked_for_are_an_error_that_says_how():
    heat, offset = np.zeros((8, 8), np.float32), np.zeros((2, 8, 8), np.float32)
    with pytest.raises(ValueError, match=r"segment\(image, columns=True\)"):
        Segmentation(heat, offset, 4, (32, 32)).columns()


def test_logits_are_read_between_cells():
    """A plane of logits is read exactly at any point; sure cells are no infinities."""
    rows, columns = np.indices((20, 24))
    logit = 0.3 * columns - 0.2 * rows - 1.0
    heat = (1.0 / (1.0 + np.exp(-logit))).astype(np.float32)
    seen = Segmentation(heat, np.zeros((2, 20, 24), np.float32), 2, (40, 48))
    points = np.random.default_rng(1).uniform(1.0, 38.0, (50, 2))
    expected = 0.3 * (points[:, 0] - 0.5) / 2 - 0.2 * (points[:, 1] - 0.5) / 2 - 1.0
    np.testing.assert_allclose(seen.logit_at(points), expected, atol=1e-3)
    sure = Segmentation(np.ones((2, 2), np.float32), np.zeros((2, 2, 2), np.float32), 2, (4, 4))
    assert np.isfinite(sure.logit_at(np.array([[1.0, 1.0]]))).all()
