from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.labelling import label
from latticewatch_kernels.lattice import Lattice, NoLatticeError
from latticewatch_kernels.registration import drift, register, registered


@settings(max_examples=30, deadline=None)
@given(
    rotation=st.floats(0.0, 360.0),
    x=st.floats(0.0, 20.0),
    y=st.floats(0.0, 20.0),
    second=st.floats(0.1, 0.7),
    shear=st.floats(-0.08, 0.08),
)
def test_phase_vectors_and_motif_of_a_clean_frame(synthesis, rotation, x, y, second, shear):
    drawn = synthesis.crystal(
        (200, 280),
        rotation=rotation,
        origin=(x, y),
        heights=(1.0, second, 0.0),
        strain=np.array([[1.0, shear], [0.0, 1.0]]),
    )
    lattice = register(drawn.image)
    gap = synthesis.modulo(drawn.lattice, np.array(lattice.origin) - drawn.lattice.origin)
    assert np.hypot(*gap[0]) < 0.03
    assert lattice.constant == pytest.approx(drawn.lattice.constant, rel=1e-3)
    np.testing.assert_allclose(lattice.heights, (1.0, second, 0.0), atol=0.02)
    # The second column of the drawn crystal stands at (1/3, 2/3) of the lattice found.
    place = lattice.to_fractional(drawn.lattice.site_positions([[0, 0]], [1]))[0]
    gap = place - [1 / 3, 2 / 3]
    assert np.abs(gap - np.rint(gap)).max() < 0.05
    assert abs(lattice.rotation) <= 70.0
    assert np.linalg.det(lattice.matrix) > 0
    centre = np.array([139.5, 99.5])
    assert np.hypot(*(lattice.origin - centre)) <= 0.66 * lattice.constant


def test_counting_noise_and_defects_move_the_phase_little(synthesis):
    drawn = synthesis.crystal(counts=10.0, changes={0: [0.38] * 10, 1: [0.075] * 10, 2: [1.0] * 3})
    lattice = register(condition(drawn.image))
    gap = synthesis.modulo(drawn.lattice, np.array(lattice.origin) - drawn.lattice.origin)
    assert np.hypot(*gap[0]) < 0.06
    assert lattice.heights[1] == pytest.approx(0.15, abs=0.03)


@pytest.mark.parametrize("seed", range(8))
def test_two_equal_sublattices_get_the_same_gauge_whatever_the_noise(synthesis, seed):
    drawn = synthesis.crystal(
        rotation=37.0, heights=(1.0, 1.0, 0.0), counts=20.0, seed=seed, constant=9.0
    )
    lattice = register(condition(drawn.image))
    # a1 candidates lie at 37 + 60 k degrees: -23 is the only one within 30 degrees of +x.
    assert lattice.rotation == pytest.approx(-23.0, abs=0.3)
    assert lattice.heights[1] == pytest.approx(1.0, abs=0.1)
    sublattices = [np.array(drawn.lattice.origin), drawn.lattice.site_positions([[0, 0]], [1])[0]]
    gaps = [synthesis.modulo(drawn.lattice, np.array(lattice.origin) - s)[0] for s in sublattices]
    assert np.hypot(*gaps[1]) < 0.05


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-0.49, 0.49),
    st.floats(-0.49, 0.49),
    st.integers(-5, 5),
    st.integers(-5, 5),
    st.floats(0.0, 360.0),
)
def test_drift_is_the_shift_modulo_the_lattice(synthesis, u, v, i, j, rotation):
    before = synthesis.hexagonal(10.0, rotation, (50.0, 60.0))
    # Half of the shortest lattice vector is the longest shift that has no shorter equal.
    shift = before.matrix @ np.array([u, v])
    moved = np.array(before.origin) + shift + before.matrix @ np.array([i, j])
    now = Lattice(before.a1, before.a2, (float(moved[0]), float(moved[1])))
    found = drift(before, now)
    expected = synthesis.modulo(before, shift)[0]
    assert np.hypot(*found) == pytest.approx(np.hypot(*expected), abs=1e-9)
    np.testing.assert_allclose(synthesis.modulo(before, found - shift)[0], 0.0, atol=1e-9)


def test_drift_between_two_frames(synthesis):
    first = register(synthesis.crystal(origin=(0.0, 0.0)).image)
    second = register(synthesis.crystal(origin=(1.7, -2.1)).image)
    np.testing.assert_allclose(drift(first, second), (1.7, -2.1), atol=0.05)


def test_no_lattice_is_no_registration():
    with pytest.raises(NoLatticeError):
        register(condition(np.random.default_rng(0).normal(size=(128, 128))))


def test_harmonics_come_along_with_the_lattice(synthesis):
    """Labels made from them are those that are made by measuring again."""
    image = condition(synthesis.crystal(counts=40.0).image)
    lattice, harmonics = registered(image)
    assert lattice == register(image)
    again, once = label(image, lattice), label(image, lattice, harmonics=harmonics)
    np.testing.assert_allclose(once.z, again.z, atol=1e-3)
    assert once.columns.sigma == pytest.approx(again.columns.sigma, rel=1e-6)
