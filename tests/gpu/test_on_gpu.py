"""On a real GPU: CuPy against NumPy within stated bounds, failures, and memory that stays flat.

Without one these are skipped with the reason; `device_double` then shows at least that the analysis
keeps its arrays where they belong. Stage by stage the tests in tests/kernels hold a GPU against the
host where ``--on-gpu`` is given.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from latticewatch.analysis import Analyser
from latticewatch.devices.placement import Placement
from latticewatch.resident import Plans
from latticewatch.resident.recordings import AFTER
from latticewatch_kernels.arrays import device, to_host, upload
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import ImagingConfig, Microscope
from latticewatch_models.runtime import Segmenter

pytestmark = pytest.mark.gpu

SIZE = 256


#: Seed, electrons a pixel, and nm a pixel: the last is brought to the network's scale.
KINDS = [(1, 1600.0, 0.03), (2, 20000.0, 0.03), (3, 6000.0, 0.02)]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"seed {kind[0]}")
def frame(request: pytest.FixtureRequest) -> np.ndarray:
    seed, dose, pixel_nm = request.param
    imaging = ImagingConfig(dose_e_per_pixel=dose, pixel_size_nm=pixel_nm)
    return next(Microscope("WS2", (SIZE, SIZE), seed, imaging=imaging).frames(1)).image


@pytest.fixture(autouse=True)
def on_first_gpu():
    with device(0):
        yield


def test_upload_is_exact(frame):
    np.testing.assert_array_equal(to_host(upload(frame)), frame)


def test_the_whole_analysis(frame):
    host = Analyser(Segmenter(providers="cpu", threads=1), crystal=CRYSTALS["WS2"])
    above = replace(host, placement=Placement(0))
    ours, theirs = above(frame), host(frame)
    assert abs(len(ours) - len(theirs)) <= max(1, len(theirs) // 100)
    gap = np.hypot(*(ours.x_px[:, None] - theirs.x_px, ours.y_px[:, None] - theirs.y_px))
    near = gap.min(axis=1) < 0.05
    assert near.mean() > 0.98
    pairs = gap.argmin(axis=1)[near]
    np.testing.assert_allclose(ours.probability[near], theirs.probability[pairs], atol=0.02)
    np.testing.assert_allclose(ours.centre[near], theirs.centre[pairs], atol=5e-3)


def test_every_gpu_gives_the_same(frame):
    """What is kept from frame to frame is kept for each device apart."""
    import cupy

    count = cupy.cuda.runtime.getDeviceCount()
    if count < 2:
        pytest.skip(f"this machine has {count} GPU")
    host = Analyser(Segmenter(providers="cpu", threads=1), crystal=CRYSTALS["WS2"])
    found = [replace(host, placement=Placement(k))(frame) for k in (*range(count), 0)]
    for other in found[1:]:
        np.testing.assert_allclose(other.x_px, found[0].x_px, atol=1e-3)
    assert [one.computed.arrays for one in found[:count]] == [f"cuda:{k}" for k in range(count)]


@pytest.mark.expects_errors
def test_a_gpu_without_memory_loses_no_frame(frame):
    import cupy

    pool, told = cupy.get_default_memory_pool(), []
    analyser = Analyser(Segmenter(providers="cpu", threads=1), crystal=CRYSTALS["WS2"])
    expected = analyser(frame)
    pool.free_all_blocks()
    pool.set_limit(size=1 << 20)
    try:
        found = replace(analyser, placement=Placement(0, told.append))(frame)
    finally:
        pool.set_limit(size=0)
    assert [(fall.before, fall.after) for fall in told] == [
        ("cuda:0", "cuda:0 but for single frames")
    ]
    np.testing.assert_array_equal(found.x_px, expected.x_px)


def test_recorded_work_is_the_same_to_the_last_bit(frame):
    host = Analyser(Segmenter(providers="cpu", threads=1), crystal=CRYSTALS["WS2"])
    above = replace(host, placement=Placement(0))
    recording = replace(above, record=True, plans=Plans(), placement=Placement(0))
    expected, found = above(frame), [recording(frame) for _ in range(AFTER + 3)]
    assert recording.placement.recordings.trouble == ""
    for one in found:
        for name in ("x_px", "y_px", "probability", "centre", "patches"):
            np.testing.assert_array_equal(getattr(one, name), getattr(expected, name), name)


def test_frames_that_are_run_together_are_those_that_are_run_alone(frame):
    """The network sees them together, and so to rounding."""
    host = Analyser(Segmenter(providers="cpu", threads=1), crystal=CRYSTALS["WS2"])
    above = replace(host, placement=Placement(0))
    several = [np.roll(frame, k, axis=1) for k in range(8)]
    recording = replace(above, record=True, plans=Plans(), placement=Placement(0))
    for _ in range(4):  # two of them recorded
        together = recording.together(several, 0)
    assert recording.placement.recordings.trouble == ""
    for found, one in zip(together, several, strict=True):
        expected = above(one)
        assert len(found) == len(expected)
        np.testing.assert_allclose(found.probability, expected.probability, atol=1e-4)
        # surest first: two that are as sure, to rounding, come in either order
        apart = np.hypot(found.x_px[:, None] - expected.x_px, found.y_px[:, None] - expected.y_px)
        assert sorted(apart.argmin(axis=1)) == [*range(len(expected))]
        assert apart.min(axis=1).max() < 1e-3


@pytest.mark.parametrize("record", [False, True], ids=["plain", "recorded"])
@pytest.mark.parametrize("frames", [200, pytest.param(100_000, marks=pytest.mark.long)])
def test_memory_stays_flat(frame, frames, record):
    import cupy

    host = Analyser(Segmenter(providers="cpu", threads=1), crystal=CRYSTALS["WS2"])
    analyser = replace(host, placement=Placement(0), record=record)
    for _ in range(20):
        analyser(frame)
    pool = cupy.get_default_memory_pool()
    before = pool.total_bytes()
    for _ in range(frames):
        analyser(frame)
    assert pool.total_bytes() <= before
