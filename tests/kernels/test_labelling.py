from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.labelling import bragg_filter, label, local_order, site_intensity
from latticewatch_kernels.localisation import find_peaks
from latticewatch_kernels.registration import register

#: Intensities of Table: a dopant on sublattice 0, a full vacancy, half a column on sublattice 1.
MOW, VW, VS = 0.38, 0.0, 0.075


def labelled(drawn):
    image = condition(drawn.image)
    lattice = register(image)
    return lattice, label(image, lattice)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.0, 360.0), st.floats(8.0, 25.0), st.floats(-0.06, 0.06))
def test_a_perfect_crystal_is_all_periodic_up_to_the_border(synthesis, rotation, constant, shear):
    drawn = synthesis.crystal(
        (240, 320),
        constant=constant,
        rotation=rotation,
        strain=np.array([[1.0, shear], [0.0, 1.0]]),
    )
    lattice = register(drawn.image)
    periodic = bragg_filter(drawn.image, lattice)
    gap = np.abs(periodic - drawn.image)
    border = np.ones(gap.shape, bool)
    width = round(constant)
    border[width:-width, width:-width] = False
    assert gap[~border].max() < 0.05
    assert gap[border].max() < 0.15
    assert gap[border].mean() < 0.015


def test_the_periodic_part_follows_slow_distortion(synthesis):
    drawn = synthesis.crystal((256, 256), constant=12.0)
    y, x = np.indices(drawn.image.shape)
    shift = 1.2 * np.sin(y / 50.0), 1.2 * np.cos(x / 60.0)
    image = ndimage.map_coordinates(drawn.image, [y + shift[0], x + shift[1]], mode="reflect")
    lattice = register(image)
    inner = (slice(30, -30), slice(30, -30))
    gap = (bragg_filter(image, lattice) - image)[inner]
    assert gap.std() < 0.12 * image[inner].std()


def test_displacement_of_a_distorted_scan_is_measured(synthesis):
    drawn = synthesis.crystal((256, 256), constant=12.0, counts=30.0)
    y, x = np.indices(drawn.image.shape)
    wave = 1.5 * np.sin(2 * np.pi * y / 128.0)
    image = ndimage.map_coordinates(drawn.image, [y, x + wave], order=3, mode="reflect")
    order = local_order(image, register(image))
    points = np.random.default_rng(2).uniform(40, 215, (200, 2))
    found = order.displacement_at(points)
    # What stood at x + wave is drawn at x: columns moved by minus the wave, apart from the shift,
    # scale and shear that the lattice itself takes up.
    expected = -1.5 * np.sin(2 * np.pi * points[:, 1] / 128.0)
    design = np.column_stack([np.ones(len(points)), points])
    for axis, wanted in ((0, expected), (1, np.zeros(len(points)))):
        gap = found[:, axis] - wanted
        assert np.std(gap - design @ np.linalg.lstsq(design, gap, rcond=None)[0]) < 0.25


@pytest.fixture(scope="module")
def doped(synthesis):
    drawn = [
        synthesis.crystal(
            (256, 256),
            rotation=31.0,
            counts=30.0,
            seed=seed,
            changes={0: [MOW] * 12 + [VW] * 6, 1: [VS] * 12, 2: [1.0] * 3},
        )
        for seed in range(6)
    ]
    return [(one, *labelled(one)) for one in drawn]


def test_site_intensities_are_unbiased_with_the_noise_stated(doped):
    pulls, means = [], {}
    for drawn, lattice, labels in doped:
        points = drawn.points[drawn.changed]
        cells, sublattice, _ = lattice.nearest_site(points)
        np.testing.assert_array_equal(sublattice, drawn.sublattice[drawn.changed])
        value = site_intensity(labels, lattice, cells, sublattice)
        assert value.dtype == np.float32
        for true, found in zip(drawn.intensity[drawn.changed], value, strict=True):
            means.setdefault(float(true), []).append(found)
        kept = (
            (drawn.points > 15).all(1)
            & (drawn.points < 240).all(1)
            & ~np.isin(np.arange(len(drawn.points)), drawn.changed)
        )
        for site in range(3):
            chosen = kept & (drawn.sublattice == site)
            cells, found_site, _ = lattice.nearest_site(drawn.points[chosen])
            value = site_intensity(labels, lattice, cells, found_site)
            true = (1.0, 0.15, 0.0)[site]
            pulls.append((value - true) / labels.columns.noise_by_site[site])
    for true, found in means.items():
        assert np.mean(found) == pytest.approx(true, abs=0.03)
    for site in range(3):
        pull = np.concatenate(pulls[site::3])
        assert abs(pull.mean()) < 0.4
        assert pull.std() == pytest.approx(1.0, abs=0.15)


def test_defects_are_labelled_and_nothing_else(doped):
    for drawn, _, labels in doped:
        strong = [k for k in drawn.changed if drawn.sublattice[k] != 1]
        truth = drawn.points[strong]
        for mask, sign in ((labels.dark, -1.0), (labels.bright, 1.0)):
            wanted = truth[(drawn.sublattice[strong] == 2) == (sign > 0)]
            rows, columns = np.rint(wanted[:, ::-1]).astype(int).T
            assert mask[rows, columns].all()
        found, _ = find_peaks(np.abs(labels.z), 6.0, min_distance=4.0)
        inner = (found > 6).all(1) & (found < 249).all(1)
        gaps = np.hypot(*(found[inner][:, None] - truth[None]).T).min(0)
        assert (gaps > 2.0).sum() <= 1
        assert not labels.hole.any()
        np.testing.assert_allclose(labels.fractions, (1.0, 0.0, 0.0), atol=0.01)


def test_significance_is_normal_away_from_defects(synthesis):
    _, labels = labelled(synthesis.crystal((256, 256), counts=30.0))
    inner = labels.z[20:-20, 20:-20]
    assert inner.std() == pytest.approx(1.0, abs=0.12)
    assert (np.abs(inner) > 4.0).mean() < 1e-3


def test_a_hole_is_found_and_does_not_bleed(synthesis):
    drawn = synthesis.crystal((256, 320), counts=30.0, hole=(180.0, 120.0, 45.0))
    lattice, labels = labelled(drawn)
    y, x = np.indices(drawn.image.shape)
    distance = np.hypot(x - 180.0, y - 120.0)
    assert labels.hole[distance < 36].all()
    assert not labels.hole[distance > 54].any()
    np.testing.assert_allclose(labels.fractions[2], np.pi * 45**2 / (256 * 320), rtol=0.2)
    ring = (distance > 45 + 2 * lattice.constant) & (distance < 45 + 5 * lattice.constant)
    assert labels.z[ring].std() < 1.4


def test_order_is_lost_where_the_crystal_is_scrambled(synthesis):
    drawn = synthesis.crystal((256, 256))
    rng = np.random.default_rng(8)
    points = drawn.points.copy()
    block = ((points > 59.5) & (points < 159.5)).all(axis=1)
    points[block] += 5.0 * rng.standard_normal((block.sum(), 2))
    image = rng.poisson(30.0 * synthesis.draw((256, 256), points, drawn.intensity, 1.42)) / 30.0
    order = local_order(condition(image), register(condition(image)))
    expected = (100 / 256) ** 2
    assert order.fractions[1] == pytest.approx(expected, rel=0.2)
    assert order.fractions[2] == 0.0
    assert order.fractions.sum() == pytest.approx(1.0)
