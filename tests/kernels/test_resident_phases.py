"""What is missing to disorder and to holes is on a device what the host adds up."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.order import BLOCKS_PER_CELL
from latticewatch_kernels.phases import LESS_ORDER, area_fractions, fractions_of
from latticewatch_kernels.resident.facts import NUMBER, PLACE, Facts
from latticewatch_kernels.resident.order import STRIP, missing
from latticewatch_kernels.resident.plan import Plan, Room

from .guarded import above, drawn, fenced, seeds

#: Bound that `missing` states.
FRACTIONS = 1e-9

#: A constant of 10.5 px, in whose map 1.75 cells are one.
CONSTANT, STRIDE = 10.5, 3

#: Discs of a map, in parts of its sides: x, y, radius in cells, and the texture within.
Discs = list[tuple[float, float, float, float]]

KINDS: dict[str, tuple[tuple[int, int], Discs]] = {
    "hole": ((85, 85), [(0.3, 0.6, 6.0, 0.0)]),
    "disordered": ((85, 85), [(0.7, 0.4, 7.0, 1.5)]),
    "both": ((85, 85), [(0.3, 0.3, 5.0, 0.0), (0.55, 0.45, 5.0, 1.5)]),
    "at the border": ((60, 90), [(0.0, 0.0, 9.0, 0.0), (1.0, 0.5, 8.0, 1.5)]),
    "narrow": ((130, 17), [(0.5, 0.3, 5.0, 0.0), (0.5, 0.7, 6.0, 1.5)]),
    "flat": ((9, 2 * STRIP + 3), [(0.5, 0.5, 4.0, 0.0), (0.9, 0.5, 4.0, 1.5)]),
    "hardly any crystal": ((40, 44), [(0.5, 0.5, 26.0, 0.0), (0.4, 0.5, 9.0, 1.5)]),
    "a small map": ((6, 4), [(0.0, 0.0, 1.9, 0.0)]),
    "nothing left": ((3, 2), [(0.5, 0.5, 9.0, 0.0)]),
    "whole": ((85, 85), []),
}


def maps(rng: np.random.Generator, shape: tuple[int, int], discs: Discs, cell: float):
    """Averages and amplitude, as the device has them, of a crystal that is distorted and noisy."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    order, matter = np.ones(shape), np.ones(shape)
    for u, v, radius, texture in discs:
        inside = (x - u * shape[1]) ** 2 + (y - v * shape[0]) ** 2 < radius**2
        order[inside], matter[inside] = 0.0, texture
    phase = np.exp(1j * (0.05 * x - 0.03 * y))
    scatter = rng.normal(0.0, 0.02, (2, 3, *shape))
    waves = [gaussian_filter(order, cell) * phase**k for k in (1, -1, 2)]
    waves = np.stack(waves) + scatter[0] + 1j * scatter[1]
    averages = np.empty((8, *shape), np.float32)
    averages[0] = rng.normal(0.0, 0.1, shape)
    averages[1:7:2], averages[2:7:2] = waves.real, waves.imag
    averages[7] = gaussian_filter(matter, cell) + 0.02 * rng.normal(size=shape)
    averages[7] += averages[0] ** 2
    amplitude = np.sqrt((np.abs(waves) ** 2).mean(axis=0)).astype(np.float32)
    return averages, amplitude


def told(double: SimpleNamespace, averages: np.ndarray, amplitude: np.ndarray, constant, stride):
    """What the device finds missing; whether it ended is seen by what was written around it."""
    high, wide = amplitude.shape
    side = stride * BLOCKS_PER_CELL
    plan = Plan((high * side, wide * side), stride, (1, 1), None, Room())
    values = np.full(NUMBER, np.nan)
    values[PLACE["constant"]] = constant
    values[PLACE["missing"] : PLACE["missing"] + 2] = 0.0
    lacking = np.array([(amplitude < LESS_ORDER).sum()], float)
    with fenced(double):
        facts = above(double, values)
        parts = (above(double, part) for part in (averages, amplitude, lacking))
        missing(*parts, facts, plan)
    return Facts(to_host(facts))


def fractions(double, averages, amplitude, constant, stride) -> np.ndarray:
    parts = told(double, averages, amplitude, constant, stride)["missing"] / amplitude.size
    return fractions_of(*parts.tolist())


def expected(averages: np.ndarray, amplitude: np.ndarray, cell: float) -> np.ndarray:
    waves, texture = averages[1:7:2] + 1j * averages[2:7:2], averages[7] - averages[0] ** 2
    with np.errstate(invalid="ignore"):  # where nothing is left of the crystal
        return area_fractions(waves, amplitude, texture, cell)


@pytest.mark.parametrize("kind", KINDS)
def test_like_the_host(device_double, kind):
    shape, discs = KINDS[kind]
    cell = CONSTANT / (STRIDE * BLOCKS_PER_CELL)
    averages, amplitude = maps(np.random.default_rng(3), shape, discs, cell)
    theirs = expected(averages, amplitude, cell)
    found = fractions(device_double, averages, amplitude, CONSTANT, STRIDE)
    np.testing.assert_allclose(found, theirs, 0.0, FRACTIONS)
    assert (theirs[0] == 1.0) == (kind == "whole")
    if kind in ("both", "at the border", "narrow", "flat"):
        assert theirs.min() > 0.01


@given(
    seeds,
    st.integers(4, 100),
    st.integers(4, 160),
    st.floats(1.5, 3.0, exclude_max=True),
    st.integers(1, 5),
)
@settings(drawn)
def test_like_the_host_whatever_is_missing(device_double, seed, high, wide, cell, number):
    rng = np.random.default_rng(seed)
    discs = [
        (*rng.uniform(0.0, 1.0, 2), rng.uniform(2.0, 12.0), rng.choice([0.0, 0.8, 1.5]))
        for _ in range(number)
    ]
    averages, amplitude = maps(rng, (high, wide), discs, cell)
    theirs = expected(averages, amplitude, cell)
    found = fractions(device_double, averages, amplitude, 2.0 * cell, 1)
    np.testing.assert_allclose(found, theirs, 0.0, FRACTIONS)


def test_what_is_equally_near_to_both_is_a_holes(device_double):
    cell, places, between = 1.5, [16, 20], 18
    averages, amplitude = np.zeros((8, 33, 37), np.float32), np.ones((33, 37), np.float32)
    averages[1:7:2] = averages[7] = 1.0
    averages[1:7:2, 16, places], amplitude[16, places] = 0.0, 0.0
    averages[7, 16, places] = -1.0, 3.0
    once = told(device_double, averages, amplitude, 2.0 * cell, 1)["missing"]
    np.testing.assert_allclose(once, 1.0, 0.0, FRACTIONS)  # a cell each
    averages[1:7:2, 16, between] = 0.5
    again = told(device_double, averages, amplitude, 2.0 * cell, 1)["missing"]
    np.testing.assert_allclose(again, [1.0, 1.5], 0.0, FRACTIONS * amplitude.size)
    theirs = expected(averages, amplitude, cell)
    np.testing.assert_allclose(fractions_of(*again / amplitude.size), theirs, 0.0, FRACTIONS)


def test_the_same_maps_give_the_same_bytes(device_double):
    averages, amplitude = maps(np.random.default_rng(5), *KINDS["both"], 1.75)
    once, again = (told(device_double, averages, amplitude, CONSTANT, STRIDE) for _ in range(2))
    assert once.values.tobytes() == again.values.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e-300, 1e300, -1e300, 99.0])
def test_a_constant_that_means_nothing_does_no_harm(device_double, value):
    averages, amplitude = maps(np.random.default_rng(5), *KINDS["narrow"], 1.75)
    with np.errstate(all="ignore"):
        averages[3, 60:] = value
        told(device_double, averages, amplitude, value, STRIDE)
