from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from latticewatch_kernels.patches import (
    SCALE_STEP,
    lattice_patches,
    rescale,
    rescaled_shape,
    scale_for,
)
from latticewatch_kernels.sampling import bilinear, cubic


def perfect_patch(heights, sigma, size=16, span=2.0):
    """What every patch on sublattice 0 should show, drawn on the perfect crystal directly."""
    steps = ((np.arange(size) + 0.5) / size - 0.5) * span
    x, y = np.meshgrid(steps, steps)
    patch = np.zeros((size, size))
    for i in range(-4, 5):
        for j in range(-4, 5):
            for (u, v), height in zip(
                [(0, 0), (1 / 3, 2 / 3), (2 / 3, 1 / 3)], heights, strict=True
            ):
                cx = (i + u) - 0.5 * (j + v)
                cy = np.sqrt(0.75) * (j + v)
                patch += height * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
    return patch


@settings(max_examples=30, deadline=None)
@given(st.floats(0.0, 360.0), st.floats(14.0, 24.0), st.integers(-3, 5))
def test_patches_show_the_perfect_crystal_at_any_rotation_and_scale(
    synthesis, rotation, constant, turns
):
    heights = (1.0, 0.4, 0.1)
    drawn = synthesis.crystal(
        (160, 180), rotation=rotation, constant=constant, heights=heights, background=0.0
    )
    inside = (
        (drawn.sublattice == 0)
        & (drawn.points > 2 * constant).all(1)
        & (drawn.points < np.array([180, 160]) - 2 * constant).all(1)
    )
    points = drawn.points[inside]
    patches = lattice_patches(drawn.image, points, drawn.lattice, turns)
    expected = perfect_patch(heights, 0.135)
    assert patches.shape == (len(points), 16, 16)
    assert patches.dtype == np.float32
    # The undisturbed crystal looks the same in all three directions; interpolation rounds tops.
    assert np.abs(patches - expected).max() < 0.06


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_a_turn_brings_its_direction_to_columns(synthesis, turn):
    lattice = synthesis.hexagonal(20.0, 12.0, (80.0, 80.0))
    direction = lattice.matrix @ np.array([[1, 0], [0, 1], [-1, -1]][turn])
    image = synthesis.draw((160, 160), (80.0 + direction * 0.5)[None], np.ones(1), 2.5)
    patch = lattice_patches(image, [[80.0, 80.0]], lattice, turn)[0]
    y, x = ndimage.center_of_mass(patch)
    # Half a lattice constant along +columns is a quarter of the patch: 4 samples.
    np.testing.assert_allclose((x - 7.5, y - 7.5), (4.0, 0.0), atol=0.05)


def test_shear_is_undone(synthesis):
    drawn = synthesis.crystal(
        (200, 200), constant=20.0, strain=np.array([[1.02, 0.08], [0.0, 0.97]]), background=0.0
    )
    lattice = drawn.lattice
    centre = lattice.site_positions([[5, 8]], [0])
    places = [[6, 8], [6, 9], [5, 9], [4, 8], [4, 7], [5, 7]]
    expected = np.stack(
        [np.cos(np.radians(60 * np.arange(6))), np.sin(np.radians(60 * np.arange(6)))], 1
    )
    for cell, unit in zip(places, expected, strict=True):
        image = synthesis.draw(
            (400, 400), lattice.site_positions([cell], [0]) + 100.0, np.ones(1), 2.0
        )
        patch = lattice_patches(image, centre + 100.0, lattice, 0, size=33, span=3.0)[0]
        y, x = ndimage.center_of_mass(patch)
        np.testing.assert_allclose(np.array([x - 16, y - 16]) * 3.0 / 33, unit, atol=0.01)


def test_no_points_give_no_patches(synthesis):
    patches = lattice_patches(np.zeros((9, 9)), np.zeros((0, 2)), synthesis.hexagonal(4.0, 0.0))
    assert patches.shape == (0, 16, 16)


@pytest.mark.parametrize(("sample", "order"), [(bilinear, 1), (cubic, 3)])
def test_sampling_agrees_with_scipy(sample, order):
    rng = np.random.default_rng(5)
    image = ndimage.gaussian_filter(rng.normal(size=(40, 50)), 3.0).astype(np.float32)
    image /= image.std()
    x, y = rng.uniform(2, 47, 300), rng.uniform(2, 37, 300)
    expected = ndimage.map_coordinates(image, [y, x], order=order)
    np.testing.assert_allclose(sample(image, x, y), expected, atol=2e-6 if order == 1 else 6e-3)


@pytest.mark.parametrize("sample", [bilinear, cubic])
def test_beyond_the_frame_the_edge_value_is_repeated(sample):
    image = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    x, y = np.array([-5.0, 9.0, 3.0, 0.0]), np.array([-1.0, 9.0, 2.0, 0.0])
    np.testing.assert_allclose(sample(image, x, y), [0.0, 11.0, 11.0, 0.0])


@settings(max_examples=30, deadline=None)
@given(st.floats(0.3, 2.5), st.floats(40.0, 60.0), st.floats(30.0, 50.0))
def test_rescaling_moves_points_by_the_stated_map(synthesis, factor, x, y):
    sigma = 4.0
    image = synthesis.draw((91, 103), np.array([[x, y]]), np.ones(1), sigma)
    result = rescale(image, factor)
    assert result.shape == rescaled_shape((91, 103), factor)
    assert result.dtype == np.float32
    row, column = ndimage.center_of_mass(np.maximum(result, 0.01) - 0.01)
    assert column == pytest.approx((x + 0.5) * factor - 0.5, abs=0.02)
    assert row == pytest.approx((y + 0.5) * factor - 0.5, abs=0.02)


def test_shrinking_does_not_alias():
    x = np.indices((128, 128))[1]
    # 0.4 cycles per pixel would fold to 0.2 of the smaller image without smoothing.
    image = np.cos(2 * np.pi * 0.4 * x) + 5.0
    result = rescale(image, 0.5)
    assert np.abs(result[:, 4:-4] - 5.0).max() < 0.05


def test_a_constant_stays_one_at_any_scale():
    for factor in (0.31, 0.77, 1.0, 1.9):
        np.testing.assert_allclose(rescale(np.full((33, 47), 3.0), factor), 3.0, rtol=1e-5)


def test_a_factor_must_be_positive():
    with pytest.raises(ValueError, match="above 0"):
        rescale(np.zeros((4, 4)), 0.0)


@given(st.floats(1.0, 100.0), st.floats(5.0, 20.0))
def test_frames_are_brought_near_to_what_is_served(constant, served):
    kept = (0.85, 1.2)
    factor = scale_for(constant, served, kept)
    if kept[0] <= constant / served <= kept[1]:
        assert factor == 1.0
    else:
        assert abs(np.log(constant * factor / served)) <= np.log(SCALE_STEP) / 2 + 1e-12


def test_frames_of_one_magnification_are_of_one_shape():
    """However little their lattice constants differ, but where they lie about a step."""
    shapes = {
        rescaled_shape((512, 512), scale_for(constant, 10.5, (0.85, 1.2)))
        for constant in 12.724 * (1.0 + 3e-4 * np.linspace(-3.0, 3.0, 50))
    }
    assert len(shapes) == 1
