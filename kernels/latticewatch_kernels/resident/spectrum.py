"""CUDA C kernels for the power of a frame's Fourier plane over the noise in it, on a device."""

from __future__ import annotations

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.fourier import rfft2, room
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch, launch_neighbours, launch_together, single
from latticewatch_kernels.resident.tables import table
from latticewatch_kernels.spectrum import half_window, hann, rings

#: As in the source: threads that share the bins of a ring, and bins to a block.
LANES, CHUNK = 32, 4096


def power_over_noise(image: Array, mean: Array, level: float) -> tuple[Array, Array, Array]:
    """Power of the half plane, the same over its noise, and where that reaches a level.

    The twins are `spectrum.hann_power` and `spectrum.noise_power`.

    Parameters
    ----------
    image
        float32 (rows, columns).
    mean
        Its mean, float64 (1,) or more of which the first is read.
    level
        What `reached` is about.

    Returns
    -------
    power, ratio, reached
        float32 twice and int8, (rows, columns // 2 + 1).

    Notes
    -----
    Noise differs from the twin's by ``64 * 2**-24`` of itself at most: the twin's mean logarithms
    along the axes, of some 30 at most, are kept in single precision, and its exponential is one.
    Transforms that round otherwise add what that does to the logarithms of bins with hardly any
    power, which decide for a ring that has few others.
    """
    xp, shape = array_module(image), (image.shape[0], image.shape[1])
    power, greatest = _power(image, mean, shape)
    noise, number = _noise(power, greatest, shape)
    ratio, reached = xp.empty_like(power), xp.empty(power.shape, np.int8)
    launch_neighbours(
        "spectrum", "over_noise", power.size, image,
        power, *power.shape, table(image, rings, shape), number, noise, np.float32(level),
        ratio, reached,
    )  # fmt: skip
    return power, ratio, reached


def _power(image: Array, mean: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Power of the half plane, rows shifted, and the greatest of each part of it."""
    xp = array_module(image)
    work = room(image, shape, np.float32)
    power = xp.empty((shape[0], shape[1] // 2 + 1), np.float32)
    launch_neighbours(
        "spectrum", "windowed", work.size, image,
        single(image), mean,
        table(image, hann, shape[0]), table(image, hann, shape[1]), *shape, work,
    )  # fmt: skip
    spectrum = xp.ascontiguousarray(rfft2(work)).view(np.float32)
    greatest = xp.empty(-(-power.size // CHUNK), np.float32)
    launch_together(
        "spectrum", "shifted_power", greatest.size, image,
        spectrum, *power.shape, power, greatest,
    )  # fmt: skip
    return power, greatest


def _noise(power: Array, greatest: Array, shape: tuple[int, int]) -> tuple[Array, int]:
    """Noise of each ring, column and row, one after the other, and the number of rings."""
    xp, (rows, columns) = array_module(power), power.shape
    bins, starts = table(power, _by_ring, shape), table(power, _starts, shape)
    number = len(starts) - 1
    # rings in parts, so that threads share them; the axes follow
    parts = xp.empty((number, LANES), np.float64)
    mean_log = xp.empty(number + columns + rows, np.float64)
    launch(
        "spectrum", "profiles", parts.size + columns + rows, power,
        power, greatest, greatest.size, rows, columns, bins, starts, number,
        parts, mean_log[number:],
    )  # fmt: skip
    launch("spectrum", "ring_means", number, power, parts, number, mean_log)
    halves = [half_window(size) for size in (number, columns, rows)]
    longest, noise = 2 * max(halves) + 1, xp.empty(mean_log.size, np.float32)
    launch(
        "spectrum", "noise_profiles", noise.size * longest, power,
        mean_log, number, columns, rows, *halves, longest, noise,
    )  # fmt: skip
    return noise, number


def _by_ring(shape: tuple[int, int]) -> np.ndarray:
    """Bins in the order of their rings."""
    return np.argsort(rings(shape), axis=None, kind="stable").astype(np.int32)


def _starts(shape: tuple[int, int]) -> np.ndarray:
    """Where each ring begins in that order, and the end of the last."""
    return np.concatenate([[0], np.cumsum(np.bincount(rings(shape).reshape(-1)))]).astype(np.int32)
