from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.labelling import label
from latticewatch_kernels.point_labels import (
    LOCAL_CELLS,
    LOCAL_CLIP,
    RIM_CELLS,
    _local_spread,
    points_of_labels,
)
from latticewatch_kernels.registration import register

#: Intensities of a dopant, a metal vacancy and an adatom.
MOW, VW, ADATOM = 0.38, 0.0, 1.0


def pointed(image, **thresholds):
    conditioned = condition(image)
    lattice = register(conditioned)
    return lattice, points_of_labels(label(conditioned, lattice), lattice, **thresholds)


def test_defects_are_found_on_their_sites_with_their_sign(synthesis):
    wanted = found = 0
    for seed in range(6):
        changes = {0: [MOW] * 12 + [VW] * 6, 2: [ADATOM] * 3}
        drawn = synthesis.crystal(rotation=31.0, counts=30.0, seed=seed, changes=changes)
        truth, bright = drawn.points[drawn.changed], drawn.sublattice[drawn.changed] == 2
        _, labels = pointed(drawn.image)
        gap, nearest = cKDTree(truth).query(labels.points)
        right = gap < 0.5
        np.testing.assert_array_equal(labels.significance[right] > 0, bright[nearest[right]])
        assert len(set(nearest[right])) == right.sum()
        # what lies at the very border, where half a column is seen, may be missed or made up
        assert (~right).sum() <= 1
        wanted, found = wanted + len(truth), found + right.sum()
    assert found >= 0.97 * wanted


@settings(max_examples=12, deadline=None)
@given(st.floats(0.0, 120.0), st.floats(9.0, 20.0), st.integers(0, 1000), st.floats(3.0, 6.0))
def test_points_are_distinct_sites_inside_the_frame_surest_first(
    synthesis, rotation, constant, seed, threshold
):
    drawn = synthesis.crystal(
        (200, 260), constant=constant, rotation=rotation, counts=15.0, seed=seed,
        changes={0: [MOW] * 6},
    )  # fmt: skip
    _, labels = pointed(drawn.image, threshold=threshold)
    size = np.abs(labels.significance)
    assert (size >= threshold).all()
    assert (np.diff(size) <= 0).all()
    sites = np.column_stack([labels.cells, labels.sublattice])
    assert len(np.unique(sites, axis=0)) == len(sites)
    both = np.concatenate([labels.points, labels.doubtful])
    assert ((both >= -0.5) & (both < [259.5, 199.5])).all()
    if len(both) > 1:
        assert cKDTree(both).query(both, k=2)[0][:, 1].min() > 0.4 * constant


def test_weak_defects_are_left_in_doubt(synthesis):
    drawn = synthesis.crystal(counts=30.0, changes={0: [0.8] * 14})
    lattice, labels = pointed(drawn.image)
    truth = drawn.points[drawn.changed]
    doubt = cKDTree(labels.doubtful).query(truth)[0] < 0.5
    sure = cKDTree(labels.points).query(truth)[0] < 0.5 if len(labels.points) else ~doubt & False
    assert doubt.sum() >= 8
    assert (doubt | sure).sum() >= 11
    silent = labels.ignore(lattice)
    rows, columns = np.rint(labels.doubtful[:, ::-1]).astype(int).T
    assert silent[rows, columns].all()
    assert silent.mean() < 0.1


def test_a_hole_holds_no_point_and_its_rim_is_silent(synthesis):
    drawn = synthesis.crystal((256, 320), counts=30.0, hole=(180.0, 120.0, 45.0))
    lattice, labels = pointed(drawn.image)
    distance = np.hypot(*(labels.points - [180.0, 120.0]).T)
    assert not (distance < 45 + 0.5 * RIM_CELLS * lattice.constant).any()
    assert len(labels.points) <= 3
    assert labels.hole[120, 180]
    silent = labels.ignore(lattice)
    assert not silent[120, 180]
    edge = labels.hole & ~np.roll(labels.hole, 1, axis=1)
    assert silent[np.roll(edge, -1, axis=1) & ~labels.hole].all()
    assert not labels.contamination.any()


def test_what_spreads_over_several_columns_is_contamination_and_no_point(synthesis):
    drawn = synthesis.crystal(counts=30.0)
    y, x = np.indices(drawn.image.shape)
    along = (x - 120.0) * 0.8 + (y - 130.0) * 0.6
    across = (y - 130.0) * 0.8 - (x - 120.0) * 0.6
    image = drawn.image + 0.9 * np.exp(-((across / 4.0) ** 2) - (along / 22.0) ** 4)
    lattice, labels = pointed(image)
    assert labels.contamination[130, 120]
    assert labels.untold[130, 120]
    assert labels.contamination.mean() < 0.06
    beside = np.hypot(*(labels.points - [120.0, 130.0]).T)
    assert not (beside < 12.0).any()
    assert labels.ignore(lattice)[130, 120]


@pytest.mark.parametrize(("threshold", "doubt"), [(2.0, 2.5), (4.0, 0.0), (-1.0, -2.0)])
def test_thresholds_that_make_no_sense_are_refused(synthesis, threshold, doubt):
    with pytest.raises(ValueError, match="give a threshold above"):
        pointed(synthesis.crystal(counts=30.0).image, threshold=threshold, doubt=doubt)


@pytest.mark.parametrize("constant", [6.0, 10.5, 31.0])
def test_the_spread_around_a_site_is_that_of_a_gaussian_window(constant):
    """Blocks of pixels stand for the pixels; the window itself is SciPy's."""
    rng = np.random.default_rng(3)
    y, x = np.indices((240, 311))
    z = rng.normal(size=x.shape) * (1.0 + (np.hypot(x - 200, y - 90) < 60))
    rows, columns = rng.integers(0, 240, 400), rng.integers(0, 311, 400)
    found = _local_spread(z.astype(np.float32), constant, rows, columns)
    clipped = np.minimum(z**2, LOCAL_CLIP**2)
    window = gaussian_filter(clipped, LOCAL_CELLS * constant, mode="reflect", truncate=2.0)
    expected = np.sqrt(np.maximum(window, 1.0))[rows, columns]
    np.testing.assert_allclose(found, expected, rtol=0.03)
    assert expected.max() > 1.2
