"""The periodic part of a frame on a device is the host's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import ndimage

from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.extension import longer_px, sides
from latticewatch_kernels.lattice import Lattice, NoLatticeError
from latticewatch_kernels.order import SMOOTHING_CELLS, OrderMap, local_order, stride_px
from latticewatch_kernels.periodic import (
    PADDING_WINDOWS,
    WINDOW_CELLS,
    _gaussians,
    _local_mean,
    _nodes,
    rebuilt,
    window_px,
)
from latticewatch_kernels.registration import registered
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident import periodic
from latticewatch_kernels.resident.facts import PLACE, Facts, Refusal
from latticewatch_kernels.resident.parts import OrderAbove
from latticewatch_kernels.resident.plan import Plan, Room
from latticewatch_models.microscope import Microscope

from .conftest import hexagonal, make_crystal
from .guarded import above, drawn, fenced, seeds

EPSILON = 2.0**-24
#: Launches of the stage, the two transforms among them.
LAUNCHES = 11


def facts_of(lattice: Lattice, shape: tuple[int, int], holes: bool = False) -> np.ndarray:
    values = np.zeros(slots.NUMBER)
    given_ = {
        "vectors": (*lattice.a1, *lattice.a2), "constant": lattice.constant,
        "window": window_px(lattice, shape), "holes": holes,
    }  # fmt: skip
    for name, numbers in given_.items():
        flat = np.ravel(np.asarray(numbers, float))
        values[PLACE[name] : PLACE[name] + len(flat)] = flat
    return values


def plan_for(lattice: Lattice, shape: tuple[int, int]) -> Plan:
    padding = PADDING_WINDOWS * window_px(lattice, shape)
    high, wide = (longer_px(size, padding) for size in shape)
    stride = stride_px(lattice.constant)
    return Plan(shape, stride, (high, wide), None, Room())


def order_above(double, order: OrderMap) -> OrderAbove:
    maps = np.stack([order.amplitude, order.level, order.mean, *order.displacement])
    masks = (above(double, m.astype(np.int8)) for m in (order.crystalline, order.hole))
    return OrderAbove(above(double, maps.astype(np.float32)), *masks)


def like_the_twin(double, image: np.ndarray, lattice: Lattice, order: OrderMap) -> None:
    """Hold the stage against its twin, within the bound of its docstring."""
    shape, hole = image.shape, order.hole.any()
    facts = above(double, facts_of(lattice, shape, hole))
    given_ = above(double, image), order_above(double, order), facts, plan_for(lattice, shape)
    with fenced(double):
        found = periodic.rebuilt(*given_)
    double.traffic.__init__()
    again = periodic.rebuilt(*given_)
    traffic = double.traffic
    assert (traffic.up, traffic.down, traffic.operations) == (0, 0, LAUNCHES)
    part, residual, holes = rebuilt(image, lattice, order)
    bound = 2.0**-20 * np.abs(image).max()
    np.testing.assert_allclose(to_host(found.periodic), part, 0.0, bound)
    np.testing.assert_allclose(to_host(found.residual), residual, 0.0, bound)
    np.testing.assert_array_equal(to_host(found.hole), holes)
    assert found.hole.dtype == np.int8
    for first, second in zip(found, again, strict=True):
        np.testing.assert_array_equal(to_host(first), to_host(second))
    assert Facts(to_host(facts)).refusal is Refusal.NONE


def with_hole(frame: np.ndarray) -> np.ndarray:
    y, x = np.indices(frame.shape)
    return np.where((x - 60) ** 2 + (y - 70) ** 2 < 35**2, frame.min(), frame)


@pytest.mark.parametrize("hole", [False, True], ids=["whole", "with a hole"])
@pytest.mark.parametrize("size", [(256, 256), (192, 250)], ids=["square", "oblong"])
def test_simulated_frames(device_double, size, hole):
    frame = next(iter(Microscope("WS2", size, 5).frames(1))).image
    image = condition(with_hole(frame) if hole else frame)
    lattice, harmonics = registered(image)
    order = local_order(image, lattice, harmonics)
    assert order.hole.any() == hole
    like_the_twin(device_double, image, lattice, order)


@pytest.mark.parametrize("hole", [None, (40.0, 50.0, 18.0)], ids=["whole", "with a hole"])
@pytest.mark.parametrize("seed", range(3))
def test_drawn_crystals(device_double, seed, hole):
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(90, 140, 2))
    constant, rotation = rng.uniform(6.0, 9.0), rng.uniform(-30.0, 30.0)
    crystal = make_crystal(
        shape, constant=constant, rotation=rotation, counts=100.0, hole=hole, seed=seed
    )
    image = crystal.image.astype(np.float32)
    order = local_order(image, crystal.lattice)
    assert order.hole.any() == (hole is not None), f"seed {seed} tests another branch"
    like_the_twin(device_double, image, crystal.lattice, order)


@pytest.mark.parametrize("cells", [5.1, 5.6, 6.0])
def test_small_frames(device_double, cells):
    constant = 11.0
    shape = (round(cells * constant), round((cells + 0.5) * constant))
    crystal = make_crystal(shape, constant=constant, rotation=11.0)
    image = crystal.image.astype(np.float32)
    like_the_twin(device_double, image, crystal.lattice, local_order(image, crystal.lattice))


@pytest.mark.parametrize("shape", [(12, 60), (16, 16), (18, 20)])
def test_a_frame_that_is_too_small_is_refused(device_double, shape):
    crystal = make_crystal(shape, constant=11.0, rotation=11.0)
    image = crystal.image.astype(np.float32)
    order = local_order(image, crystal.lattice)
    with pytest.raises(NoLatticeError, match="too few cells"):
        rebuilt(image, crystal.lattice, order)
    facts = above(device_double, facts_of(crystal.lattice, shape))
    given_ = above(device_double, image), order_above(device_double, order), facts
    with fenced(device_double):
        found = periodic.rebuilt(*given_, plan_for(crystal.lattice, shape))
    assert Facts(to_host(facts)).refusal is Refusal.TOO_SMALL
    assert np.isfinite(to_host(found.periodic)).all()


@drawn
@given(st.integers(40, 120), st.integers(40, 120), st.floats(4.0, 14.0), seeds)
def test_continuing_a_frame(device_double, rows, columns, constant, seed):
    """The same translations, or the same refusal."""
    rng = np.random.default_rng(seed)
    shape, strain = (rows, columns), np.eye(2) + rng.uniform(-0.05, 0.05, (2, 2))
    lattice = hexagonal(constant, float(rng.uniform(-30.0, 30.0)), strain=strain)
    plan, order = plan_for(lattice, shape), flat_order((4, 5))
    facts = above(device_double, facts_of(lattice, shape))
    found = periodic._prepare(order_above(device_double, order), facts, plan)
    try:
        expected = sides(shape, lattice, PADDING_WINDOWS * window_px(lattice, shape))
    except NoLatticeError:
        assert Facts(to_host(facts)).refusal is Refusal.TOO_SMALL
        return
    assert Facts(to_host(facts)).refusal is Refusal.NONE
    for side, steps, weights in zip(expected, *map(to_host, found[:2]), strict=True):
        np.testing.assert_array_equal(steps, side.taps())
        np.testing.assert_allclose(weights, side.weights, 0.0, 4 * EPSILON)


@pytest.mark.parametrize("turned", [1.0, -1.0])
def test_of_equal_translations_the_first(device_double, turned):
    """Vectors of whole pixels, along the diagonal: as far aside as along costs the same."""
    lattice = Lattice((6.0, turned * 6.0), (-8.0, turned * 2.0), (0.0, 0.0))
    shape = (100, 120)
    facts = above(device_double, facts_of(lattice, shape))
    order = order_above(device_double, flat_order((4, 5)))
    found = periodic._prepare(order, facts, plan_for(lattice, shape))
    expected = sides(shape, lattice, PADDING_WINDOWS * window_px(lattice, shape))
    for side, steps in zip(expected, to_host(found.steps), strict=True):
        np.testing.assert_array_equal(steps, side.taps())


def flat_order(cells: tuple[int, int]) -> OrderMap:
    ones, none = np.ones(cells, np.float32), np.zeros(cells, bool)
    displacement = np.zeros((2, *cells), np.float32)
    return OrderMap(ones, ones, ones, displacement, ~none, none, 2, np.array([1.0, 0.0, 0.0]))


@drawn
@given(st.integers(1, 30), st.integers(1, 30), st.floats(4.0, 20.0), st.floats(0, 1), seeds)
def test_local_mean(device_double, high, wide, constant, part, seed):
    """Averages reach beyond small maps, which are reflected more than once."""
    rng = np.random.default_rng(seed)
    hole = rng.random((high, wide)) < part
    assume(hole.any())
    lattice = hexagonal(constant, 7.0)
    stride = 2 * stride_px(lattice.constant)
    amplitude, mean = rng.uniform(0.3, 1.3, (2, high, wide)).astype(np.float32)
    order = replace(
        flat_order((high, wide)), amplitude=amplitude, mean=mean, hole=hole,
        crystalline=~hole & (rng.random((high, wide)) < 0.9), stride=stride,
    )  # fmt: skip
    shape = (high * stride, wide * stride)
    values = facts_of(lattice, shape, True)
    plan = Plan(shape, stride // 2, shape, None, Room())
    given_ = order_above(device_double, order), above(device_double, values), plan
    found = to_host(periodic._local_mean(*given_, periodic._prepare(*given_).numbers))
    level, weight, cover = _local_mean(order, lattice, window_px(lattice, shape))
    np.testing.assert_array_equal(found[1], weight)
    np.testing.assert_array_equal(found[3], hole)
    np.testing.assert_allclose(found[2], cover, 0.0, 2 * EPSILON)
    # one unit in the last place of an average, over 0.05 and over 0.5, and a sum over all cells
    np.testing.assert_allclose(found[0], level, 0.0, 64 * EPSILON * mean.max() / 0.05 / 0.5)


@given(st.floats(4.0, 60.0))
def test_the_widest_average_has_room(constant):
    lattice = hexagonal(constant, 0.0)
    cell = 2 * stride_px(lattice.constant)
    for cells in (WINDOW_CELLS, SMOOTHING_CELLS):
        assert int(4.0 * cells * lattice.constant / cell + 0.5) <= periodic.MOST_REACH


def test_scipy_averages_over_four_standard_deviations():
    spike = np.zeros(201)
    spike[100] = 1.0
    for sigma in (1.1, 2.0, 3.13):
        lit = np.flatnonzero(ndimage.gaussian_filter(spike, sigma))
        assert lit[-1] - 100 == int(4.0 * sigma + 0.5)


@drawn
@given(
    st.integers(20, 60), st.integers(20, 60), st.floats(3.0, 14.0), st.booleans(),
    st.floats(-30, 30),
)  # fmt: skip
def test_nodes(device_double, rows, columns, constant, acute, rotation):
    """Of vectors at 60 degrees and at 120, and with nodes beyond the highest frequency."""
    lattice = hexagonal(constant, rotation)
    if acute:
        (ax, ay), (bx, by) = lattice.a1, lattice.a2
        lattice = replace(lattice, a2=(ax + bx, ay + by))
    shape = (rows, columns)
    facts = above(device_double, facts_of(lattice, shape))
    found = [to_host(part) for part in periodic._node_gaussians(facts, shape)]
    nodes, width = _nodes(lattice, window_px(lattice, shape))
    down = _gaussians(np.fft.fftfreq(rows), nodes[:, 1], width)
    across = _gaussians(np.fft.rfftfreq(columns), nodes[:, 0], width)
    reciprocal = np.linalg.inv(lattice.matrix)
    sign = 0 if reciprocal[0] @ reciprocal[1] > 0 else 1
    half = periodic._shell_indices()[sign] @ reciprocal
    passed = np.abs(np.concatenate([half, -half])).max(1) < 0.48
    assert passed.sum() == len(nodes)
    for ours, theirs in zip((found[0], found[1].T), (down, across), strict=True):
        assert not ours[:, ~passed].any()
        # an argument of up to 28 in single precision
        np.testing.assert_allclose(ours[:, passed], theirs, 28 * 8 * EPSILON, 2e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e300, -1e300, 1e-300, 7.5, -3.0])
@pytest.mark.parametrize("holes", [0.0, 1.0])
def test_facts_that_mean_nothing_do_no_harm(device_double, value, holes):
    crystal = make_crystal((70, 90), constant=11.0)
    order = order_above(device_double, local_order(crystal.image, crystal.lattice))
    values = np.full(slots.NUMBER, value)
    values[PLACE["holes"]] = holes
    values[PLACE["refusal"]] = Refusal.FEW_PEAKS
    facts = above(device_double, values)
    image = above(device_double, crystal.image.astype(np.float32))
    with np.errstate(all="ignore"), fenced(device_double):
        found = periodic.rebuilt(image, order, facts, plan_for(crystal.lattice, (70, 90)))
    assert to_host(found.hole).shape == (70, 90)
    assert Facts(to_host(facts)).refusal is Refusal.FEW_PEAKS
