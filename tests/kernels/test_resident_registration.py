"""A lattice is found by its harmonics on a device as on the host."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.bragg import find_lattice_and_harmonics
from latticewatch_kernels.columns import column_profile
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.harmonics import Harmonics, node_indices
from latticewatch_kernels.lattice import HEXAGONAL_SITES, Lattice, NoLatticeError
from latticewatch_kernels.launch import SOURCES, THREADS
from latticewatch_kernels.order import _mean_above_empty
from latticewatch_kernels.patches import scale_for
from latticewatch_kernels.periodic import leaked, window_px
from latticewatch_kernels.registration import from_harmonics, registered
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.facts import PLACE, Facts, Refusal
from latticewatch_kernels.resident.registration import MOST, register
from latticewatch_models.microscope import ImagingConfig, Microscope

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
    /,
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
    window = window_px(lattice, shape)
    return lattice, {
        "constant": lattice.constant,
        "sigma": sigma,
        "height": height,
        "above_empty": _mean_above_empty(lattice, harmonics),
        "window": window,
        "leak": leaked(lattice, sigma, window),
        "factor": scale_for(lattice.constant, SERVED, SCALES),
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


#: Crystal, pixel in nm, seed, and whether its constant is beyond the network's scales.
FRAMES = [
    ("WS2", 0.03, 1, False),
    ("WS2", 0.02, 2, True),
    ("MoS2", 0.025, 3, False),
    ("graphene", 0.015, 4, True),
]


@pytest.mark.parametrize("hole", [False, True])
@pytest.mark.parametrize(("name", "pixel", "seed", "scaled"), FRAMES)
def test_simulated_frames(device_double, name, pixel, seed, scaled, hole):
    imaging = ImagingConfig(pixel_size_nm=pixel, dose_e_per_pixel=1e5)
    frame = Microscope(name, (192, 256), seed, imaging=imaging).acquire().image.astype(float)
    if hole:
        y, x = np.indices(frame.shape)
        frame[np.hypot(x - 70.0, y - 60.0) < 40.0] = frame.min()
    image = condition(frame)
    peaks, harmonics = find_lattice_and_harmonics(image)
    found = found_by(device_double, harmonics, peaks.reciprocal, frame.shape)
    assert_same(found, harmonics, peaks.reciprocal, frame.shape)
    lattice, _ = registered(image)
    np.testing.assert_allclose(found.lattice.origin, lattice.origin, 0.0, 1e-9 * lattice.constant)
    assert (found.number("factor") != 1.0) == scaled


@drawn
@given(crystals, shapes)
def test_a_single_harmonic_above_the_noise(device_double, drawn_, shape):
    """Where a line has no slope the twin takes the shortest solution."""
    harmonics, reciprocal = drawn_
    lattice = from_harmonics(harmonics, reciprocal, 30.0, shape)
    assume(decided(harmonics, lattice, shape))
    second, first = np.sort(np.abs(harmonics.amplitudes))[-2:]
    assume(second < 0.999 * first)
    noise = float(np.sqrt(0.25 * (first**2 + second**2)))
    one = Harmonics(harmonics.indices, harmonics.nodes, harmonics.amplitudes, noise)
    assert_same(found_by(device_double, one, reciprocal, shape), one, reciprocal, shape)


def assert_harmless(found: Facts, shape: tuple[int, int], refusal: Refusal) -> None:
    assert found.refusal is refusal
    lattice = found.lattice
    assert lattice.constant == pytest.approx(10.0)
    assert lattice.origin == (0.5 * (shape[1] - 1), 0.5 * (shape[0] - 1))
    assert lattice.heights == (1.0, 0.0, 0.0)
    names = "constant", "sigma", "height", "leak", "factor", "above_empty"
    assert [found.number(n) for n in names] == pytest.approx([10.0, 2.0, 1.0, 0.05, 1.0, 1.0])
    assert found.number("window") == pytest.approx(window_px(lattice, shape))
    cells = lattice.covering_cells(shape)
    np.testing.assert_array_equal(found["first_cell"], cells[0, 0])
    np.testing.assert_array_equal(found["cells"], cells.shape[:2])


EXAMPLE = crystal(9.3, 11.0, [0.01, 0.0, -0.02, 0.0], (0.3, 0.8), (1.0, 0.4, 0.0), 0.15, 1)


def test_no_harmonic_out_of_the_noise(device_double):
    harmonics, reciprocal = EXAMPLE
    noisy = Harmonics(harmonics.indices, harmonics.nodes, harmonics.amplitudes, 10.0)
    lattice = from_harmonics(noisy, reciprocal, 30.0, (99, 130))
    with pytest.raises(NoLatticeError):
        column_profile(noisy, lattice)
    found = found_by(device_double, noisy, reciprocal, (99, 130))
    assert_harmless(found, (99, 130), Refusal.NO_HARMONIC)


@pytest.mark.parametrize("refusal", [Refusal.FEW_PEAKS, Refusal.NOT_HEXAGONAL, Refusal.NO_ROOM])
def test_the_first_refusal_stays(device_double, refusal):
    found = found_by(device_double, *EXAMPLE, (99, 130), refusal)
    assert_harmless(found, (99, 130), refusal)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e300, -1e-300])
@pytest.mark.parametrize("name", ["harmonics", "harmonic_noise", "reciprocal"])
def test_facts_that_are_none(device_double, name, value):
    """None of them is read as if it were one, and what is written is harmless."""
    found = found_by(device_double, *EXAMPLE, (99, 130), Refusal.NONE, **{name: value})
    if (name, value) in (("harmonic_noise", 0.0), ("harmonic_noise", -1e-300)):
        assert found.refusal is Refusal.NONE
    elif (name, value) != ("harmonics", 1e300):
        assert_harmless(found, (99, 130), Refusal.NO_HARMONIC)
    written = found.values[PLACE["vectors"] : PLACE["holes"]]
    assert np.isfinite(written).all()


@pytest.mark.parametrize("scale", [1e-160, 1e-6, 1e-3, 20.0, 1e160])
def test_a_lattice_that_no_frame_shows(device_double, scale):
    harmonics, reciprocal = EXAMPLE
    found = found_by(device_double, harmonics, scale * reciprocal, (99, 130))
    assert_harmless(found, (99, 130), Refusal.NO_HARMONIC)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e300])
def test_harmonics_that_are_none(device_double, value):
    harmonics, reciprocal = EXAMPLE
    amplitudes = harmonics.amplitudes.copy()
    amplitudes[:] = complex(value, value)
    none = Harmonics(harmonics.indices, harmonics.nodes, amplitudes, harmonics.noise)
    found = found_by(device_double, none, reciprocal, (99, 130))
    assert_harmless(found, (99, 130), Refusal.NO_HARMONIC)


def test_columns_without_noise_that_are_equal_get_the_same_gauge(device_double):
    """Which of two equal columns is the brightest is left to rounding; the gauge is not."""
    indices = EXAMPLE[0].indices
    reciprocal = EXAMPLE[1]
    waves = np.exp(-2j * np.pi * indices @ HEXAGONAL_SITES[:2].T).sum(1)
    nodes = indices @ reciprocal
    fall = np.exp(-40.0 * (nodes**2).sum(1))
    harmonics = Harmonics(indices, nodes, waves * fall, 1e-4)
    lattice, numbers = expected_of(harmonics, reciprocal, (99, 130))
    found = found_by(device_double, harmonics, reciprocal, (99, 130))
    assert abs(lattice.rotation) <= 30.0
    np.testing.assert_allclose(found["vectors"], [*lattice.a1, *lattice.a2], 0.0, 1e-8)
    np.testing.assert_allclose(found.lattice.origin, lattice.origin, 0.0, 1e-8)
    assert found.number("sigma") == pytest.approx(numbers["sigma"], rel=1e-9)


def test_there_is_room_for_the_threads_and_the_harmonics():
    text = (SOURCES / "registration.cu").read_text("ascii")
    assert f"#define FEW {THREADS} " in text
    assert f"#define MOST {MOST} " in text


def test_more_harmonics_than_there_is_room_for(device_double):
    rows, values = np.zeros((MOST + 1, 4)), np.zeros(slots.NUMBER)
    with pytest.raises(ValueError, match="room"):
        register(above(device_double, rows), above(device_double, values), (9, 9), SERVED, SCALES)
