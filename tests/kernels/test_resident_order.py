"""The map of local order that a device makes is the host's."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticewatch_kernels import launch
from latticewatch_kernels import order as host
from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.harmonics import Harmonics, measure_harmonics
from latticewatch_kernels.lattice import Lattice
from latticewatch_kernels.order import CRYSTALLINE_AMPLITUDE, HOLE_LEVEL, OrderMap, stride_px
from latticewatch_kernels.registration import registered
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident import order as device
from latticewatch_kernels.resident.facts import PLACE, SLOTS, Facts, Refusal
from latticewatch_kernels.resident.order import local_order, order_map
from latticewatch_kernels.resident.parts import OrderAbove
from latticewatch_kernels.resident.plan import Plan, Room
from latticewatch_models.microscope import Microscope
from latticewatch_models.settings import ImagingConfig

from .conftest import hexagonal, make_crystal
from .guarded import above, drawn, fenced, seeds

#: Launches of the stage: its kernels.
LAUNCHES = 9

#: Bounds that `local_order` states, and on displacements where there is no crystal: the waves' sums
#: that phases refer to cancel there.
MAPS, DISPLACEMENT, DISPLACEMENT_IN_NOISE = 1e-6, 1e-7, 1e-5

#: Strides of the twin's blocks by the lattice constant, pixels.
CONSTANTS = {1: 5.2, 2: 7.2, 3: 10.5, 4: 13.9, 5: 16.4, 6: 19.3, 7: 22.0}

FRAMES = {
    "plain": ((256, 256), ImagingConfig()),
    "hole": ((256, 256), ImagingConfig()),
    "oblong": ((192, 256), ImagingConfig()),
    "small": ((130, 97), ImagingConfig()),
    "contaminated": ((256, 256), ImagingConfig(contamination=0.6, film=0.2)),
    "turned": ((200, 180), ImagingConfig(rotation_deg=41.0, skew=0.05, stretch=0.96)),
}


@dataclass
class Frame:
    """A conditioned image, its lattice, and what the host maps of it."""

    image: np.ndarray
    lattice: Lattice
    harmonics: Harmonics

    @classmethod
    def of(cls, frame: np.ndarray) -> Frame:
        image = condition(frame)
        return cls(image, *registered(image))

    @property
    def order(self) -> OrderMap:
        return host.local_order(self.image, self.lattice, self.harmonics)

    @property
    def above_empty(self) -> float:
        return host._mean_above_empty(self.lattice, self.harmonics)

    @property
    def plan(self) -> Plan:
        return Plan(self.image.shape, stride_px(self.lattice.constant), (1, 1), None, Room())

    def values(self) -> np.ndarray:
        made = np.full(slots.NUMBER, np.nan)
        known = {
            "refusal": 0.0, "vectors": (*self.lattice.a1, *self.lattice.a2),
            "origin": self.lattice.origin, "constant": self.lattice.constant,
            "above_empty": self.above_empty,
            "statistics": (self.image.mean(dtype=np.float64), self.image.std()),
        }  # fmt: skip
        for name, numbers in known.items():
            made[PLACE[name] : PLACE[name] + SLOTS[name]] = numbers
        return made


def with_hole(frame: np.ndarray, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: frame.shape[0], : frame.shape[1]]
    inside = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
    return np.where(inside, frame.min(), frame)


@cache
def frame_of(kind: str) -> Frame:
    if kind == "noise":
        # no crystal, and the lattice that is written of a frame that is refused
        image = np.random.default_rng(5).normal(size=(150, 170)).astype(np.float32)
        lattice = hexagonal(10.0, 0.0, (85.0, 75.0))
        return Frame(image, lattice, measure_harmonics(image, np.linalg.inv(lattice.matrix)))
    if kind.startswith("stride"):
        constant = CONSTANTS[int(kind.removeprefix("stride"))]
        return Frame.of(make_crystal((200, 232), constant=constant, counts=300.0).image)
    size, imaging = FRAMES[kind]
    image = next(iter(Microscope("WS2", size, 7, imaging=imaging).frames(1))).image
    return Frame.of(with_hole(image, 190, 70, 35) if kind == "hole" else image)


def mapped(double: SimpleNamespace, frame: Frame) -> tuple[Facts, OrderMap]:
    """What the device finds, and the host makes of it."""
    with fenced(double):
        facts = above(double, frame.values())
        made = local_order(above(double, frame.image), facts, frame.plan)
    told = Facts(to_host(facts))
    return told, order_map(told, frame.plan, OrderAbove(*(to_host(part) for part in made)))


def assert_like(
    found: OrderMap, expected: OrderMap, frame: Frame, moved: float = DISPLACEMENT
) -> None:
    """Equal within what `local_order` states."""
    mean = MAPS * np.abs(expected.mean).max()
    bounds = {
        "amplitude": MAPS * expected.amplitude.max(),
        "mean": mean,
        "level": MAPS * np.abs(expected.level).max() + 2.0 * mean / abs(frame.above_empty),
    }
    for name, bound in bounds.items():
        theirs = getattr(expected, name)
        np.testing.assert_allclose(getattr(found, name), theirs, 0.0, bound, err_msg=name)
        assert getattr(found, name).dtype == theirs.dtype
    sound = expected.amplitude > 0.2
    gap = np.abs(found.displacement - expected.displacement) * expected.amplitude
    assert gap[:, sound].max() < moved * frame.lattice.constant
    # a cell at a bound may fall on its other side
    sure = np.abs(expected.amplitude - CRYSTALLINE_AMPLITUDE) > bounds["amplitude"]
    np.testing.assert_array_equal(found.crystalline[sure], expected.crystalline[sure])
    sure &= np.abs(expected.level - HOLE_LEVEL) > bounds["level"]
    np.testing.assert_array_equal(found.hole[sure], expected.hole[sure])
    np.testing.assert_allclose(found.fractions, expected.fractions, 0.0, 1e-6)
    assert found.stride == expected.stride


@pytest.mark.parametrize("kind", [*FRAMES, "noise", *(f"stride{k}" for k in CONSTANTS)])
def test_like_the_host(device_double, kind):
    frame = frame_of(kind)
    expected = frame.order
    if kind.startswith("stride"):
        assert frame.plan.stride == int(kind.removeprefix("stride"))
    told, found = mapped(device_double, frame)
    moved = DISPLACEMENT_IN_NOISE if kind == "noise" else DISPLACEMENT
    assert_like(found, expected, frame, moved)
    assert told.number("holes") == found.hole.sum()
    assert expected.hole.any() or kind not in ("hole", "noise")


def test_nothing_crosses(device_double):
    frame = frame_of("oblong")
    image, facts = (above(device_double, part) for part in (frame.image, frame.values()))
    device_double.traffic.__init__()
    local_order(image, facts, frame.plan)
    traffic = device_double.traffic
    assert (traffic.up, traffic.down, traffic.operations) == (0, 0, LAUNCHES)


@given(seeds, st.integers(1, 7), st.booleans())
@settings(drawn, max_examples=25)
def test_like_the_host_whatever_the_frame(device_double, seed, stride, torn):
    rng = np.random.default_rng(seed)
    constant = max(stride * host.BLOCKS_PER_CONSTANT + rng.uniform(0.2, 2.8), 4.6)
    shape = tuple(int(size) for size in rng.uniform(9.0, 16.0, 2) * constant)
    image = make_crystal(shape, constant=constant, counts=rng.choice([10.0, 300.0])).image
    if torn:
        x, y = rng.uniform(0.0, 1.0, 2) * shape[::-1]
        image = with_hole(image, x, y, rng.uniform(1.0, 3.0) * constant)
    frame = Frame.of(image)
    assert_like(mapped(device_double, frame)[1], frame.order, frame)


def test_the_same_frame_gives_the_same_bytes(device_double):
    frame = frame_of("hole")
    (_, once), (_, again) = (mapped(device_double, frame) for _ in range(2))
    for name in ("amplitude", "level", "mean", "displacement", "crystalline", "hole"):
        assert getattr(once, name).tobytes() == getattr(again, name).tobytes(), name


@given(seeds, st.integers(1, 60), st.integers(1, 5), st.sampled_from([1, 4]))
@settings(drawn, max_examples=40)
def test_levels_are_quantile_and_median(device_double, seed, cells, values, threads):
    """Of few different values, so that ranks fall on equals, too."""
    rng = np.random.default_rng(seed)
    heights = rng.uniform(0.1, 5.0, values).astype(np.float32)
    waves = np.zeros((8, cells), np.float32)
    waves[0] = rng.normal(size=values).astype(np.float32)[rng.integers(values, size=cells)]
    waves[1] = rng.choice(heights, cells)
    mean, less = rng.normal(size=1).astype(np.float32), rng.uniform(0.0, 1.2)
    facts, made = np.zeros(slots.NUMBER), above(device_double, np.zeros(device.LEVELS))
    facts[PLACE["statistics"]] = mean[0]
    amplitudes = above(device_double, np.zeros(cells, np.float32))
    with device_double.beside("cuda_on_host").crew_of(threads):
        launch.launch_together(
            device.SOURCE, "order_levels", device.SUMS + 1, made,
            above(device_double, facts), above(device_double, waves), cells,
            np.float64(host.CRYSTALLINE_QUANTILE), np.float64(CRYSTALLINE_AMPLITUDE),
            np.float64(less), amplitudes, made,
        )  # fmt: skip
    full, middle, *sums, lacking = to_host(made)
    np.testing.assert_array_equal(to_host(amplitudes), np.sqrt(waves[1] ** 2))
    # in double precision: of single values NumPy takes the quantile's place in single, too
    quantile = np.quantile(waves[1].astype(float), host.CRYSTALLINE_QUANTILE)
    np.testing.assert_allclose(full, quantile, 2.0**-23)
    sound = waves[1] / np.float32(full) > CRYSTALLINE_AMPLITUDE
    assert middle == np.median((waves[0] + mean)[sound])
    assert lacking == (waves[1] / np.float32(full) < np.float32(less)).sum()
    np.testing.assert_allclose(sums, waves[1:7].sum(axis=1, dtype=float), 1e-14, 1e-14)


def test_an_orderly_frame_is_whole(device_double):
    told, found = mapped(device_double, frame_of("stride4"))
    np.testing.assert_array_equal(told["missing"], 0.0)
    np.testing.assert_array_equal(found.fractions, [1.0, 0.0, 0.0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e-300, 1e300, -1e300, 7.5])
@pytest.mark.parametrize("change", [{}, {"stride": 5}, {"stride": 100}])
def test_facts_that_mean_nothing_do_no_harm(device_double, value, change):
    frame = frame_of("small")
    values = np.full(slots.NUMBER, value)
    values[PLACE["refusal"]] = Refusal.FEW_PEAKS
    with np.errstate(all="ignore"), fenced(device_double):
        facts = above(device_double, values)
        plan = replace(frame.plan, **change)
        local_order(above(device_double, frame.image), facts, plan)
    told = Facts(to_host(facts))
    assert told.refusal is Refusal.FEW_PEAKS
    assert 0 <= told.number("holes") <= np.prod(plan.cells)


#: Calls `displaced` for each point.
PROBE = """
extern "C" __global__ void probe(
    const float *displacement, int high, int wide, double stride, const double *points, int number,
    double *moved)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < number)
        displaced(displacement, high, wide, stride, points[2 * index], points[2 * index + 1],
            moved + 2 * index);
}
"""


@cache
def probe(double: SimpleNamespace):
    """Source of `displaced.cuh` and what it includes, and the probe."""
    texts = (
        (launch.SOURCES / f"{name}.cuh").read_text("ascii") for name in ("points", "displaced")
    )
    code = "".join(re.sub(r'^#include ".*"$', "", text, flags=re.MULTILINE) for text in texts)
    return double.beside("cuda_on_host").compiled(code + PROBE)


@given(seeds, st.integers(1, 9), st.integers(1, 9), st.integers(1, 14))
@settings(drawn, max_examples=40)
def test_displacement_at_points_is_the_hosts(device_double, seed, high, wide, stride):
    rng = np.random.default_rng(seed)
    guarded = np.full((5, high, wide), np.nan, np.float32)
    guarded[1:3] = rng.normal(size=(2, high, wide))
    points = rng.uniform(-2.0, 1.5, (50, 2)) * (wide * stride, high * stride)
    points[0], points[1] = np.nan, (np.inf, -np.inf)
    moved = np.full(points.shape, np.nan)
    arguments = [guarded[1:3], *map(np.int32, (high, wide)), np.float64(stride), points]
    probe(device_double).run("probe", 1, 64, [*arguments, np.int32(len(points)), moved])
    mask = np.zeros((high, wide), bool)
    empty = np.zeros((high, wide), np.float32)
    order = OrderMap(empty, empty, empty, guarded[1:3], mask, mask, stride, np.ones(3))
    np.testing.assert_array_equal(moved[2:], order.displacement_at(points[2:]))
    assert np.isfinite(moved[:2]).all(), "read beyond the map"
