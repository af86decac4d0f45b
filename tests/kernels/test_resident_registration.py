"""A lattice is found by its harmonics on a device as on the host."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.columns import column_profile
from latticewatch_kernels.conditioning import conditioned
from latticewatch_kernels.harmonics import Harmonics, node_indices
from latticewatch_kernels.lattice import HEXAGONAL_SITES, Lattice, NoLatticeError
from latticewatch_kernels.order import _mean_above_empty
from latticewatch_kernels.periodic import leaked, window_px
from latticewatch_kernels.registration import from_harmonics, registered
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.facts import PLACE, Facts, Refusal
from latticewatch_kernels.resident.registration import MOST, register
from latticewatch_models.microscope import Microscope

from .guarded import above, drawn, seeds

#: The network's lattice constant, and the scales at which it serves.
SERVED, SCALES = 10.5, (0.8, 1.25)

#: Rows that the buffer of harmonics has beyond those that count.
SPARE = 3

#: Lattice constants from the least served to that of a small frame with few cells.
constants = st.floats(4.2, 40.0)


def facts_of(harmonics: Harmonics, reciprocal: np.ndarray, refusal: Refusal) -> np.ndarray:
    """What the stage before hands on."""
    values = np.full(slots.NUMBER, np.nan)
    for name, number in (
        ("refusal", refusal),
        ("reciprocal", reciprocal.ravel()),
        ("significance", 30.0),
        ("harmonics", len(harmonics.nodes)),
        ("harmonic_noise", harmonics.noise),
    ):
        values[PLACE[name] : PLACE[name] + slots.SLOTS[name]] = number
    return values


def found_by(
    double: SimpleNamespace,
    harmonics: Harmonics,
    reciprocal: np.ndarray,
    shape: tuple[int, int],
    refusal: Refusal = Refusal.NONE,
    **other: float | np.ndarray,
) -> Facts:
    """Facts after the stage, some of those before it replaced by others."""
    rows = np.full((len(harmonics.nodes) + SPARE, 4), np.nan)
    rows[:-SPARE, :2] = harmonics.indices
    rows[:-SPARE, 2], rows[:-SPARE, 3] = harmonics.amplitudes.real, harmonics.amplitudes.imag
    values = facts_of(harmonics, reciprocal, refusal)
    for name, number in other.items():
        values[PLACE[name] : PLACE[name] + slots.SLOTS[name]] = number
    given_ = above(double, rows), above(double, values)
    before = double.traffic.down, double.traffic.up, double.traffic.operations
    register(*given_, shape, SERVED, SCALES)
    after = double.traffic.down, double.traffic.up, double.traffic.operations
    assert np.subtract(after, before).tolist() == [0, 0, 1]
    return Facts(to_host(given_[1]))


def expected_of(
    harmonics: Harmonics, reciprocal: np.ndarray, shape: tuple[int, int]
) -> tuple[Lattice, dict[str, float]]:
    """The lattice by the twins, and the other facts."""
    lattice = from_harmonics(harmonics, reciprocal, 30.0, shape)
    sigma, height = column_profile(harmonics, lattice)
    window, factor = window_px(lattice, shape), SERVED / lattice.constant
    return lattice, {
        "constant": lattice.constant,
        "sigma": sigma,
        "height": height,
        "above_empty": _mean_above_empty(lattice, harmonics),
        "window": window,
        "leak": leaked(lattice, sigma, window),
        "factor": 1.0 if SCALES[0] <= 1 / factor <= SCALES[1] else factor,
    }


def assert_same(
    found: Facts, harmonics: Harmonics, reciprocal: np.ndarray, shape: tuple[int, int]
) -> None:
    lattice, numbers = expected_of(harmonics, reciprocal, shape)
    assert found.refusal is Refusal.NONE
    within = 1e-9 * lattice.constant
    assert found.lattice.significance == lattice.significance
    for name in ("a1", "a2", "origin"):
        ours, theirs = getattr(found.lattice, name), getattr(lattice, name)
        np.testing.assert_allclose(ours, theirs, 0.0, within, err_msg=name)
    np.testing.assert_allclose(found.lattice.heights, lattice.heights, 1e-9, 1e-9)
    for name, number in numbers.items():
        size = np.abs(harmonics.amplitudes).sum() if name == "above_empty" else 0.0
        np.testing.assert_allclose(found.number(name), number, 1e-9, 1e-9 * size, err_msg=name)
    cells = lattice.covering_cells(shape)
    np.testing.assert_array_equal(found["first_cell"], cells[0, 0])
    np.testing.assert_array_equal(found["cells"], cells.shape[:2])


def crystal(
    constant: float,
    angle: float,
    strain: list[float],
    place: tuple[float, float],
    heights: tuple[float, float, float],
    width: float,
    seed: int,
) -> tuple[Harmonics, np.ndarray]:
    """Harmonics of Gaussian columns with a thousandth of noise, and their reciprocal lattice."""
    turns = np.radians([angle, angle + 60.0])
    reciprocal = 2.0 / np.sqrt(3.0) / constant * np.stack([np.cos(turns), np.sin(turns)], 1)
    reciprocal = reciprocal @ (np.eye(2) + np.reshape(strain, (2, 2)))
    indices = node_indices(reciprocal)
    nodes = indices @ reciprocal
    vectors = np.linalg.inv(reciprocal)
    places = HEXAGONAL_SITES @ vectors.T + np.array(place) @ vectors.T
    waves = np.exp(-2j * np.pi * nodes @ places.T) @ np.array(heights)
    fall = np.exp(-2.0 * np.pi**2 * (width * constant) ** 2 * (nodes**2).sum(1))
    rng = np.random.default_rng(seed)
    noise = 1e-3 * rng.normal(size=(2, len(nodes))) * np.abs(waves * fall).max()
    return Harmonics(indices, nodes, waves * fall + noise[0] + 1j * noise[1], 1e-3), reciprocal


crystals = st.builds(
    crystal,
    constants,
    st.floats(-30.0, 30.0),
    st.lists(st.floats(-0.04, 0.04), min_size=4, max_size=4),
    st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
    st.tuples(
        st.just(1.0),
        st.one_of(st.just(1.0), st.floats(0.0, 1.0)),
        st.one_of(st.just(0.0), st.floats(0.0, 1.0)),
    ),
    st.floats(0.05, 0.3),
    seeds,
)

shapes = st.tuples(st.integers(64, 2000), st.integers(64, 2000))

#: The twin's line through logarithms is sure to ``1e-9`` where its condition number is below this.
MOST_CONDITION = 1e3


def condition_of(harmonics: Harmonics, lattice: Lattice) -> float:
    """Condition number of the line through logarithms in `columns.column_profile`."""
    waves = np.exp(-2j * np.pi * HEXAGONAL_SITES @ harmonics.nodes_in(lattice).T)
    power = np.abs(harmonics.amplitudes) ** 2 - 2.0 * harmonics.noise**2
    known = (np.abs(lattice.heights @ waves) > 0.1) & (power > 0.0)
    g2 = (harmonics.nodes[known] ** 2).sum(1)
    design = np.stack([np.ones_like(g2), -2.0 * np.pi**2 * g2], 1)
    return float(np.linalg.cond(design * np.sqrt(power[known])[:, None]))


def decided(harmonics: Harmonics, lattice: Lattice, shape: tuple[int, int]) -> bool:
    """Whether no choice of the twin hangs on rounding."""
    corners = np.array([[0, 0], [shape[1], 0], [0, shape[0]], [shape[1], shape[0]]], float)
    cells = lattice.to_fractional(corners)
    around = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 2)
    centre = np.array([0.5 * (shape[1] - 1), 0.5 * (shape[0] - 1)])
    first, second = np.sort(np.hypot(*(lattice.to_pixels(around) - centre).T))[:2]
    return bool(
        np.abs(cells - np.rint(cells)).min() > 1e-7
        and second - first > 1e-7
        and min(abs(abs(lattice.rotation) - edge) for edge in (30.0, 60.0)) > 1e-7
    )


@drawn
@given(crystals, shapes)
def test_like_the_twins(device_double, drawn_, shape):
    harmonics, reciprocal = drawn_
    lattice = from_harmonics(harmonics, reciprocal, 30.0, shape)
    assume(decided(harmonics, lattice, shape))
    assume(condition_of(harmonics, lattice) < MOST_CONDITION)
    assert_same(found_by(device_double, *drawn_, shape), *drawn_, shape)
