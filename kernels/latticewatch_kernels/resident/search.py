"""Find a frame's lattice and measure its harmonics, by the facts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latticewatch_kernels import bragg, spectrum
from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.harmonics import (
    HIGHEST_FREQUENCY,
    amplitude_noise,
    node_indices,
)
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch, launch_together, single, zeros
from latticewatch_kernels.resident.facts import slots_of
from latticewatch_kernels.resident.harmonics import refine
from latticewatch_kernels.resident.plan import Room
from latticewatch_kernels.resident.spectrum import power_over_noise
from latticewatch_kernels.resident.statistics import measure
from latticewatch_kernels.resident.tables import table

#: A maximum is told by its value and the 3 x 3 powers around it; a pair by its basis, score, cell.
TOLD, JUDGED = 10, 6

#: Threads that pick the strongest maxima, four of which each keeps: they wait for each other at
#: every peak, and fewer wait shorter.
PICKING = 256


def _nodes() -> np.ndarray:
    """Nodes of the first shells of a reduced basis, int32 (n, 2)."""
    sixty_degrees = np.array([[1.0, 0.0], [0.5, 0.866]])
    return node_indices(sixty_degrees, highest=np.inf).astype(np.int32)


#: Rows of the harmonics.
HARMONICS = len(_nodes())


def find(image: Array, facts: Array, room: Room) -> Array:
    """Find the reciprocal lattice of a frame and the harmonics at its nodes.

    The twin is `bragg.find_lattice_and_harmonics`.

    Parameters
    ----------
    image
        float32 (rows, columns), conditioned.
    facts
        STATISTICS, PEAKS, RECIPROCAL, SIGNIFICANCE, HARMONICS and HARMONIC_NOISE are written. A
        frame is refused with `FEW_PEAKS` or `NOT_HEXAGONAL`, where the twin raises
        `NoLatticeError`, and with `NO_ROOM`; its reciprocal lattice is then that of a lattice
        constant of 10 px.
    room
        Of which `maxima` counts.

    Returns
    -------
    Array
        float64 (HARMONICS, 4): node as two indices to the reciprocal vectors, real and imaginary
        part of the amplitude, in the twin's order. Rows from FACT_HARMONICS on are zeros, and all
        are of a refused frame.

    Notes
    -----
    With the same power over noise the choice of peaks and basis is the twin's but where two numbers
    that are compared are equal to rounding in double precision. What is measured then differs by
    the products of waves with the image, which are in single precision here and there: the
    reciprocal lattice by ``8 u / min(rows, columns)`` and amplitudes by ``8 u`` times the mean
    of the image's magnitude, with ``u = 2**-24``, where the products sum in the same order.
    """
    views = [single(view) for view in bragg.views_of(image)]
    means = _means(views, facts)
    peaks, reached = _found(views[0], means[0], facts, room.maxima)
    _span(peaks, reached, views[0].shape[1], facts)
    nodes = table(image, _nodes)
    amplitudes = refine(views, means, slots_of(facts, "reciprocal"), nodes)
    harmonics = array_module(image).empty((HARMONICS, 4), np.float64)
    launch_together(
        "search", "told", 1, image,
        peaks, len(peaks), *views[0].shape, nodes, amplitudes, HARMONICS,
        np.float64(HIGHEST_FREQUENCY), np.float64(amplitude_noise(1.0, image.shape)),
        facts, harmonics,
    )  # fmt: skip
    return harmonics


def _means(views: Sequence[Array], facts: Array) -> list[Array]:
    """Mean and standard deviation of each view, float64 (2,); the last, of all, among the facts."""
    xp = array_module(facts)
    means = [xp.empty(2, np.float64) for _ in views[1:]] + [slots_of(facts, "statistics")]
    for view, told in zip(views, means, strict=True):
        measure(view, told)
    return means


def _found(image: Array, mean: Array, facts: Array, room: int) -> tuple[Array, Array]:
    """Find the peaks of the Fourier plane; twin: `spectrum.significant_maxima`.

    Returns
    -------
    peaks
        float64 (MOST_CANDIDATES, 4), strongest first: frequency (x, y) in cycles per pixel,
        amplitude over that of the noise, and the distance in bins from a node at which the node
        explains the peak.
    reached
        int8 (rows, columns // 2 + 1), bins that reach the level of a third peak.
    """
    xp = array_module(image)
    power, ratio, reached = power_over_noise(image, mean, bragg.THIRD_PEAK_RATIO)
    number, place = zeros(image, (1,), np.int32), xp.empty(room, np.int32)
    said = xp.empty((room, TOLD), np.float32)
    launch(
        "maxima", "local_maxima", ratio.size, image,
        ratio, power, *ratio.shape, 1, np.float32(spectrum.least_ratio(ratio.size)), room,
        number, place, said,
    )  # fmt: skip
    peaks = xp.empty((spectrum.MOST_CANDIDATES, 4), np.float64)
    launch_together(
        "search", "strongest", 1, image,
        number, place, said, room, *ratio.shape, image.shape[1],
        np.float64(spectrum.LEAST_PERIODS), np.float64(spectrum.PEAK_WIDTH_BINS),
        np.float64(bragg.NODE_TOLERANCE_BINS), np.float64(bragg.NODE_TOLERANCE), len(peaks),
        facts, peaks, threads=PICKING,
    )  # fmt: skip
    return peaks, reached


def _span(peaks: Array, reached: Array, width: int, facts: Array) -> None:
    """Find the reduced basis that the peaks span; twin: `bragg._primitive_basis`.

    ``width`` is that of the image.
    """
    most = len(peaks)
    bases = array_module(peaks).empty((2 * most**2, JUDGED), np.float64)
    high, low = np.cos(np.radians(bragg.ANGLE_RANGE_DEG))
    launch(
        "search", "pairs", len(bases), peaks,
        facts, peaks, most, reached, *reached.shape, width, low, high,
        np.float64(bragg.HIGHEST_RING), np.float64(bragg.LENGTH_RATIO),
        np.float64(bragg.MOST_CHANCE), np.float64(bragg.LEAST_SHARE), bases,
    )  # fmt: skip
    launch_together(
        "search", "primitive", 1, peaks,
        bases, len(bases), np.float64(bragg.EQUAL_PART), facts,
    )  # fmt: skip
