"""Strips of a frame that is being acquired: every row looked at, every defect told once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from latticewatch.client.frames import FrameHeader
from latticewatch.config import load_settings
from latticewatch.opening import analyser_for, strip_reader
from latticewatch.receiving.deliveries import Part
from latticewatch.strips import BORDER_CELLS, LEAST_PX, Progress, Strip
from latticewatch_models.microscope import Microscope
from latticewatch_models.runtime import Segmenter

CONSTANT = 10.0
HEIGHT, WIDTH = 400, 200


def specimen(rng: np.random.Generator) -> np.ndarray:
    """Defects (n, 2) that are more than a lattice constant apart."""
    x, y = np.meshgrid(np.arange(0, WIDTH, 2 * CONSTANT), np.arange(0, HEIGHT, 2 * CONSTANT))
    places = np.stack([x.ravel(), y.ravel()], axis=-1)
    places += rng.uniform(-0.3, 0.3, places.shape) * CONSTANT
    inside = (places >= 0).all(axis=1)
    return places[inside & (rng.random(len(places)) < 0.6)]


def seen(places: np.ndarray, top: int, bottom: int, rng: np.random.Generator) -> np.ndarray:
    """What a strip finds: a little off, and near its borders only some."""
    inside = places[(places[:, 1] >= top) & (places[:, 1] < bottom)]
    height = inside[:, 1]
    top_border = 0 if top == 0 else BORDER_CELLS * CONSTANT
    sure = (height - top >= top_border) & (bottom - height > BORDER_CELLS * CONSTANT)
    found = inside[sure | (rng.random(len(inside)) < 0.7)]
    return found + rng.uniform(-0.15, 0.15, found.shape) * CONSTANT


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 120), min_size=1, max_size=60))
def test_every_defect_is_told_once_whatever_the_blocks(seed, blocks):
    rng = np.random.default_rng(seed)
    places, progress, done = specimen(rng), Progress(constant=CONSTANT), 0
    for block in blocks:
        done = min(HEIGHT, done + block)
        strip = progress.next_strip(done, HEIGHT)
        if strip is None:
            continue
        assert (strip.bottom, strip.top <= progress.rows) == (done, True)
        points = seen(places, strip.top, strip.bottom, rng)
        labels = tuple(f"{y:.3f}" for _, y in points)
        progress = progress.after(strip, points, labels, CONSTANT)
        told = progress.points
        assert len(told) == len(progress.labels)
        np.testing.assert_allclose(told[:, 1], [float(y) for y in progress.labels], atol=1e-3)
        if len(told) > 1:
            assert cKDTree(told).query(told, 2)[0][:, 1].min() > 0.5 * CONSTANT
        due = places[places[:, 1] < done - (BORDER_CELLS + 0.15) * CONSTANT]
        if len(due):
            assert cKDTree(told).query(due)[0].max() < 0.5 * CONSTANT
    enough = 8 * CONSTANT <= done <= HEIGHT * 7 // 8
    assert progress.rows > 0 or not enough


def test_a_strip_has_height_enough_and_so_few_as_to_be_worth_it():
    progress = Progress()
    assert progress.next_strip(LEAST_PX - 1, HEIGHT) is None
    strip = progress.next_strip(LEAST_PX, HEIGHT)
    assert (strip.top, strip.bottom, strip.seam) == (0, LEAST_PX, 0)
    after = progress.after(strip, np.empty((0, 2)), (), CONSTANT)
    assert after.next_strip(LEAST_PX + HEIGHT // 8 - 1, HEIGHT) is None
    assert after.next_strip(LEAST_PX + HEIGHT // 8, HEIGHT).top == LEAST_PX - 4 * CONSTANT
    # the whole frame will be there before the strip
    assert after.next_strip(HEIGHT - 1, HEIGHT) is None


def test_a_coarse_lattice_takes_higher_strips_from_the_next_on():
    coarse = Progress(constant=50.0).after(
        Progress().next_strip(300, 2000), np.empty((0, 2)), (), 50.0
    )
    assert coarse.afresh().next_strip(399, 2000) is None
    assert coarse.afresh().next_strip(400, 2000).bottom == 400


def test_rows_without_a_lattice_are_tried_again_with_more_of_them():
    progress = Progress()
    strip = progress.next_strip(100, HEIGHT)
    again = progress.without(strip)
    assert (again.rows, again.next_strip(149, HEIGHT)) == (0, None)
    assert again.next_strip(150, HEIGHT).top == 0


@pytest.fixture(scope="module")
def reader():
    defaults = load_settings()
    return strip_reader(analyser_for(Segmenter(), defaults.analysis), defaults)


def part(image: np.ndarray, rows_done: int) -> Part:
    header = FrameHeader("a", 1, 0, image.shape, image.dtype.name, 0.0, pixel_size_nm=0.03)
    return Part("a", 0, 1, 0, header, image, rows_done)


def test_strips_see_what_the_whole_frame_shows(reader):
    """Single frames of 1,600 electrons a pixel are hard to read; strips read them much the same."""
    size, seed = 320, 11
    image = next(iter(Microscope("WS2", (size, size), seed).frames(1))).image
    progress, overlays = Progress(), []
    for done in range(32, size + 1, 32):
        strip = progress.next_strip(done, size)
        if strip is not None:
            known = image.copy()
            known[done:] = 0  # what has not come yet holds anything
            told = reader(part(known, done), strip, progress)
            progress = told.progress
            overlays.append(told.overlay)
    whole = reader(part(image, size), Strip(0, size, 0), Progress()).progress
    assert len(overlays) >= 4
    last = overlays[-1]
    assert last.image.shape == (last.rows_done, size)
    inner = last.rows_done - BORDER_CELLS * progress.constant
    expected = whole.points[whole.points[:, 1] < inner]
    names = np.array(whole.labels)[whole.points[:, 1] < inner]
    distance, nearest = cKDTree(last.points).query(expected)
    found = distance < 0.5 * progress.constant
    right = found & (np.array(last.labels)[nearest] == names)
    assert right.mean() > 0.9, f"seed {seed}: {right.mean():.3f} of {len(expected)}"
    told = last.points[last.points[:, 1] < inner]
    extra = cKDTree(whole.points).query(told)[0] > 0.5 * progress.constant
    assert extra.mean() < 0.1, f"seed {seed}: {extra.mean():.3f} of {len(told)}"


def test_a_hole_is_shown_without_points(reader):
    image = np.random.default_rng(3).normal(size=(256, 256)).astype(np.float32)
    strip = Progress().next_strip(128, 256)
    told = reader(part(image, 128), strip, Progress())
    assert (told.overlay.rows_done, len(told.overlay.points)) == (128, 0)
    assert told.progress.rows == 0


@pytest.mark.expects_errors
def test_a_fault_costs_the_strip_alone(reader, monkeypatch):
    monkeypatch.setattr(type(reader), "_read", lambda *_: 1 / 0)
    strip = Progress().next_strip(128, 256)
    told = reader(part(np.ones((256, 256), np.float32), 128), strip, Progress())
    assert told.overlay is None
