"""On a real GPU: CuPy against NumPy within stated bounds, failures, and memory that stays flat.

Without one these are skipped with the reason; `device_double` then shows at least that the analysis
keeps its arrays where they belong.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from latticewatch.analysis import Analyser, deviation_patches
from latticewatch.devices.placement import Placement
from latticewatch_kernels.arrays import device, to_host, upload
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.deviations import site_deviations
from latticewatch_kernels.displacements import column_displacements
from latticewatch_kernels.labelling import label
from latticewatch_kernels.localisation import decode_heat_map, find_peaks, maxima_around
from latticewatch_kernels.patches import lattice_patches
from latticewatch_kernels.registration import register
from latticewatch_kernels.sampling import bilinear, cubic
from latticewatch_kernels.stamps import draw, stamps
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import ImagingConfig, Microscope
from latticewatch_models.runtime import Segmenter

pytestmark = pytest.mark.gpu

SIZE = 256


@pytest.fixture(scope="module", params=[(1, 1600.0), (2, 20000.0)], ids=lambda p: f"seed {p[0]}")
def frame(request: pytest.FixtureRequest) -> np.ndarray:
    seed, dose = request.param
    imaging = ImagingConfig(dose_e_per_pixel=dose)
    return next(Microscope("WS2", (SIZE, SIZE), seed, imaging=imaging).frames(1)).image


@pytest.fixture(autouse=True)
def on_first_gpu():
    with device(0):
        yield


def test_upload_is_exact(frame):
    np.testing.assert_array_equal(to_host(upload(frame)), frame)


def test_condition(frame):
    # intensities of order one; sums of 65,536 float32 in another order
    np.testing.assert_allclose(to_host(condition(upload(frame))), condition(frame), atol=2e-4)


def test_register(frame):
    image = condition(frame)
    host, above = register(image), register(upload(image))
    np.testing.assert_allclose(above.matrix, host.matrix, atol=1e-3)
    np.testing.assert_allclose(above.origin, host.origin, atol=5e-3)
    np.testing.assert_allclose(above.heights, host.heights, atol=2e-3)


def test_label(frame):
    image = condition(frame)
    lattice = register(image)
    host, above = label(image, lattice), label(upload(image), lattice)
    scale = float(np.std(host.residual))
    for name in ("image", "periodic", "residual", "matched"):
        found = to_host(getattr(above, name))
        np.testing.assert_allclose(found, getattr(host, name), atol=2e-3 * scale, err_msg=name)
    np.testing.assert_allclose(to_host(above.z), host.z, atol=0.02)
    np.testing.assert_allclose(above.columns.noise_by_site, host.columns.noise_by_site, rtol=2e-3)
    np.testing.assert_allclose(above.fractions, host.fractions, atol=1e-3)
    np.testing.assert_allclose(above.row_shifts.shift, host.row_shifts.shift, atol=1e-3)
    np.testing.assert_allclose(above.row_shifts.jitter_px, host.row_shifts.jitter_px, atol=1e-3)
    for name in ("slope", "base", "least"):
        found, expected = getattr(above.noise, name), getattr(host.noise, name)
        np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-5, err_msg=name)


def test_the_kernels_in_cuda_c(frame):
    """As in tests/kernels/test_cuda.py, where the same source runs on the host."""
    image = condition(frame)
    above = upload(image)
    lattice = register(image)
    points = np.random.default_rng(5).uniform(-8.0, SIZE + 8.0, (2000, 2))
    patches = [lattice_patches(side, points, lattice, np.arange(2000)) for side in (above, image)]
    np.testing.assert_array_equal(to_host(patches[0]), patches[1])
    x, y = points.astype(np.float32).T.copy()
    for interpolate in (bilinear, cubic):
        found = to_host(interpolate(above, upload(x), upload(y)))
        np.testing.assert_array_equal(found, interpolate(image, x, y))
    for threshold in (2.0, -10.0):  # the second overflows the buffer
        found, expected = (maxima_around(*[side] * 2, threshold)[0] for side in (above, image))
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(find_peaks(above, 1.0), find_peaks(image, 1.0), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    offset = np.random.default_rng(6).normal(0.0, 2.0, (2, SIZE, SIZE)).astype(np.float32)
    given = (4, (4 * SIZE, 4 * SIZE), 0.5, 3.0)
    decoded = decode_heat_map(above, upload(offset), *given), decode_heat_map(image, offset, *given)
    for ours, theirs in zip(*decoded, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    laid, twin = stamps(points, 1.7, above), stamps(points, 1.7, image)
    size = twin.sums(np.abs(image))
    bound = (4 * twin.down.shape[1] + 16) * 2**-24 * size + 1e-40
    assert (np.abs(to_host(laid.sums(above)) - twin.sums(image)) <= bound).all()
    height = np.random.default_rng(7).uniform(0.0, 2.0, 2000)
    drawn = [to_host(draw(points, [(height, 1.7)], side)) for side in (above, image)]
    np.testing.assert_allclose(*drawn, rtol=10 * 2**-23, atol=1e-39)


def test_columns_around(frame):
    image = condition(frame)
    lattice = register(image)
    host, above = label(image, lattice), label(upload(image), lattice)
    ours, theirs = site_deviations(above, lattice), site_deviations(host, lattice)
    np.testing.assert_array_equal(ours.cells, theirs.cells)
    # in units of a host column, of which a single vacancy of WS2 is 0.074
    np.testing.assert_allclose(ours.deviation, theirs.deviation, atol=1e-3)
    metal = theirs.cells[theirs.sublattice == 0][:50]
    placed = [column_displacements(labels, lattice, metal) for labels in (above, host)]
    np.testing.assert_allclose(placed[0].shift, placed[1].shift, atol=0.01)
    sites, turns = theirs.points[:50], np.zeros(50, np.int8)
    patches = [deviation_patches(labels, lattice, sites, turns) for labels in (above, host)]
    # the bound of `matched` in `test_label`, and half of it for the place where it is read
    bound = 3e-3 * float(np.std(host.residual))
    np.testing.assert_allclose(to_host(patches[0]), patches[1], atol=bound)


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
    assert [(fall.before, fall.after) for fall in told] == [("cuda:0", "host")]
    np.testing.assert_array_equal(found.x_px, expected.x_px)


@pytest.mark.parametrize("frames", [200, pytest.param(100_000, marks=pytest.mark.long)])
def test_memory_stays_flat(frame, frames):
    import cupy

    analyser = Analyser(
        Segmenter(providers="cpu", threads=1), crystal=CRYSTALS["WS2"], placement=Placement(0)
    )
    for _ in range(20):
        analyser(frame)
    pool = cupy.get_default_memory_pool()
    before = pool.total_bytes()
    for _ in range(frames):
        analyser(frame)
    assert pool.total_bytes() <= before
