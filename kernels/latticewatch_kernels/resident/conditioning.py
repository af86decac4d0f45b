"""CUDA C kernels that condition a frame on a device; twin: `conditioning.condition`."""

from __future__ import annotations

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.conditioning import (
    LEAST_KEPT,
    OUTLIER_SIGMAS,
    STATISTICS_PIXELS,
    blocks_of,
    check_shape,
    sample_step,
)
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch, launch_neighbours, launch_together
from latticewatch_kernels.resident.tables import table

#: Types of pixels that the kernels read, by the number that they know each by.
KINDS = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")

#: Quantiles that set the contrast, as parts of 1.
QUANTILES = (0.15865, 0.5, 0.84135)

#: Maps of blocks that the background is found on, and threads that find it, as in the source.
SCRATCH, LEVELLING = 6, 256


def conditioned(frame: Array) -> tuple[Array, Array]:
    """Flatten a frame and set its contrast; the frame is read twice and written once.

    Parameters
    ----------
    frame
        (rows, columns) of any real type; those of `KINDS` are read as they are.

    Returns
    -------
    image, facts
        float32 of the frame's shape, and float64 (4,): least and greatest pixel of the frame, and
        median and half width of the flattened sample in units of the span between these. Where a
        pixel is not finite or all are equal the image means nothing, and `check_content` says so.

    Raises
    ------
    FrameContentError
        The frame is not two-dimensional.

    Notes
    -----
    Differs from the twin by some units in the last place of the frame's span in single precision:
    by no more than ``16 * 2**-24 / width`` where width is the half width among the facts, as long
    as no block lies so near to the bound between those that are left out and the others that
    rounding decides.
    """
    check_shape(frame.shape)
    block, scale = blocks_of(frame.shape)
    xp, step = array_module(frame), sample_step(frame.shape, STATISTICS_PIXELS)
    frame = xp.ascontiguousarray(frame)
    if frame.dtype.name not in KINDS:
        frame = frame.astype(np.float64)
    rows, columns = frame.shape
    pixels = frame.view(np.int8), KINDS.index(frame.dtype.name), rows, columns
    facts, image = xp.empty(4, np.float64), xp.empty((rows, columns), np.float32)
    level = _flat_level(pixels, block, scale, facts)
    blocks, size = (level, block, *level.shape), -(-rows * columns // step)
    sample, found = xp.empty(size, np.float32), xp.empty(len(QUANTILES), np.float64)
    launch("contrast", "sampled", size, frame, *pixels, *blocks, facts, step, size, sample)
    launch_together(
        "contrast", "quantiles", len(QUANTILES), frame,
        sample, size, table(frame, np.array, QUANTILES), found,
    )  # fmt: skip
    launch_together("contrast", "contrast", 1, frame, *pixels, *blocks, found, facts)
    launch_neighbours("contrast", "conditioned", image.size, frame, *pixels, *blocks, facts, image)
    return image, facts


def _flat_level(
    pixels: tuple[Array, int, int, int], block: int, scale: float, facts: Array
) -> Array:
    """Find the background of each whole block, and the least and greatest pixel of all.

    Parameters
    ----------
    pixels
        Bytes of the frame, the number of their kind, rows and columns.
    block, scale
        Pixels along a side of a block, and standard deviation of the average over them.
    facts
        The first two are filled.
    """
    frame, _, rows, columns = pixels
    xp, number = array_module(frame), -(-rows // block)
    sums, least, most = xp.empty((3, number, columns), np.float64)
    launch(
        "conditioning", "strips", number * columns, frame,
        *pixels, block, number, sums, least, most,
    )  # fmt: skip
    gauss = table(frame, _half_gaussian, scale / block)
    high, wide = rows // block, columns // block
    bounds, totals = xp.empty((number, 2), np.float64), xp.empty((high, wide), np.float64)
    launch_together(
        "conditioning", "strips_joined", number, frame,
        sums, least, most, columns, block, high, wide, bounds, totals, threads=LEVELLING,
    )  # fmt: skip
    scratch = xp.empty(SCRATCH * (high + 1) * (wide + 1), np.float32)
    level = xp.empty((high, wide), np.float32)
    launch_together(
        "conditioning", "flat_level", 1, frame,
        bounds, totals, number, block, high, wide,
        gauss, len(gauss) - 1, np.float64(OUTLIER_SIGMAS), np.float64(LEAST_KEPT),
        scratch, level, facts, threads=LEVELLING,
    )  # fmt: skip
    return level


def _half_gaussian(sigma: float) -> np.ndarray:
    """Weights of a Gaussian average from the middle outwards, cut at three standard deviations."""
    step = np.arange(int(3.0 * sigma + 0.5) + 1)
    weight = np.exp(-0.5 * (step / sigma) ** 2)
    return np.asarray(weight / (2.0 * weight.sum() - weight[0]))
