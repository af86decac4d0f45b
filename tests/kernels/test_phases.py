"""Areas from blurred maps are those before the blur."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from latticewatch_kernels.phases import WHOLE, area_fractions

#: Cells of a map to a lattice constant, as in a frame of 10.5 px a constant.
CELL = 1.75
SIDE = 80


def disc(x, y, radius, fine=4):
    """Share of each cell that lies in a disc."""
    place = (np.arange(SIDE * fine) + 0.5) / fine - 0.5
    inside = (place[None] - x) ** 2 + (place[:, None] - y) ** 2 <= radius**2
    return inside.reshape(SIDE, fine, SIDE, fine).mean(axis=(1, 3))


def maps(order, matter, tilt=0.05):
    """What a frame would show: waves whose phase runs slowly, as a scan's distortion makes it."""
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    phase = np.exp(1j * (tilt * x - 0.5 * tilt * y))
    order, matter = (gaussian_filter(part, CELL) for part in (order, matter))
    waves = np.stack([order * phase**k for k in (1, -1, 2)])
    return waves, order, matter


@settings(max_examples=40, deadline=None)
@given(
    st.floats(1.5, 8.0),
    st.floats(0.3, 0.7),
    st.floats(0.3, 0.7),
    st.booleans(),
    st.floats(-0.1, 0.1),
)
def test_the_area_of_a_disc_is_told(radius, u, v, hole, tilt):
    lost = disc(u * SIDE, v * SIDE, radius * CELL)
    found = area_fractions(*maps(1.0 - lost, 1.0 - hole * lost, tilt), CELL)
    expected = np.array([1.0 - lost.mean(), 0.0 if hole else lost.mean(), hole * lost.mean()])
    # what is lost at a distance, and waves that turn within the average: 3 % of the area
    np.testing.assert_allclose(found, expected, atol=0.03 * lost.mean() + 1e-4)


def test_holes_and_disorder_are_told_apart_side_by_side():
    hole, scattered = disc(20, 20, 8), disc(58, 55, 8)
    order, matter = 1.0 - hole - scattered, 1.0 - hole + 0.4 * scattered
    found = area_fractions(*maps(order, matter), CELL)
    np.testing.assert_allclose(found[1:], [scattered.mean(), hole.mean()], rtol=0.03)
    assert found.sum() == pytest.approx(1.0)


def test_a_crystal_with_point_defects_is_whole():
    order = 1.0 - disc(40, 40, 1.0)
    assert (area_fractions(*maps(order, np.ones_like(order)), CELL) == WHOLE).all()


def test_what_is_random_is_no_crystal():
    rng = np.random.default_rng(2)
    scattered = disc(40, 40, 20)
    waves, _, matter = maps(1.0 - scattered, 1.0 + 0.4 * scattered)
    noise = rng.standard_normal((3, SIDE, SIDE)) + 1j * rng.standard_normal((3, SIDE, SIDE))
    noise = np.stack(
        [gaussian_filter(n.real, CELL) + 1j * gaussian_filter(n.imag, CELL) for n in noise]
    )
    waves = waves + scattered * 0.3 * noise / np.sqrt((np.abs(noise) ** 2).mean())
    amplitude = np.sqrt((np.abs(waves) ** 2).mean(axis=0))
    found = area_fractions(waves, amplitude, matter, CELL)
    # by its modulus a fifth and more of the patch would be crystal
    assert found[1] == pytest.approx(scattered.mean(), rel=0.08)


def test_fractions_stay_fractions_where_hardly_any_crystal_is_left():
    order = disc(40, 40, 4)
    found = area_fractions(*maps(order, order), CELL)
    assert (found >= 0.0).all()
    assert found.sum() == pytest.approx(1.0)
    assert found[2] > 0.8
