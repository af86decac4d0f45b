from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import cKDTree

from latticewatch_models import augmentation, selftraining
from latticewatch_models.augmentation import draw_background, draw_matrix, draw_warp
from latticewatch_models.holdout import agreement, divide
from latticewatch_models.labelled import label_frame
from latticewatch_models.microscope import ImagingConfig, Microscope, SpecimenConfig
from latticewatch_models.selftraining import Lessons, lesson_of, lessons_of


@pytest.fixture(scope="module")
def labelled():
    specimen = SpecimenConfig(metal_vacancy_fraction=0.01)
    imaging = ImagingConfig(dose_e_per_pixel=3200.0, rotation_deg=20.0)
    return label_frame(Microscope("WS2", (256, 288), 5, specimen, imaging).acquire().image)


@pytest.fixture(scope="module")
def lessons(labelled):
    return Lessons((lesson_of(labelled, slice(0, 192)),))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_a_point_is_found_where_the_warp_says(seed):
    rng = np.random.default_rng(seed)
    warp = draw_warp(rng, draw_matrix(rng), (200, 240), (96, 128), 10.5)
    points = rng.uniform(20, 180, (200, 2))
    moved = warp.points(points)
    inside = ((moved > 1) & (moved < [126, 94])).all(axis=1)
    rows, columns = warp.places((96, 128))
    place = moved[inside][:, ::-1].T
    back = np.stack([ndimage.map_coordinates(part, place, order=1) for part in (columns, rows)], 1)
    # between two rows that jitter differently a point is good to their difference
    assert np.abs(back - points[inside]).max(initial=0.0) < 2.5
    assert np.abs(back - points[inside]).mean() < 0.6 if inside.any() else True


def test_the_background_only_adds_and_is_smooth():
    rng = np.random.default_rng(3)
    for _ in range(20):
        field = draw_background(rng, (100, 130), 10.5, 4.0)
        assert field.shape == (100, 130)
        assert field.min() >= 0.0
        assert np.abs(np.diff(field, axis=1)).max() < 0.25 * 4.0


def test_scenes_are_reproducible_and_of_the_shape_asked_for(lessons):
    for seed in range(8):
        one, again = (lessons(np.random.default_rng(seed), (128, 160)) for _ in range(2))
        assert one.image.shape == one.ignore.shape == (128, 160)
        assert one.image.dtype == np.float32
        np.testing.assert_array_equal(one.image, again.image)
        np.testing.assert_array_equal(one.points, again.points)
        assert ((one.points >= -0.5) & (one.points < [159.5, 127.5])).all()


def test_own_pixels_keep_their_defects_whichever_way_they_are_turned(labelled, monkeypatch):
    monkeypatch.setattr(selftraining, "OWN_PIXELS_SHARE", 1.0)
    lesson = lesson_of(labelled)
    column, row = np.rint(lesson.points).astype(int).T
    spiked = lesson.image.copy()
    spiked[row, column] = 80.0
    source = Lessons((replace(lesson, image=spiked, points=np.stack([column, row], 1)),))
    for seed in range(16):
        scene = source(np.random.default_rng(seed), (128, 128))
        rows, columns = np.nonzero(scene.image > 40.0)
        assert len(rows) > 2
        given_points = np.rint(scene.points).astype(int).tolist()
        assert sorted(zip(columns.tolist(), rows.tolist(), strict=True)) == sorted(
            map(tuple, given_points)
        )


def test_what_a_composed_scene_claims_is_what_labelling_it_finds(lessons, monkeypatch):
    monkeypatch.setattr(selftraining, "OWN_PIXELS_SHARE", 0.0)
    monkeypatch.setattr(selftraining, "DOSE_RANGE", (2.0, 2.1))
    monkeypatch.setattr(selftraining, "STRENGTH_RANGE", (0.95, 1.0))
    monkeypatch.setattr(augmentation, "BACKGROUND_LIMIT", 0.1)
    claimed = found = agreed = 0
    for seed in range(6):
        scene = lessons(np.random.default_rng(seed), (160, 160))
        again = label_frame(scene.image)
        labels, silent = again.points, scene.ignore | again.points.ignore(again.lattice)
        counted = scene.points[_clear(silent, scene.points)]
        seen = labels.points[_clear(silent, labels.points)]
        claimed, found = claimed + len(counted), found + len(seen)
        agreed += (cKDTree(seen).query(counted)[0] < 2.0).sum()
    assert claimed > 60
    assert agreed > 0.85 * claimed
    assert agreed > 0.85 * found


def _clear(silent, points):
    column, row = np.rint(points).astype(int).T
    inside = (points > 6).all(axis=1) & (points < np.array(silent.shape[::-1]) - 7).all(axis=1)
    wide = ndimage.binary_dilation(silent, iterations=3)
    return inside & ~wide[np.clip(row, 0, len(wide) - 1), np.clip(column, 0, wide.shape[1] - 1)]


def test_a_frame_of_another_scale_comes_at_the_canonical_one(monkeypatch):
    monkeypatch.setattr(selftraining, "DOSE_RANGE", (1.0, 1.1))
    monkeypatch.setattr(augmentation, "BACKGROUND_LIMIT", 0.1)
    image = Microscope(
        "MoS2", (320, 320), 2, SpecimenConfig(metal_vacancy_fraction=0.02),
        ImagingConfig(pixel_size_nm=0.017, dose_e_per_pixel=3200.0),
    ).acquire().image  # fmt: skip
    labelled = label_frame(image)
    assert labelled.lattice.constant > 18
    source = Lessons((lesson_of(labelled),))
    for seed in range(6):
        scene = source(np.random.default_rng(seed), (128, 128))
        assert scene.image.shape == scene.ignore.shape == (128, 128)
        assert label_frame(scene.image).lattice.constant == pytest.approx(10.5, rel=0.02)


def test_a_frame_without_defects_teaches_nothing(labelled):
    top = float(labelled.points.points[:, 1].min())
    empty = slice(0, int(top))
    with pytest.raises(ValueError, match="no defect is labelled in rows"):
        lesson_of(labelled, empty)
    with pytest.raises(ValueError, match="give more frames"):
        lessons_of([(labelled, empty)])
    assert len(lessons_of([(labelled, empty), (labelled, slice(0, 256))]).parts) == 1


def test_the_last_quarter_is_kept(labelled):
    taught, kept = divide([labelled])
    assert (taught[0].rows, kept[0].rows) == (slice(0, 192), slice(192, 256))
    taught, kept = divide([labelled] * 9)
    assert (len(taught), len(kept)) == (7, 2)
    assert all(part.rows == slice(0, 256) for part in taught + kept)


def test_agreement_counts_in_the_rows_that_were_kept(labelled):
    points, sign = labelled.points.points, labelled.points.significance
    clear = ~(labelled.points.ignore(labelled.lattice))[
        tuple(np.rint(points[:, ::-1]).astype(int).T)
    ]
    shown = points[clear][1:]
    segmenter = SimpleNamespace(
        lattice_constant_px=10.5,
        card=SimpleNamespace(scale_range=(0.85, 1.2)),
        segment=lambda _: SimpleNamespace(detections=lambda *_: (shown + 0.3, np.ones(len(shown)))),
    )
    score = agreement(segmenter, divide([labelled])[1])
    assert not score.false_alarms
    assert sum(score.hits.values()) == (shown[:, 1] >= 191.5).sum() > 3
    whole = agreement(segmenter, divide([labelled, labelled])[0])
    assert sum(whole.hits.values()) == len(shown)
    assert sum(whole.misses.values()) == len(points) - len(shown)
    assert whole.misses["bright" if sign[clear][0] > 0 else "dark"] >= 1
