"""The CUDA C kernels: their source compiles, and computes what its twin in NumPy does.

Without a GPU the same source is compiled for the host as C++ (`cuda_on_host.py`).
"""

from __future__ import annotations

import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from latticewatch_kernels import compiled, compiled_deviations, launch
from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.columns import site_intensity
from latticewatch_kernels.deviations import _less_median, _spread
from latticewatch_kernels.lattice import Lattice
from latticewatch_kernels.localisation import decode_heat_map, find_peaks, maxima_around
from latticewatch_kernels.patches import lattice_patches
from latticewatch_kernels.sampling import bilinear, cubic
from latticewatch_kernels.stamps import draw, stamps
from latticewatch_models.segmentation import Segmentation

from .guarded import above, drawn, seeds

SOURCES = sorted(launch.SOURCES.glob("*.cu"))

#: Compute capabilities of the GPUs that CUDA 13 serves. Those between the first and the last run
#: what is compiled for the first; all are the long form, for each takes a second or two.
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 103, 110, 120, 121)

LATTICE = Lattice(a1=(10.3, 2.2), a2=(-7.0, 7.8), origin=(3.0, 4.0))

values = st.floats(-1e4, 1e4, width=32)


def images(least: int = 1) -> st.SearchStrategy[np.ndarray]:
    """Small images with plateaus, down to a single row or column."""
    return hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=least, max_side=12),
        elements=st.one_of(values, st.sampled_from([0.0, 1.0, 2.0])), fill=st.just(1.0),
    )  # fmt: skip


def around(shape: tuple[int, ...], seed: int, count: int) -> np.ndarray:
    """Points (count, 2) in and around a frame, half of them on or halfway between pixels."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-4.0, np.array(shape[::-1]) + 3.0, (count, 2))
    points[::2] = np.rint(2.0 * points[::2]) / 2.0
    return points


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
@pytest.mark.parametrize(
    "architectures",
    [ARCHITECTURES[:: len(ARCHITECTURES) - 1], pytest.param(ARCHITECTURES, marks=pytest.mark.long)],
    ids=["oldest and newest", "all"],
)
def test_every_source_compiles(source, architectures, tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on the PATH")
    known = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True)
    if f"compute_{ARCHITECTURES[-1]}" not in known.stdout:
        pytest.skip("nvcc is older than CUDA 13, which the gpu extra is for")
    targets = [f"-gencode=arch=compute_{a},code=compute_{a}" for a in architectures]
    # the assembler tells of memory that a block may not share; one architecture stands for all
    targets.append(f"-gencode=arch=compute_{architectures[0]},code=sm_{architectures[0]}")
    done = subprocess.run(
        [nvcc, "-fatbin", "-Werror=all-warnings", "-fmad=false", *targets,
         "-o", tmp_path / "kernels.fatbin", source],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "kernels.fatbin").stat().st_size > 0


def test_there_are_sources():
    named = [path.stem for path in SOURCES]
    assert len(named) == len(set(named)) > 0
    assert "samples" in named


@drawn
@given(images(), seeds, st.integers(0, 5), st.integers(1, 5))
def test_patches(device_double, image, seed, count, size):
    points = around(image.shape, seed, count)
    turns = np.random.default_rng(seed).integers(-3, 4, count)
    expected = lattice_patches(image, points, LATTICE, turns, size)
    found = lattice_patches(above(device_double, image), points, LATTICE, turns, size)
    np.testing.assert_array_equal(to_host(found), expected)


@drawn
@given(images(), seeds, st.integers(0, 20), st.sampled_from([bilinear, cubic]))
def test_interpolation(device_double, image, seed, count, interpolate):
    x, y = around(image.shape, seed, count).astype(np.float32).T.copy()
    found = interpolate(*(above(device_double, part) for part in (image, x, y)))
    expected = interpolate(image, x, y)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(to_host(found), expected)


@drawn
@given(images(), values, st.booleans())
def test_maxima(device_double, image, threshold, half_plane):
    shown = np.arange(image.size, dtype=np.float32).reshape(image.shape)
    threshold = float(np.float32(threshold))
    expected, _ = maxima_around(image, shown, threshold, half_plane)
    found, _ = maxima_around(
        above(device_double, image), above(device_double, shown), threshold, half_plane
    )
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@drawn
@given(images(), st.floats(0.0, 3.0))
def test_peaks(device_double, image, threshold):
    expected = find_peaks(image, threshold)
    found = find_peaks(above(device_double, image), threshold)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@drawn
@given(images(), seeds, values)
def test_heat_map(device_double, heat, seed, threshold):
    offset = np.random.default_rng(seed).normal(0, 2, (2, *heat.shape)).astype(np.float32)
    shape = (2 * heat.shape[0], 2 * heat.shape[1])
    given_ = (2, shape, threshold, 1.0)
    expected = decode_heat_map(heat, offset, *given_)
    found = decode_heat_map(above(device_double, heat), above(device_double, offset), *given_)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_a_buffer_that_is_too_small_loses_no_maximum(device_double):
    image = np.random.default_rng(1).random((100, 110)).astype(np.float32)
    expected, _ = maxima_around(image, image, 0.0)
    assert len(expected[0]) > compiled.MAXIMA
    further = device_double.cupy.asarray(np.arange(5))
    found, (came,) = maxima_around(*[above(device_double, image)] * 2, 0.0, False, further)
    np.testing.assert_array_equal(came, np.arange(5))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert device_double.traffic.down == 2


def test_finding_nothing_is_one_wait(device_double):
    image = above(device_double, np.zeros((8, 9), np.float32))
    assert [len(part) for part in maxima_around(image, image, 0.5)[0]] == [0, 0, 0, 0]
    assert device_double.traffic.down == 1


@drawn
@given(images(), seeds, st.integers(1, 6), st.floats(0.3, 4.0))
def test_stamps(device_double, image, seed, count, sigma):
    points = around(image.shape, seed, count)
    ours, theirs = stamps(points, sigma, above(device_double, image)), stamps(points, sigma, image)
    for name in ("row", "column"):
        np.testing.assert_array_equal(to_host(getattr(ours, name)), getattr(theirs, name), name)
    for name in ("down", "across"):
        found, expected = to_host(getattr(ours, name)), getattr(theirs, name)
        np.testing.assert_allclose(found, expected, rtol=4 * 2**-23, atol=1e-40, err_msg=name)
    for name, power in (("sums", 1), ("squared_sums", 2)):
        found = to_host(getattr(ours, name)(above(device_double, image)))
        expected = getattr(theirs, name)(image)
        size = (
            np.abs(image).reshape(-1).take(theirs.place(image)).astype(float)
            * theirs.down[:, :, None] ** power
            * theirs.across[:, None, :] ** power
        ).sum((1, 2))
        # the bound of `compiled.stamp_sums`, and four units in the last place of each height
        bound = (
            4 * max(theirs.down.shape[1], theirs.across.shape[1]) + 16 * power
        ) * 2**-24 * size + 1e-40
        assert (np.abs(found - expected) <= bound).all(), name


@drawn
@given(images(2), seeds, st.integers(0, 6), st.floats(0.3, 4.0))
def test_drawing(device_double, image, seed, count, sigma):
    points = around(image.shape, seed, count)
    height = np.random.default_rng(seed).uniform(0.0, 3.0, count)
    shapes = [(height, sigma), (0.1 * height, 2.0 * sigma)]
    expected = draw(points, shapes, image)
    found = to_host(draw(points, shapes, above(device_double, image)))
    # heights differ by four units in the last place each, their sums by no more than that
    np.testing.assert_allclose(found, expected, rtol=10 * 2**-23, atol=1e-39)


@drawn
@given(images(), seeds, st.integers(0, 6))
def test_site_intensity(device_double, image, seed, count):
    rng = np.random.default_rng(seed)
    columns = SimpleNamespace(
        unit=float(rng.uniform(0.1, 2.0)), crosstalk=float(rng.uniform(0.0, 0.3)),
        host=rng.normal(0.0, 1.0, 3), offset=rng.normal(0.0, 0.1, 3),
    )  # fmt: skip
    order = SimpleNamespace(displacement_at=lambda points: 0.1 * np.sin(points))
    cells, sublattice = rng.integers(-2, 3, (count, 2)), rng.integers(0, 3, count)
    host, device = (
        SimpleNamespace(matched=side, columns=columns, order=order)
        for side in (image, above(device_double, image))
    )
    expected = site_intensity(host, LATTICE, cells, sublattice)
    np.testing.assert_array_equal(site_intensity(device, LATTICE, cells, sublattice), expected)


@drawn
@given(st.lists(st.integers(0, 40), min_size=3, max_size=3), seeds)
def test_columns_that_stand_out(device_double, sizes, seed):
    rng = np.random.default_rng(seed)
    sublattice = np.repeat(np.arange(3), sizes)
    squares = rng.uniform(0.0, 4.0, len(sublattice)).astype(np.float32)
    first = rng.standard_t(2.0, len(sublattice)).astype(np.float32)
    energy = np.maximum(squares.astype(float), 1e-12)
    height = _less_median(first / energy, sublattice)
    size = np.abs(height) * np.sqrt(energy)
    expected = np.where(size > 2.5 * _spread(size, sublattice)[sublattice], height, 0.0)
    ends = np.cumsum(sizes).tolist()
    given_ = (above(device_double, part) for part in (squares, first))
    found = to_host(compiled_deviations.strong_columns(*given_, ends, 2.5))
    np.testing.assert_array_equal(found, expected)


@drawn
@given(images(2), seeds, st.integers(1, 8))
def test_logits(device_double, image, seed, count):
    heat = np.abs(image) / np.abs(image).max() if image.any() else image
    offset = np.zeros((2, *heat.shape), np.float32)
    shape = (2 * heat.shape[0], 2 * heat.shape[1])
    points = around(shape, seed, count)
    expected = Segmentation(heat, offset, 2, shape).logit_at(points)
    seen = Segmentation(above(device_double, heat), above(device_double, offset), 2, shape)
    # the greatest logit is 13.8: four units in its last place, and the interpolation's three
    bound = {"rtol": 0.0, "atol": 7 * 2.0**-20}
    np.testing.assert_allclose(seen.logit_at(points), expected, **bound)
    device_double.traffic.__init__()
    further = above(device_double, heat)
    found, logits, (came,) = seen.detections_and_logits(0.5, 3.0, points, further)
    assert device_double.traffic.down == 1
    np.testing.assert_allclose(logits, expected, **bound)
    np.testing.assert_array_equal(came, heat)
    twins = Segmentation(heat, offset, 2, shape).detections(0.5, 3.0)
    for ours, theirs in zip(found, twins, strict=True):
        np.testing.assert_array_equal(ours, theirs)
