from __future__ import annotations

import numpy as np
import pytest

from latticewatch_kernels.conditioning import (
    FrameContentError,
    background,
    condition,
    even_sample,
)


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "int16", "int32", "float32", "float64"]
)
def test_any_number_type_gives_the_same_image(tungsten_disulphide, dtype):
    counts = np.clip(np.rint(tungsten_disulphide.image * 100), 0, 255)
    expected = condition(counts)
    result = condition(counts.astype(dtype))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=2e-5)


@pytest.mark.parametrize(("gain", "offset"), [(1e-12, 0.0), (3e4, 7e8), (1e300, -1e300)])
def test_gain_and_offset_of_the_detector_do_not_matter(tungsten_disulphide, gain, offset):
    expected = condition(tungsten_disulphide.image)
    result = condition(tungsten_disulphide.image * gain + offset)
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_contrast_is_what_the_docstring_says(tungsten_disulphide):
    low, median, high = np.quantile(condition(tungsten_disulphide.image), [0.15865, 0.5, 0.84135])
    assert abs(median) < 0.02
    assert abs(0.5 * (high - low) - 1.0) < 0.02


def test_a_slow_background_is_flattened(tungsten_disulphide):
    y, x = np.indices(tungsten_disulphide.image.shape)
    slope = 0.01 * x - 0.02 * y
    plain = condition(tungsten_disulphide.image)
    sloped = condition(tungsten_disulphide.image + slope)
    inner = (slice(40, -40), slice(40, -40))
    assert np.corrcoef(plain[inner].ravel(), sloped[inner].ravel())[0, 1] > 0.995
    assert np.corrcoef(slope[inner].ravel(), sloped[inner].ravel())[0, 1] < 0.05


def test_a_hole_keeps_its_depth():
    y, x = np.indices((256, 256))
    hole = np.hypot(x - 128, y - 128) < 45
    image = np.where(hole, 0.0, 1.0).astype(np.float32)
    level = background(image)
    assert np.abs(level[~hole] - 1.0).max() < 0.1
    assert level[128, 128] > 0.7


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_named(tungsten_disulphide, value):
    frame = tungsten_disulphide.image.copy()
    frame[3, 5] = value
    with pytest.raises(FrameContentError, match="NaN or infinite"):
        condition(frame)


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_a_constant_frame_is_named(dtype):
    with pytest.raises(FrameContentError, match=r"constant \(7 everywhere\).*unblanked"):
        condition(np.full((64, 64), 7, dtype))


def test_a_line_is_no_frame():
    with pytest.raises(FrameContentError, match="two-dimensional"):
        condition(np.arange(64.0))


def test_a_frame_of_few_distinct_pixels_still_has_a_scale():
    frame = np.zeros((64, 64))
    frame[10, 10] = 1.0
    assert np.isfinite(condition(frame)).all()


def test_the_sample_sees_every_column():
    image = np.tile(np.arange(250.0), (250, 1))
    assert len(np.unique(even_sample(image, 2000))) == 250
