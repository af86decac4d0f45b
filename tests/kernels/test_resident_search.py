"""A device finds the lattice and the harmonics of a frame that the host finds, without a look."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latticewatch_kernels import bragg, spectrum
from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.harmonics import Harmonics
from latticewatch_kernels.lattice import NoLatticeError
from latticewatch_kernels.launch import launch_together
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.facts import Facts, Refusal
from latticewatch_kernels.resident.plan import Room
from latticewatch_kernels.resident.search import HARMONICS, _found, _span, find
from latticewatch_models.microscope import Microscope

from .conftest import make_crystal
from .guarded import above, drawn, seeds

EPSILON = 2.0**-24

#: What a refused frame's reciprocal lattice is.
TEN_PIXELS = 0.2 / np.sqrt(3.0) * np.array([1.0, 0.0, 0.5, np.sqrt(0.75)])


def blank() -> np.ndarray:
    """Facts of a frame of which nothing is known, and numbers of the frame before in all slots."""
    values = np.full(slots.NUMBER, np.nan)
    values[slots.PLACE["refusal"]] = Refusal.NONE
    return values


def searched(double, image: np.ndarray, room: Room | None = None, facts: np.ndarray | None = None):
    """Facts and harmonics that a device finds, and that nothing crossed on the way."""
    given_ = above(double, image.astype(np.float32))
    told = above(double, blank() if facts is None else facts)
    find(given_, above(double, blank()), room or Room())  # tables are kept from the frame before
    double.traffic.__init__()
    harmonics = find(given_, told, room or Room())
    assert (double.traffic.up, double.traffic.down) == (0, 0)
    return Facts(to_host(told)), to_host(harmonics)


def twin(image: np.ndarray) -> tuple[bragg.BraggPeaks, Harmonics] | Refusal:
    try:
        return bragg.find_lattice_and_harmonics(image)
    except NoLatticeError as error:
        return Refusal.FEW_PEAKS if "needs 2" in str(error) else Refusal.NOT_HEXAGONAL


def assert_harmless(facts: Facts, harmonics: np.ndarray) -> None:
    np.testing.assert_allclose(facts["reciprocal"], TEN_PIXELS, rtol=1e-12, atol=1e-15)
    for name in ("significance", "harmonics", "harmonic_noise"):
        assert facts.number(name) == 0.0
    assert not harmonics.any()


def assert_same_peaks(found: np.ndarray, expected: np.ndarray) -> None:
    """In any order, since some are equal but for rounding; so are both of a pair with x = 0."""
    for peaks in (found, expected):
        axis = np.abs(peaks[:, 0]) < 0.5
        peaks[axis] *= np.sign(peaks[axis, 1:])
    gap = np.abs(found[:, None] - expected).max(axis=-1)
    np.testing.assert_array_less(gap.min(axis=0), 1e-4)
    np.testing.assert_array_equal(np.sort(gap.argmin(axis=0)), np.arange(len(found)))


def rounding_of_noise(image: np.ndarray, frequency: np.ndarray) -> float:
    """How far noise about a frequency may be off, of itself, for transforms that round otherwise.

    Their rounding is that of the greatest bins, and noise is told by logarithms: a bin with next to
    no power decides for a ring in the corner, which has hardly another.
    """
    power, place = spectrum.hann_power(image), spectrum.rings(image.shape).reshape(-1)
    off = 4 * EPSILON * np.sqrt(power.mean() / power).reshape(-1)
    by_ring = np.bincount(place, off) / np.maximum(np.bincount(place), 1)
    ring = int(np.hypot(*frequency) * min(image.shape))
    return float(by_ring[max(0, ring - 3) :].max())


def assert_like_the_twin(double, image: np.ndarray) -> Facts:
    expected = twin(image)
    facts, harmonics = searched(double, image)
    if isinstance(expected, Refusal):
        assert facts.refusal is expected
        assert_harmless(facts, harmonics)
        return facts
    assert facts.refusal is Refusal.NONE
    found, measured = expected
    part = bragg.views_of(above(double, image.astype(np.float32)))[0]
    mean = above(double, np.array([to_host(part).mean(dtype=np.float64)]))
    peaks = to_host(_found(part, mean, above(double, blank()), Room().maxima)[0])
    number, side = len(found.peaks), min(image.shape)
    assert facts.number("peaks") == number
    bins = np.array(part.shape[::-1])
    assert_same_peaks(peaks[:number, :2] * bins, found.peaks * bins)
    surest = np.flatnonzero(found.indexed)[found.significance[found.indexed].argmax()]
    np.testing.assert_allclose(
        facts.number("significance"), found.significance[surest],
        64 * EPSILON + rounding_of_noise(to_host(part), found.peaks[surest]),
    )  # fmt: skip
    reciprocal = facts["reciprocal"].reshape(2, 2)
    np.testing.assert_allclose(reciprocal, found.reciprocal, 0.0, 8 * EPSILON / side)
    kept = int(facts.number("harmonics"))
    np.testing.assert_array_equal(harmonics[:kept, :2], measured.indices)
    size = float(np.abs(image).mean())
    amplitudes = harmonics[:kept, 2] + 1j * harmonics[:kept, 3]
    np.testing.assert_allclose(amplitudes, measured.amplitudes, 0.0, 8 * EPSILON * size)
    assert harmonics.shape == (HARMONICS, 4)
    assert not harmonics[kept:].any()
    np.testing.assert_allclose(facts.number("harmonic_noise"), measured.noise, rtol=1e-5)
    return facts


@pytest.mark.parametrize("seed", [1, 2])
def test_simulated_frames(device_double, seed):
    image = condition(Microscope("WS2", (256, 256), seed).acquire().image)
    facts = assert_like_the_twin(device_double, image)
    assert facts.refusal is Refusal.NONE


@drawn
@given(
    rotation=st.floats(0.0, 360.0),
    constant=st.floats(5.0, 25.0),
    rows=st.integers(64, 200),
    columns=st.integers(64, 200),
    shear=st.floats(-0.1, 0.1),
    second=st.sampled_from([0.15, 1.0]),
    counts=st.sampled_from([0.5, 1.0, 8.0, 30.0, 400.0]),
    hole=st.booleans(),
    seed=seeds,
)
def test_any_dose_shape_and_rotation(
    device_double, rotation, constant, rows, columns, shear, second, counts, hole, seed
):
    side = min(rows, columns)
    crystal = make_crystal(
        (rows, columns), constant=min(constant, side / 5.5), rotation=rotation, seed=seed,
        strain=np.array([[1.0, shear], [0.0, 1.0]]), heights=(1.0, second, 0.0), counts=counts,
        hole=(0.4 * columns, 0.6 * rows, 0.2 * side) if hole else None,
    )  # fmt: skip
    assert_like_the_twin(device_double, condition(crystal.image))


def test_a_large_frame_is_searched_in_its_middle_and_refined_whole(device_double):
    image = make_crystal((90, 2300), rotation=11.0, constant=12.0, counts=200.0).image
    facts = assert_like_the_twin(device_double, condition(image))
    assert facts.refusal is Refusal.NONE


def test_nodes_beyond_the_highest_frequency_are_left_out(device_double):
    image = condition(make_crystal((128, 120), constant=4.6, counts=400.0).image)
    facts = assert_like_the_twin(device_double, image)
    assert 3 <= facts.number("harmonics") < HARMONICS


def fringes(y, x):
    return np.sin(0.7 * x + 0.1 * y)


def two_fringes(y, x):
    return np.sin(0.7 * x) + np.sin(0.35 * x + 0.606 * y)


@pytest.mark.parametrize(
    ("pattern", "noise", "refusal"),
    [
        (lambda y, x: 0.0 * x, 1.0, Refusal.FEW_PEAKS),
        (lambda y, x: 0.0 * x + 5.0, 1e-6, Refusal.FEW_PEAKS),
        (lambda y, x: 0.0 * x + 5.0, 0.0, Refusal.FEW_PEAKS),
        (fringes, 0.5, Refusal.FEW_PEAKS),
        (two_fringes, 0.5, Refusal.NOT_HEXAGONAL),
        (lambda y, x: np.sin(0.7 * x) + np.sin(0.6 * y), 0.5, Refusal.NOT_HEXAGONAL),
    ],
    ids=["noise", "hardly any noise", "constant", "one peak", "two peaks", "square"],
)
def test_frames_without_a_lattice(device_double, pattern, noise, refusal):
    y, x = np.mgrid[:128, :150]
    image = pattern(y, x) + np.random.default_rng(3).normal(0.0, noise or 1e-30, x.shape)
    facts = assert_like_the_twin(device_double, image.astype(np.float32))
    assert facts.refusal is refusal


def test_a_buffer_that_is_too_small_is_told(device_double):
    image = condition(make_crystal((128, 128), counts=400.0).image)
    facts, harmonics = searched(device_double, image, Room(maxima=5))
    assert facts.refusal is Refusal.NO_ROOM
    assert facts.number("peaks") == 0  # which maxima found room is chance
    assert_harmless(facts, harmonics)
    facts, _ = searched(device_double, image, Room(maxima=5).doubled().doubled().doubled())
    assert facts.refusal is Refusal.NONE


def test_the_first_refusal_stays(device_double):
    before = blank()
    before[slots.PLACE["refusal"]] = Refusal.TOO_SMALL
    image = condition(make_crystal((128, 128), counts=400.0).image)
    facts, harmonics = searched(device_double, image, facts=before)
    assert facts.refusal is Refusal.TOO_SMALL
    assert_harmless(facts, harmonics)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e30])
def test_a_frame_of_numbers_that_are_none_ends_and_is_refused(device_double, value):
    with np.errstate(all="ignore"):
        facts, harmonics = searched(device_double, np.full((64, 70), value, np.float32))
    assert facts.refusal is Refusal.FEW_PEAKS
    assert_harmless(facts, harmonics)


@drawn
@given(st.integers(12, 60), st.integers(12, 60), st.integers(0, 80), seeds)
def test_peaks_are_the_twins_in_whatever_order_maxima_come(device_double, rows, width, count, seed):
    rng, columns = np.random.default_rng(seed), width // 2 + 1
    place = np.sort(rng.permutation(rows * columns)[:count])
    # many equal values, so that places break the ties
    said = rng.integers(9, 15, (len(place), 10)).astype(np.float32)
    given_ = said.astype(float)
    peaks, ratios = spectrum._strongest(
        (rows, width), *np.divmod(place, columns), given_[:, 0], given_[:, 1:].reshape(-1, 3, 3)
    )
    mixed = rng.permutation(len(place))
    facts, found = above(device_double, blank()), above(device_double, np.zeros((32, 4)))
    launch_together(
        "search", "strongest", 1, facts,
        above(device_double, np.array([len(place)], np.int32)),
        above(device_double, place[mixed].astype(np.int32)), above(device_double, said[mixed]),
        len(place), rows, columns, width, np.float64(spectrum.LEAST_PERIODS),
        np.float64(spectrum.PEAK_WIDTH_BINS), np.float64(0.8), np.float64(0.012), 32, facts, found,
    )  # fmt: skip
    assert to_host(facts)[slots.PLACE["peaks"]] == len(peaks)
    ours = to_host(found)[: len(peaks)]
    np.testing.assert_allclose(ours[:, :2], peaks, rtol=0.0, atol=1e-12)
    np.testing.assert_allclose(ours[:, 2], np.sqrt(ratios), rtol=1e-15)


# where what is explained by chance decides
@example(25.8, 23.0, 0.0, 6, 1.0, 1.0, (40, 52), 206)
@example(25.1, 35.0, 0.0, 12, 1.0, 1.0, (100, 130), 331)
@drawn
@given(
    constant=st.floats(4.0, 30.0),
    rotation=st.floats(0.0, 60.0),
    shear=st.floats(-0.1, 0.1),
    others=st.integers(0, 20),
    share=st.floats(0.2, 1.0),
    filled=st.sampled_from([0.02, 0.1, 1.0]),
    shape=st.sampled_from([(40, 52), (100, 130)]),
    seed=seeds,
)
def test_the_basis_that_peaks_span_is_the_twins(
    device_double, constant, rotation, shear, others, share, filled, shape, seed
):
    rng = np.random.default_rng(seed)
    angle = np.radians([rotation, rotation + 60.0])
    basis = np.stack([np.cos(angle), np.sin(angle)], 1) @ np.array([[1.0, shear], [0.0, 1.0]])
    basis /= constant * np.sqrt(0.75)
    nodes = np.array([[1, 0], [0, 1], [-1, 1], [1, 1], [2, -1], [-1, 2], [2, 0], [0, 2]]) @ basis
    nodes = nodes[(rng.random(len(nodes)) < share) & (np.abs(nodes).max(axis=1) < 0.5)]
    nodes = np.where(nodes[:, :1] < 0.0, -nodes, nodes)
    nodes = nodes + rng.normal(0.0, 0.2, nodes.shape) / shape[::-1]
    stray = rng.uniform([0.0, -0.4], [0.4, 0.4], (others, 2)) * rng.choice([0.02, 1.0], (others, 1))
    peaks = np.concatenate([nodes, stray])
    peaks = peaks[rng.permutation(len(peaks))]
    ratios = np.sort(rng.uniform(12.0, 400.0, len(peaks)))[::-1]
    reached = rng.random((shape[0], shape[1] // 2 + 1)) < filled
    try:
        expected = bragg.reduce_basis(bragg._primitive_basis(peaks, ratios, reached, shape))
    except NoLatticeError:
        expected = None
    facts = blank()
    facts[slots.PLACE["peaks"]] = len(peaks)
    told, given_ = above(device_double, facts), np.zeros((32, 4))
    tolerance = np.hypot(*(peaks * shape[::-1]).T) * bragg.NODE_TOLERANCE
    given_[: len(peaks)] = np.column_stack(
        [peaks, np.sqrt(ratios), tolerance + bragg.NODE_TOLERANCE_BINS]
    )
    _span(
        above(device_double, given_), above(device_double, reached.astype(np.int8)), shape[1], told
    )
    found = Facts(to_host(told))
    if expected is None:
        assert found.refusal is Refusal.NOT_HEXAGONAL
    else:
        np.testing.assert_allclose(found["reciprocal"], expected.reshape(-1), 0.0, 1e-12)


def chosen(double, bases: np.ndarray) -> Facts:
    """Facts of the basis that is taken of several, (n, 6): basis, score and cell."""
    facts = above(double, blank())
    launch_together(
        "search", "primitive", 1, facts,
        above(double, bases), len(bases), np.float64(bragg.EQUAL_PART), facts,
    )  # fmt: skip
    return Facts(to_host(facts))


@drawn
@given(st.integers(-5, 5), st.integers(-5, 5), st.floats(-29.0, 29.0), st.floats(-0.1, 0.1))
def test_a_basis_is_reduced_like_the_twin(device_double, i, j, rotation, shear):
    angle = np.radians([rotation, rotation + 60.0])
    basis = np.stack([np.cos(angle), np.sin(angle)], 1) @ np.array([[1.0, shear], [0.0, 1.0]])
    other = np.array([[1, i], [0, 1]]) @ np.array([[1, 0], [j, 1]]) @ basis
    found = chosen(device_double, np.array([[*other.reshape(-1), 1.0, 1.0]]))
    expected = bragg.reduce_basis(other)
    if abs(expected[0] @ [0.5, np.sqrt(0.75)]) < 1e-9:
        return  # two vectors are equally near to +x
    np.testing.assert_allclose(found["reciprocal"], expected.reshape(-1), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("basis", [[0.75, 0.5, 0.75, -0.5], [0.0, 1.0, 0.75, -0.5]])
def test_of_two_vectors_as_near_to_x_the_twin_is_followed(device_double, basis):
    found = chosen(device_double, np.array([[*basis, 1.0, 1.0]]))
    expected = bragg.reduce_basis(np.array(basis).reshape(2, 2))
    np.testing.assert_array_equal(found["reciprocal"], expected.reshape(-1))


@pytest.mark.parametrize("basis", [[0.0] * 4, [np.nan] * 4, [0.1, 0.2, 0.2, 0.4], [1e300] * 4])
def test_reduction_of_what_is_no_basis_ends(device_double, basis):
    assert chosen(device_double, np.array([[*basis, 1.0, 1.0]])).refusal is Refusal.NONE


@drawn
@given(st.integers(1, 300), seeds)
def test_the_first_of_the_largest_cells_that_explain_enough_is_taken(device_double, number, seed):
    rng = np.random.default_rng(seed)
    bases = np.zeros((number, 6))
    bases[:, 0] = bases[:, 3] = np.arange(1, number + 1)
    bases[:, 4] = rng.choice([0.0, 0.5, 0.92, 0.94, 1.0], number)
    bases[:, 5] = rng.integers(1, 5, number) * (bases[:, 4] > 0.0)
    found = chosen(device_double, bases)
    if not bases[:, 4].any():
        assert found.refusal is Refusal.NOT_HEXAGONAL
        return
    equal = np.flatnonzero(bases[:, 4] >= bragg.EQUAL_PART * bases[:, 4].max())
    best = equal[np.argmax(bases[equal, 5])]
    np.testing.assert_array_equal(found["reciprocal"], [best + 1, 0.0, 0.0, best + 1])


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0])
def test_a_lattice_that_steps_led_nowhere_is_refused(device_double, value):
    facts = blank()
    facts[slots.PLACE["reciprocal"]] = value
    facts[slots.PLACE["peaks"]] = 99
    held, harmonics = above(device_double, facts), device_double.ndarray(np.ones((HARMONICS, 4)))
    launch_together(
        "search", "told", 1, held,
        above(device_double, np.ones((32, 4))), 32, 64, 64,
        above(device_double, np.ones((HARMONICS, 2), np.int32)),
        above(device_double, np.ones((HARMONICS, 2))), HARMONICS, np.float64(0.48),
        np.float64(0.1), held, harmonics,
    )  # fmt: skip
    found = Facts(to_host(held))
    assert found.refusal is Refusal.NOT_HEXAGONAL
    assert_harmless(found, to_host(harmonics))


def test_a_bin_with_hardly_any_power_decides_for_a_corner(device_double):
    """Noise there is off by hundreds of roundings, and so is a peak's significance."""
    crystal = make_crystal(
        (64, 68), constant=64 / 5.5, rotation=0.0, seed=38298864, counts=0.5,
        heights=(1.0, 0.15, 0.0), strain=np.array([[1.0, 0.0053691946693987525], [0.0, 1.0]]),
    )  # fmt: skip
    image = condition(crystal.image)
    assert 300 * EPSILON < rounding_of_noise(image, np.array([0.5, -0.48])) < 3000 * EPSILON
    assert_like_the_twin(device_double, image)


def test_noise_is_hardly_off_where_bins_are_many():
    image = condition(Microscope("WS2", (256, 256), 1).acquire().image)
    assert rounding_of_noise(image, np.array([0.1, 0.1])) < 64 * EPSILON
