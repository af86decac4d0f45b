"""The kernels between periodic part and labels do what their twins do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.conditioning import sample_step
from latticewatch_kernels.labelling import _gaussian_spectrum, _matched
from latticewatch_kernels.launch import launch_together
from latticewatch_kernels.noise import IntensityClasses
from latticewatch_kernels.resident import lines
from latticewatch_kernels.resident.lines import Pixels
from latticewatch_kernels.straightening import (
    LEAST_CERTAIN_PX,
    WORTH_PX,
    RowShifts,
    measure_row_shifts,
    straighten,
)

from .guarded import above, drawn, seeds

EPSILON = 2.0**-24
LONGEST = 0.8

sides = st.integers(16, 90)


def written(
    shape: tuple[int, int], seed: int, jitter: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A frame with counting noise whose rows jump, its periodic part, and an empty corner."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    moved = x - rng.normal(0.0, jitter, (shape[0], 1))
    periodic = 6.0 + 3.0 * np.cos(0.9 * x + 0.4 * y) + 2.0 * np.cos(0.5 * y - 0.8 * x)
    image = 6.0 + 3.0 * np.cos(0.9 * moved + 0.4 * y) + 2.0 * np.cos(0.5 * y - 0.8 * moved)
    image = image + rng.normal(0.0, 0.1, shape) * np.sqrt(image)
    hole = (y < shape[0] // 4) & (x < shape[1] // 3)
    return image.astype(np.float32), periodic.astype(np.float32), hole


def pixels(double, image: np.ndarray, periodic: np.ndarray, hole: np.ndarray) -> Pixels:
    parts = (image - periodic, periodic, hole.view(np.int8))
    residual, periodic, hole = (above(double, part) for part in parts)
    return Pixels(residual, periodic, hole, sample_step(periodic.shape))


@drawn
@given(sides, sides, seeds)
def test_noise_lines(device_double, rows, columns, seed):
    image, periodic, hole = written((rows, columns), seed, 0.1)
    residual = image - periodic
    # no two pixels are equally bright, so that classes are the twin's
    rank = np.argsort(np.argsort(periodic, axis=None)).reshape(periodic.shape)
    periodic = np.linspace(1.0, 11.0, periodic.size, dtype=np.float32)[rank]
    classes, expected = IntensityClasses.and_line(residual, periodic, hole)
    given_ = pixels(device_double, residual + periodic, periodic, hole)
    given_ = given_._replace(residual=above(device_double, residual))
    made = lines.intensity_classes(given_)
    found = to_host(lines.noise_line(given_, made))
    size = abs(expected.base) + abs(expected.slope) * 10.0
    bounds = [part[0] for part in np.array_split(classes.level, 8)]
    np.testing.assert_array_equal(to_host(made.levels)[:, 0], bounds)
    assert found[0] == pytest.approx(expected.slope, abs=1e-9 * size)
    assert found[1] == pytest.approx(expected.base, abs=1e-9 * size)
    assert found[2] == pytest.approx(expected.least, rel=1e-14)


@pytest.mark.parametrize("number", [4000, 4096, 4097, 9001])
@pytest.mark.parametrize("kernel", ["class_variances", "column_variances"])
def test_a_class_that_a_block_has_no_room_for(device_double, kernel, number):
    """Of pixels that are all as bright every one counts to the brightest class."""
    xp, rng = device_double.cupy, np.random.default_rng(number)
    residual = rng.normal(0.0, 0.1, number).astype(np.float32)
    level, variances = np.ones(number, np.float32), xp.empty(lines.CLASSES, np.float64)
    made = above(device_double, residual), above(device_double, level)
    levels = above(device_double, np.full((lines.CLASSES, 3), 1.0))
    if kernel == "class_variances":
        source, given_ = "lines", (made[0], 1, made[1], number)
    else:
        kept = above(device_double, np.zeros(number, np.int8))
        source, given_ = "column_noise", (*made, kept, number)
    launch_together(source, kernel, lines.CLASSES, levels, *given_, levels, variances)
    expected = (1.4826 * np.median(np.abs(residual).astype(float))) ** 2
    np.testing.assert_array_equal(to_host(variances), [0.0] * (lines.CLASSES - 1) + [expected])


@drawn
@given(sides, sides, seeds, st.sampled_from([0.0, 0.3]))
def test_rows(device_double, rows, columns, seed, jitter):
    image, periodic, hole = written((rows, columns), seed, jitter)
    given_ = pixels(device_double, image, periodic, hole)
    line = lines.noise_line(given_, lines.intensity_classes(given_))
    noise = IntensityClasses.and_line(image - periodic, periodic, hole)[1]
    exact = type(noise)(*(float(number) for number in to_host(line)))
    expected = measure_row_shifts(image, periodic, hole, LONGEST / 0.08, exact)
    constant = above(device_double, np.array([LONGEST / 0.08]))
    found = lines.row_shifts(given_, line, LEAST_CERTAIN_PX, 0.08, constant)
    ours = to_host(found)
    greatest = max(float(np.abs(expected.shift).max()), expected.jitter_px, 0.01)
    bound = 4 * columns * EPSILON * greatest
    np.testing.assert_allclose(ours[:-1], expected.shift, rtol=0.0, atol=bound)
    # the difference of two variances, of which either is that exact
    assert ours[-1] ** 2 == pytest.approx(expected.jitter_px**2, abs=8 * columns * EPSILON)
    straight, residual = lines.straightened(above(device_double, image), given_, found, WORTH_PX)
    twin = straighten(image, RowShifts(ours[:-1], float(ours[-1])))
    np.testing.assert_array_equal(to_host(straight), twin)
    np.testing.assert_array_equal(to_host(residual), np.where(hole, 0.0, twin - periodic))


def test_rows_of_which_none_is_known_stay(device_double):
    shape = (20, 30)
    flat = np.ones(shape, np.float32)
    image = np.random.default_rng(2).normal(1.0, 1.0, shape).astype(np.float32)
    given_ = pixels(device_double, image, flat, np.zeros(shape, np.int8))
    line = device_double.cupy.asarray(np.array([0.0, 1.0, 0.5]))
    constant = above(device_double, np.array([LONGEST / 0.08]))
    found = to_host(lines.row_shifts(given_, line, LEAST_CERTAIN_PX, 0.08, constant))
    np.testing.assert_array_equal(found, np.zeros(21))


def power_of_two(number: int) -> bool:
    return number & (number - 1) == 0


@drawn
@example(32, 16, 1, 2.0)
@given(sides, sides, seeds, st.floats(0.5, 3.0))
def test_matched_residual_and_its_significance(device_double, rows, columns, seed, threshold):
    image, periodic, hole = written((rows, columns), seed, 0.0)
    given_ = pixels(device_double, image, periodic, hole)
    gauss = (device_double.cupy.asarray(part) for part in _gaussian_spectrum(image.shape, 1.3))
    smooth = lines.matched(above(device_double, image - periodic), *gauss)
    expected = _matched(image - periodic, 1.3)
    # a device has transforms of its own; the twin divides by the number of pixels later
    rounded = 0.0 if power_of_two(image.size) else 2.0**-20
    rounded = 2.0**-17 if hasattr(device_double, "real") else rounded
    bound = rounded * np.abs(expected).max()
    np.testing.assert_allclose(to_host(smooth), expected, 0.0, bound)
    line = lines.noise_line(given_, lines.intensity_classes(given_))
    found = lines.significance(smooth, given_, line, threshold)
    matched, z, bright, dark = (to_host(part) for part in found)
    noise = IntensityClasses.and_line(image - periodic, periodic, hole)[1]
    exact = type(noise)(*(float(number) for number in to_host(line)))
    np.testing.assert_array_equal(matched, np.where(hole, 0.0, to_host(smooth)))
    np.testing.assert_array_equal(z, matched / np.sqrt(exact.variance(periodic)))
    np.testing.assert_array_equal(bright, (z > np.float32(threshold)) & ~hole)
    np.testing.assert_array_equal(dark, (z < -np.float32(threshold)) & ~hole)
