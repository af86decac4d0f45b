"""Columns that were moved are found moved, by as much, with errors that hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.displacements import SEVEN_CELLS, column_displacements
from latticewatch_kernels.labelling import label
from latticewatch_kernels.registration import register

SIGMA = 1.42  # the synthesis draws columns of 0.135 lattice constants
MOW, VACANT = 0.38, 0.075


def dopants(synthesis, shift, *, rotation=7.0, counts=0.0, shape=(256, 256), seed=1, vacancy=True):
    """A crystal with lone dopants, all moved, each beside a chalcogen that lacks an atom."""
    drawn = synthesis.crystal(shape, rotation=rotation, changes={0: [MOW] * 8}, seed=seed)
    points, intensity = drawn.points.copy(), drawn.intensity.copy()
    if vacancy:
        for k in drawn.changed:
            place = drawn.points[k] + drawn.lattice.matrix @ [1 / 3, 2 / 3]
            near = np.hypot(*(points - place).T).argmin()
            assert drawn.sublattice[near] == 1
            intensity[near] = VACANT
    points[drawn.changed] += shift
    image = synthesis.draw(shape, points, intensity, SIGMA) + 0.05
    if counts:
        image = np.random.default_rng(seed).poisson(image * counts) / counts
    return drawn, image


def measured(image, points):
    conditioned = condition(image)
    lattice = register(conditioned)
    labels = label(conditioned, lattice)
    cells, sublattice, _ = lattice.nearest_site(points - labels.order.displacement_at(points))
    assert (sublattice == 0).all()
    return lattice, column_displacements(labels, lattice, cells)


@settings(max_examples=12, deadline=None)
@given(st.floats(0.0, 360.0), st.floats(0.0, 0.5), st.floats(0.0, 360.0))
def test_a_noiseless_displacement_is_recovered_and_neighbours_stay(
    synthesis, rotation, size, angle
):
    shift = size * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    drawn, image = dopants(synthesis, shift, rotation=rotation)
    _, found = measured(image, drawn.points[drawn.changed])
    whole = np.isfinite(found.shift).all(axis=(1, 2))
    assert whole.sum() >= 5
    # 0.03 px are 0.9 pm at 0.03 nm a pixel: the local average holds 1 % of each of these columns
    np.testing.assert_allclose(found.shift[whole, 0], np.tile(shift, (whole.sum(), 1)), atol=0.03)
    np.testing.assert_allclose(found.shift[whole, 1:], 0.0, atol=0.03)


def test_errors_are_those_that_displacements_scatter_by(synthesis):
    z = []
    for seed in range(6):
        drawn, image = dopants(synthesis, np.zeros(2), counts=30.0, seed=seed)
        _, found = measured(image, drawn.points[drawn.changed])
        z.append(found.shift / found.error)
    z = np.concatenate(z)
    z = z[np.isfinite(z).all(axis=(1, 2))]
    # 40 dopants: 1.0 to a tenth for the dopants, whose columns are darker, and for the neighbours
    for columns in (z[:, 0], z[:, 1:]):
        assert 0.8 < columns.std() < 1.25


def test_neighbours_are_named_by_their_cells(synthesis):
    drawn, image = dopants(synthesis, np.zeros(2), vacancy=False)
    lattice = drawn.lattice
    for k, cell in enumerate(SEVEN_CELLS[1:], start=1):
        points = drawn.points.copy()
        places = drawn.points[drawn.changed] + lattice.matrix @ cell
        moved = [np.hypot(*(points - place).T).argmin() for place in places]
        points[moved] += [0.3, 0.0]
        image = synthesis.draw(image.shape, points, drawn.intensity, SIGMA) + 0.05
        own, found = measured(image, drawn.points[drawn.changed])
        np.testing.assert_allclose(own.a1, lattice.a1, atol=0.1)
        farthest = np.nanargmax(np.abs(found.shift[..., 0]), axis=1)
        assert (farthest == k).all()


def test_missing_columns_holes_and_borders_are_not_measured(synthesis):
    drawn = synthesis.crystal((256, 256), counts=60.0, changes={0: [0.0] * 4}, hole=(60, 60, 30))
    lattice, found = measured(drawn.image, drawn.points[drawn.changed])
    far = np.hypot(*(drawn.points[drawn.changed] - 60).T) > 50
    assert far.any()
    assert np.isnan(found.shift[far, 0]).all()
    inner = far & ((drawn.points[drawn.changed] > 20) & (drawn.points[drawn.changed] < 235)).all(1)
    assert np.isfinite(found.shift[inner, 1:]).all()
    metal = drawn.sublattice == 0
    rim = metal & (drawn.points > 0).all(axis=1) & (drawn.points < 2).any(axis=1)
    _, found = measured(drawn.image, drawn.points[rim])
    assert np.isnan(found.shift[:, 0]).all()
    hollow = metal & (np.hypot(*(drawn.points - 60).T) < 20)
    cells, _, _ = lattice.nearest_site(drawn.points[hollow])
    conditioned = condition(drawn.image)
    found = column_displacements(label(conditioned, lattice), lattice, cells)
    assert np.isnan(found.shift[:, 0]).all()


def test_no_dopants_no_displacements(synthesis):
    _, image = dopants(synthesis, np.zeros(2))
    _, found = measured(image, np.zeros((0, 2)))
    assert found.shift.shape == found.error.shape == (0, 7, 2)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_no_crystal_gives_no_nonsense(synthesis, seed):
    drawn, image = dopants(synthesis, np.zeros(2), counts=2.0, seed=seed)
    rng = np.random.default_rng(seed)
    image[:128] = gaussian_filter(rng.random((128, 256)), 1.5)
    conditioned = condition(image)
    labels = label(conditioned, drawn.lattice)
    inside = (drawn.sublattice == 0) & ((drawn.points > 0) & (drawn.points < 255)).all(axis=1)
    found = column_displacements(labels, drawn.lattice, drawn.cells[inside])
    known = np.isfinite(found.shift)
    assert (np.isfinite(found.error) == known).all()
    assert (np.hypot(*found.shift[known.all(axis=2)].T) < 0.2 * drawn.lattice.constant + 1e-3).all()
