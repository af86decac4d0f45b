from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist

from latticewatch_kernels.localisation import decode_heat_map, find_peaks, suppress


def spread(rng, number, low, high, least):
    points = []
    for point in rng.uniform(low, high, (50 * number, 2)):
        if len(points) < number and all(np.hypot(*(point - p)) > least for p in points):
            points.append(point)
    return np.array(points)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(1.2, 3.0), st.booleans())
def test_gaussian_spots_are_found_to_a_hundredth_of_a_pixel(synthesis, seed, sigma, transpose):
    rng = np.random.default_rng(seed)
    points = spread(rng, 12, 10, 110, 9 * sigma)
    heights = rng.uniform(1.0, 2.0, len(points))
    image = synthesis.draw((120, 140), points, heights, sigma)
    if transpose:
        image, points = image.T, points[:, ::-1]
    found, values = find_peaks(image, 0.5)
    assert len(found) == len(points)
    gaps = cdist(points, found)
    assert gaps.min(1).max() < 0.01
    assert (np.diff(values) <= 0).all()


def test_maps_with_negative_pixels_are_fitted_by_parabolas():
    y, x = np.indices((9, 9))
    image = 1.0 - 0.4 * ((x - 4.3) ** 2 + (y - 3.8) ** 2)
    found, _ = find_peaks(image, 0.5)
    np.testing.assert_allclose(found, [[4.3, 3.8]], atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 4, 8]))
def test_offsets_at_a_stride_give_back_the_points(seed, stride):
    rng = np.random.default_rng(seed)
    points = spread(rng, 10, 0, 16 * stride - 1, 3.5 * stride)
    heat, offset = np.zeros((16, 16), np.float32), np.zeros((2, 16, 16), np.float32)
    for (x, y), value in zip(points, rng.uniform(0.6, 1.0, len(points)), strict=True):
        # Cell (r, c) covers pixels [s c, s c + s): pixel edges lie half a pixel below.
        column, row = int((x + 0.5) // stride), int((y + 0.5) // stride)
        heat[row, column] = value
        offset[:, row, column] = (
            x - stride * column - (stride - 1) / 2,
            (y - stride * row - (stride - 1) / 2),
        )
    found, values = decode_heat_map(heat, offset, stride, (16 * stride, 16 * stride), 0.5, stride)
    assert len(found) == len(points)
    assert cdist(points, found).min(1).max() < 1e-5
    np.testing.assert_array_equal(values, np.sort(values)[::-1])


def test_a_plateau_is_one_maximum():
    heat = np.zeros((8, 8))
    heat[3:5, 3:6] = 1.0
    found, _ = find_peaks(heat, 0.5)
    assert len(found) == 1


def test_maxima_on_the_border_are_found():
    heat = np.zeros((6, 7))
    heat[0, 0] = heat[5, 6] = 1.0
    found, _ = find_peaks(heat, 0.5)
    np.testing.assert_array_equal(found[np.argsort(found[:, 0])], [[0, 0], [6, 5]])


def test_nothing_above_the_threshold_gives_empty_arrays():
    found, values = find_peaks(np.zeros((5, 5)), 0.5)
    assert found.shape == (0, 2)
    assert values.shape == (0,)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 6.0))
def test_suppression_is_the_greedy_one(seed, distance):
    points = np.random.default_rng(seed).uniform(0, 30, (60, 2))
    keep = suppress(points, distance)
    expected = []
    for k, point in enumerate(points):
        if all(np.hypot(*(point - points[other])) > distance for other in expected):
            expected.append(k)
    np.testing.assert_array_equal(np.flatnonzero(keep), expected)
    assert (pdist(points[keep]) > distance).all()
