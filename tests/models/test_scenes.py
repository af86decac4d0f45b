"""Training scenes: reproducible, true to their marks, and inside the ranges they promise."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.imaging import Detector
from latticewatch_models.microscope import ImagingConfig, Microscope, SpecimenConfig
from latticewatch_models.scenes import (
    LATTICE_RANGE_PX,
    draw_crops,
    draw_imaging,
    draw_scene,
    scanner_faults,
    scene_of,
)


def test_a_scene_is_its_seed():
    first, again = (draw_scene(np.random.default_rng(4), (96, 64)) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.points, again.points)
    other = draw_scene(np.random.default_rng(5), (96, 64))
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("seed", range(6))
def test_a_scene_has_the_shape_asked_for_and_its_points_inside(seed):
    scene = draw_scene(np.random.default_rng(seed), (64, 96))
    assert scene.image.shape == scene.ignore.shape == (64, 96)
    assert scene.image.dtype == np.float32
    assert np.isfinite(scene.image).all()
    assert len(scene.points) == len(scene.species)
    assert ((scene.points >= -0.5) & (scene.points < [95.5, 63.5])).all()


def test_crops_tile_the_scene_they_are_cut_from():
    crops = draw_crops(np.random.default_rng(6), 64, 4)
    scene = draw_scene(np.random.default_rng(6), (128, 128))
    rows = [np.hstack([c.image for c in crops[k : k + 2]]) for k in (0, 2)]
    np.testing.assert_array_equal(np.vstack(rows), scene.image)
    assert sum(len(c.points) for c in crops) == len(scene.points)
    assert sum(len(c.columns) for c in crops) == len(scene.columns)


@pytest.mark.parametrize("factor", [1.0, 0.5, 1.6])
def test_marks_stay_on_their_columns_when_a_scene_is_resampled(factor):
    imaging = ImagingConfig(
        pixel_size_nm=0.03 * factor,
        dose_e_per_pixel=1e6,
        jitter_px=0.0,
        contamination=0.0,
        drift_nm_per_frame=0.0,
        detector=Detector(dtype="float32"),
    )
    specimen = SpecimenConfig(
        dopant_fraction=0.0,
        vacancy_fraction=0.0,
        metal_vacancy_fraction=0.03,
        adatom_per_cell=0.0,
        bound_share=0.0,
    )
    frame = Microscope("WS2", (200, 320), 3, specimen, imaging).acquire()
    scene = scene_of(frame.image, frame.truth, factor, columns=frame.columns.points)
    limits = np.array(scene.image.shape[::-1]) - 1
    places = np.clip(np.rint(scene.points), 0, limits).astype(int)
    assert len(places) >= 5
    # a missing metal column is darker than half of the frame, any standing one brighter than most
    assert (scene.image[places[:, 1], places[:, 0]] < 0.5).all()
    # columns keep their brightness, and none stands where one is missing
    metal = np.rint(scene.columns[frame.columns.sublattice == 0]).astype(int).clip(0, limits)
    assert np.median(scene.image[metal[:, 1], metal[:, 0]]) > np.quantile(scene.image, 0.9)
    assert cKDTree(scene.columns).query(scene.points)[0].min() > 2.0


def test_a_usual_specimen_has_the_doping_it_is_said_to_have():
    scenes = [draw_scene(np.random.default_rng(k), (128, 128), usual=True) for k in range(12)]
    dopants = sum(np.isin(s.species, ["MoW", "V@Mo", "SiC"]).sum() for s in scenes)
    columns = sum(len(s.columns) for s in scenes)
    # 3 % of about half of the columns
    assert 0.008 < dopants / columns < 0.03
    assert not any(s.ignore.any() for s in scenes)


def test_a_species_left_out_stands_in_no_scene():
    left = ("VW", "VMo", "VC")
    seen = set()
    for seed in range(12):
        scene = draw_scene(np.random.default_rng(seed), (96, 96), left)
        seen |= set(scene.species.tolist())
        assert scene.columns is not None
    assert not seen & set(left)
    assert {"MoW", "VS"} <= seen


def test_a_hole_is_ignored_at_its_rim_and_empty_in_its_depth():
    specimen = SpecimenConfig(hole_fraction=0.2, hole_radius_cells=6.0)
    frames = (Microscope("WS2", (160, 160), k, specimen).acquire() for k in range(20))
    frame = next(f for f in frames if 0.1 < f.truth.fractions[2] < 0.3)
    scene = scene_of(frame.image, frame.truth)
    hole = frame.truth.hole_mask()
    assert scene.ignore.any()
    assert (hole & ~scene.ignore).any()
    assert (~hole & ~scene.ignore).any()


@pytest.mark.parametrize("name", list(CRYSTALS))
def test_imaging_gives_the_lattice_constant_asked_for(name):
    rng = np.random.default_rng(8)
    for factor in (1.0, 0.5):
        wanted = float(rng.uniform(*LATTICE_RANGE_PX))
        imaging = draw_imaging(rng, CRYSTALS[name], wanted, factor)
        frame = Microscope(name, (128, 128), 1, SpecimenConfig(margin_nm=0.3), imaging).acquire()
        # drift within the frame may change it by its share of the frame's height
        assert frame.truth.lattice.constant == pytest.approx(wanted / factor, rel=0.05)


def test_scanner_faults_keep_the_mean_and_run_along_rows():
    flat = np.full((200, 200), 100.0, np.float32)
    rng = np.random.default_rng(1)
    seen = [scanner_faults(flat, rng) for _ in range(30)]
    changed = [image for image in seen if np.ptp(image) > 0.1]
    assert changed
    assert len(changed) < 30
    for image in changed:
        assert image.mean() == pytest.approx(100.0, rel=0.01)
        assert np.ptp(image[:, 1:], axis=1).max() < 1e-3
