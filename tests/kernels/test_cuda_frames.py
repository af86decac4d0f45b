"""The CUDA C kernels for whole frames compute what their twins in NumPy do (see `test_cuda`)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch_kernels import compiled_bragg, compiled_order, compiled_spectrum
from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.compiled_conditioning import KINDS
from latticewatch_kernels.conditioning import FrameContentError, condition, conditioned
from latticewatch_kernels.extension import extend
from latticewatch_kernels.extension import sides as sides_of
from latticewatch_kernels.harmonics import (
    fit_reciprocal,
    measure_harmonics,
    refine_and_measure,
)
from latticewatch_kernels.order import _covariance, _demodulate, _waves, local_order
from latticewatch_kernels.periodic import rebuilt
from latticewatch_kernels.spectrum import (
    _half_window,
    _hann,
    _rings,
    hann_power,
    noise_power,
    significant_maxima,
)

from .conftest import hexagonal, make_crystal
from .guarded import above, drawn, seeds

EPSILON = 2.0**-24

sides = st.integers(16, 90)


def crystal(shape: tuple[int, int], seed: int, noise: float = 5.0) -> np.ndarray:
    """A frame of something periodic on a slope, with noise and an empty corner, up to 250."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    turn = rng.uniform(0.0, np.pi, 3)
    waves = sum(np.cos(0.9 * (np.cos(t) * x + np.sin(t) * y)) for t in turn)
    frame = 100.0 + 15.0 * waves + 0.2 * x + rng.normal(0.0, noise, shape)
    frame[: shape[0] // 5, : shape[1] // 4] = 20.0
    return np.clip(frame, 0.0, 250.0)


@drawn
@given(sides, sides, seeds, st.sampled_from([*KINDS, "float16", "int64"]), st.booleans())
def test_conditioning(device_double, rows, columns, seed, kind, flatten):
    frame = crystal((rows, columns), seed)
    frame = np.minimum(frame, 127.0).astype(kind)
    expected = condition(frame, flatten=flatten)
    given_ = above(device_double, frame)
    device_double.traffic.__init__()
    found, facts = conditioned(given_, flatten=flatten)
    assert device_double.traffic.down == 0
    assert found.dtype == np.float32
    low, high, _, width = to_host(facts)
    assert (low, high) == (frame.min(), frame.max())
    np.testing.assert_allclose(to_host(found), expected, rtol=0.0, atol=16 * EPSILON / width)


def test_a_frame_of_few_pixels_that_differ_is_scaled_by_all(device_double):
    frame = np.zeros((60, 70), np.uint8)
    frame[::7, ::11] = 9
    found = to_host(condition(above(device_double, frame), flatten=False))
    np.testing.assert_allclose(found, condition(frame, flatten=False), rtol=1e-5)


@pytest.mark.parametrize(
    ("value", "cause"), [(np.nan, "NaN"), (np.inf, "NaN or infinite"), (7.0, "constant")]
)
def test_content_is_refused_on_the_device(device_double, value, cause):
    frame = np.full((40, 50), 7.0, np.float32)
    frame[13, 17] = value
    with pytest.raises(FrameContentError, match=cause):
        condition(above(device_double, frame))


@drawn
@given(sides, sides, seeds, st.floats(0.5, 20.0))
def test_power_over_noise(device_double, rows, columns, seed, level):
    image = crystal((rows, columns), seed).astype(np.float32)
    power = hann_power(image)
    found = compiled_spectrum.power_over_noise(
        above(device_double, image), _hann, _rings, _half_window, level
    )
    ours, ratio, reached = (to_host(part) for part in found)
    # the transform's own rounding is that of the greatest bin
    size = float(np.sqrt(power.max()))
    assert (np.abs(np.sqrt(ours) - np.sqrt(power)) <= 32 * EPSILON * size).all()
    np.testing.assert_allclose(ours / ratio, noise_power(ours, image.shape), 64 * EPSILON)
    np.testing.assert_array_equal(reached, ratio >= np.float32(level))


@drawn
@given(st.integers(48, 90), st.integers(48, 90), seeds)
def test_peaks_of_a_spectrum(device_double, rows, columns, seed):
    image = crystal((rows, columns), seed).astype(np.float32)
    expected = significant_maxima(image, 6.0)
    given_ = above(device_double, image)
    significant_maxima(given_, 6.0)
    device_double.traffic.__init__()
    found = significant_maxima(given_, 6.0)
    assert (device_double.traffic.up, device_double.traffic.down) == (0, 1)
    for ours, theirs in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    # of the bins that differ, if any, rounding decides
    assert (found[2] != expected[2]).mean() < 1e-3


@drawn
@given(sides, sides, seeds, st.booleans())
def test_refinement_of_the_lattice(device_double, rows, columns, seed, in_two):
    rng = np.random.default_rng(seed)
    length, angle = rng.uniform(0.15, 0.29), rng.uniform(-0.5, 0.5)
    angles = angle + np.array([0.0, np.pi / 3.0])
    true = length * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    y, x = np.mgrid[:rows, :columns]
    phase = 2.0 * np.pi * (np.array([true[0], true[1], true[1] - true[0]]) @ [x.ravel(), y.ravel()])
    image = np.cos(phase).sum(axis=0).reshape(rows, columns) + rng.normal(3.0, 0.1, (rows, columns))
    image = image.astype(np.float32)
    start = true + rng.uniform(-0.1, 0.1, (2, 2)) / max(rows, columns)
    views = [image[2:-2, 3:-3], image] if in_two else [image]
    reciprocal = start
    for view in views:
        reciprocal = fit_reciprocal(view, reciprocal)
    expected = measure_harmonics(image, reciprocal)
    refine_and_measure([above(device_double, view) for view in views], start)
    device_double.traffic.__init__()
    found, harmonics = refine_and_measure([above(device_double, view) for view in views], start)
    assert (device_double.traffic.up, device_double.traffic.down) == (1, 1)
    np.testing.assert_allclose(found, reciprocal, rtol=0.0, atol=64 * EPSILON / min(rows, columns))
    np.testing.assert_array_equal(harmonics.indices, expected.indices)
    np.testing.assert_allclose(harmonics.nodes, harmonics.indices @ found)
    size = float(np.abs(image).mean())
    np.testing.assert_allclose(harmonics.amplitudes, expected.amplitudes, 0.0, 64 * EPSILON * size)
    np.testing.assert_allclose(harmonics.noise, expected.noise, rtol=1e-5)


@pytest.mark.parametrize("hole", [None, (40.0, 50.0, 18.0)], ids=["whole", "with a hole"])
@pytest.mark.parametrize("seed", range(4))
def test_local_order_and_the_periodic_part(device_double, seed, hole):
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(90, 140, 2))
    constant, rotation = rng.uniform(6.0, 9.0), rng.uniform(-30.0, 30.0)
    crystal = make_crystal(
        shape, constant=constant, rotation=rotation, counts=100.0, hole=hole, seed=seed
    )
    image = crystal.image.astype(np.float32)
    given_ = above(device_double, image)
    order, expected = (local_order(side, crystal.lattice) for side in (given_, image))
    assert expected.hole.any() == (hole is not None), f"seed {seed} tests another branch"
    for name in ("amplitude", "level", "mean", "fractions"):
        found = getattr(order, name)
        np.testing.assert_allclose(
            found, getattr(expected, name), rtol=0.0, atol=1e-5, err_msg=name
        )
    np.testing.assert_array_equal(order.hole, expected.hole)
    device_double.traffic.__init__()
    found = [to_host(part) for part in rebuilt(given_, crystal.lattice, expected)]
    assert device_double.traffic.up == 1
    twin = rebuilt(image, crystal.lattice, expected)
    bound = 2.0**-16 * np.abs(image).max()
    for ours, theirs in zip(found[:2], twin[:2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=bound)
    assert found[2].dtype == bool
    np.testing.assert_array_equal(found[2], twin[2])


@drawn
@given(st.integers(2, 5), seeds)
def test_demodulation(device_double, stride, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(0.0, 1.0, tuple(rng.integers(2 * stride, 30, 2))).astype(np.float32)
    mean = image.mean(dtype=np.float32)
    lattice = hexagonal(3.0 * stride + 1.0, float(rng.uniform(-30.0, 30.0)))
    found = to_host(
        compiled_order.demodulated(
            above(device_double, image), above(device_double, mean.reshape(1)), stride,
            *_waves(lattice, image.shape),
        )
    )  # fmt: skip
    size, ones = float(np.abs(image - mean).max()), np.eye(30, dtype=np.float32)
    bound = 2 * (stride + 4) * EPSILON
    np.testing.assert_allclose(found[:7], _demodulate(image, lattice, stride), 0.0, bound * size)
    average = [ones[:count, :count] for count in found.shape[1:]]
    np.testing.assert_allclose(found[7], _covariance(image, stride, average), 0.0, bound * size**2)


@drawn
@given(st.integers(40, 90), st.integers(40, 90), seeds)
def test_continuing_an_image(device_double, rows, columns, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(0.0, 1.0, (rows, columns)).astype(np.float32)
    lattice = hexagonal(float(rng.uniform(4.0, 6.0)), float(rng.uniform(-30.0, 30.0)))
    expected, corner = extend(image, lattice, 12.0)
    across, down = sides_of(image.shape, lattice, 12.0)
    assert (down.before, across.before) == corner
    found = above(device_double, image)
    for axis, side in ((1, across), (0, down)):
        found = compiled_bragg.extended(
            found,
            axis,
            side.before,
            side.longer,
            *(device_double.cupy.asarray(part) for part in (side.taps(), side.weights)),
        )
    # sums of 16 products in double precision, rounded after four and at the end
    np.testing.assert_allclose(to_host(found), expected, rtol=0.0, atol=4 * EPSILON * 5.0)
