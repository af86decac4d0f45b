"""Frames are conditioned and their spectra held against the noise on a device as on the host."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.conditioning import FrameContentError, check_content, condition
from latticewatch_kernels.resident.conditioning import KINDS, conditioned
from latticewatch_kernels.resident.spectrum import power_over_noise
from latticewatch_kernels.resident.statistics import measure
from latticewatch_kernels.spectrum import hann_power, noise_power

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
@given(sides, sides, seeds, st.sampled_from([*KINDS, "float16", "int64"]))
def test_conditioning(device_double, rows, columns, seed, kind):
    frame = crystal((rows, columns), seed)
    frame = np.minimum(frame, 127.0).astype(kind)
    expected = condition(frame)
    given_ = above(device_double, frame)
    device_double.traffic.__init__()
    found, facts = conditioned(given_)
    assert device_double.traffic.down == 0
    assert found.dtype == np.float32
    low, high, _, width = to_host(facts)
    assert (low, high) == (frame.min(), frame.max())
    np.testing.assert_allclose(to_host(found), expected, rtol=0.0, atol=16 * EPSILON / width)


def test_a_frame_of_few_pixels_that_differ_is_scaled_by_all(device_double):
    frame = np.zeros((60, 70), np.uint8)
    frame[::7, ::11] = 9
    found, facts = conditioned(above(device_double, frame))
    width = to_host(facts)[3]
    np.testing.assert_allclose(to_host(found), condition(frame), 0.0, 16 * EPSILON / width)


@pytest.mark.parametrize(
    ("value", "cause"), [(np.nan, "NaN"), (np.inf, "NaN or infinite"), (7.0, "constant")]
)
def test_content_is_refused_on_the_device(device_double, value, cause):
    frame = np.full((40, 50), 7.0, np.float32)
    frame[13, 17] = value
    with pytest.raises(FrameContentError, match=cause):
        check_content(to_host(conditioned(above(device_double, frame))[1]))


def test_what_is_no_image_is_refused(device_double):
    for shape in ((40,), (40, 50, 3), (1, 50)):
        with pytest.raises(FrameContentError, match="shape"):
            conditioned(above(device_double, np.ones(shape, np.float32)))


@drawn
@given(sides, st.one_of(sides, st.just(400)), seeds)
def test_mean_and_deviation(device_double, rows, columns, seed):
    image, told = crystal((rows, columns), seed).astype(np.float32), np.full(2, np.nan)
    given_ = above(device_double, told)
    measure(above(device_double, image), given_)
    expected = [image.mean(dtype=np.float64), image.std(dtype=np.float64)]
    np.testing.assert_allclose(to_host(given_), expected, rtol=1e-12)


@drawn
@given(sides, sides, seeds, st.floats(0.5, 20.0))
def test_power_over_noise(device_double, rows, columns, seed, level):
    image = crystal((rows, columns), seed).astype(np.float32)
    power = hann_power(image)
    # the twin's own, in single precision
    mean = above(device_double, np.array([image.mean(dtype=np.float32)], np.float64))
    found = power_over_noise(above(device_double, image), mean, level)
    ours, ratio, reached = (to_host(part) for part in found)
    # the transform's own rounding is that of the greatest bin
    size = float(np.sqrt(power.max()))
    assert (np.abs(np.sqrt(ours) - np.sqrt(power)) <= 32 * EPSILON * size).all()
    np.testing.assert_allclose(ours / ratio, noise_power(ours, image.shape), 64 * EPSILON)
    np.testing.assert_array_equal(reached, ratio >= np.float32(level))
