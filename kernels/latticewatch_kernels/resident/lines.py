"""CUDA C kernels between a frame's periodic part and its labels, on a device, without a wait."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.fourier import irfft2, per_pixel, rfft2, room
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import (
    blocks_of,
    launch,
    launch_neighbours,
    launch_together,
    single,
)

#: As in the source: classes of intensity, rows to a block that sums along them, and their numbers.
CLASSES, ROWS, SUMS = 8, 4, 4

#: Threads of a block that sums rows, a warp to each, and of the one that finds their shifts: they
#: wait for each other more than they do.
SUMMING, SHIFTING = 32 * ROWS, 256


class Pixels(NamedTuple):
    """Residual and periodic part, float32, holes, int8, and the step of an even sample of them."""

    residual: Array
    periodic: Array
    hole: Array
    step: int

    @property
    def number(self) -> int:
        """Pixels of the sample."""
        return int(-(-self.periodic.size // self.step))


class Classes(NamedTuple):
    """Classes of intensity; twin: `noise.IntensityClasses`.

    Attributes
    ----------
    levels
        float64 (8, 3): the least of each, and two about its middle.
    sample
        float32 (n,): intensity of an even sample, infinite in holes.
    """

    levels: Array
    sample: Array


def intensity_classes(pixels: Pixels) -> Classes:
    """Part an even sample of pixels into classes of intensity; twin: `noise.IntensityClasses`.

    Of pixels as bright as the bound between two classes all count to the brighter one, where the
    twin counts them off.
    """
    xp, number = array_module(pixels.periodic), pixels.number
    classes = Classes(xp.empty((CLASSES, 3), np.float64), xp.empty(number, np.float32))
    launch(
        "lines", "sampled", number, classes.levels,
        pixels.periodic, pixels.hole, pixels.step, number, classes.sample,
    )  # fmt: skip
    launch_together(
        "lines", "classes", 2 * CLASSES, classes.levels, classes.sample, number, classes.levels
    )
    return classes


def noise_line(pixels: Pixels, classes: Classes, line: Array | None = None) -> Array:
    """Slope, base and least of a noise line, float64 (3,); twin: `noise.IntensityClasses.line`.

    They go into ``line`` where it is given. Medians are the twin's to the last bit but for pixels
    on the bound of a class, and the line is the same least squares.
    """
    levels, xp = classes.levels, array_module(classes.levels)
    variances = xp.empty(CLASSES, np.float64)
    line = xp.empty(3, np.float64) if line is None else line
    launch_together(
        "lines", "class_variances", CLASSES, levels,
        single(pixels.residual), pixels.step, classes.sample, pixels.number, levels, variances,
    )  # fmt: skip
    tiny = np.float64(np.finfo(np.float32).tiny)
    launch("lines", "fit_line", 1, levels, levels, variances, tiny, line)
    return line


def row_shifts(pixels: Pixels, line: Array, certain: float, part: float, constant: Array) -> Array:
    """Shift of each row and, last, the jitter, float64 (rows + 1,).

    The twin is `straightening.measure_row_shifts`, whose sums along a row of n pixels are in single
    precision: the shifts differ by ``4 n 2**-24`` of the greatest at most.

    Parameters
    ----------
    pixels, line
        Of the frame as it was written, and its noise.
    certain
        Error in pixels beyond which nothing is believed.
    part, constant
        Shift beyond which nothing is believed, as a part of the lattice constant, and that in
        pixels, float64 (1,) on the device.
    """
    xp, (rows, columns) = array_module(line), pixels.periodic.shape
    sums = xp.empty((SUMS, rows), np.float64)
    launch_together(
        "lines", "row_sums", blocks_of(rows, ROWS), line,
        pixels.residual, pixels.periodic, pixels.hole, rows, columns, line, sums, threads=SUMMING,
    )  # fmt: skip
    error, shifts = xp.empty(rows, np.float64), xp.empty(rows + 1, np.float64)
    launch_together(
        "lines", "row_shifts", 1, line,
        sums, rows, columns, np.float64(certain), np.float64(part), constant, error, shifts,
        threads=SHIFTING,
    )  # fmt: skip
    return shifts


def straightened(
    image: Array, pixels: Pixels, shifts: Array, worth: float, straight: Array | None = None
) -> tuple[Array, Array]:
    """Image with its rows moved back, and what is left of it outside holes.

    The twin is `straightening.straighten`, to the last bit. ``worth`` is the jitter in pixels below
    which rows stay where they are. The image goes into ``straight`` where it is given.
    """
    if straight is None:
        straight = array_module(image).empty(image.shape, np.float32)
    residual = room(image, image.shape, np.float32)
    launch_neighbours(
        "lines", "straightened", image.size, image,
        single(image), pixels.periodic, pixels.hole, *image.shape,
        shifts, np.float64(worth), straight, residual,
    )  # fmt: skip
    return straight, residual


def matched(residual: Array, down: Array, across: Array) -> Array:
    """Smooth an image by a Gaussian of unit sum.

    The twin is `labelling.smooth_spectrum`, to the last bit but for rounding where the number of
    pixels, which the spectrum is divided by here, is no power of two. ``down`` and ``across`` are
    the Gaussian's spectrum along each axis, float32.
    """
    spectrum = array_module(residual).ascontiguousarray(rfft2(residual))
    shape = residual.shape[0], residual.shape[1]
    launch(
        "lines", "smoothed_spectrum", spectrum.size, residual,
        spectrum.view(np.float32), *spectrum.shape, down, across, per_pixel(shape),
    )  # fmt: skip
    return single(irfft2(spectrum, shape, norm="forward"))


def clear_holes(image: Array, hole: Array) -> Array:
    """Make an image 0 in holes, in place; float32 and int8, (rows, columns)."""
    launch_neighbours("lines", "holes_cleared", image.size, image, hole, *image.shape, image)
    return image


def significance(
    smooth: Array, pixels: Pixels, line: Array, threshold: float
) -> tuple[Array, Array, Array, Array]:
    """Give the matched residual outside holes, that over its noise, and where it is bright or dark.

    The twin is in `labelling.label`; given the same line, equal to the last bit. Masks are int8.
    """
    xp, shape = array_module(smooth), smooth.shape
    kept, z = xp.empty((2, *shape), np.float32)
    bright, dark = xp.empty((2, *shape), np.int8)
    launch_neighbours(
        "lines", "significance", smooth.size, smooth,
        smooth, pixels.periodic, pixels.hole, *shape, line, np.float32(threshold),
        kept, z, bright, dark,
    )  # fmt: skip
    return kept, z, bright, dark
