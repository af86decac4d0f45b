"""Objects of a coarse map that a device finds are the host's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.facts import PLACE, Facts, Refusal
from latticewatch_kernels.resident.objects import found
from latticewatch_kernels.resident.plan import Room
from latticewatch_models.segmentation import LEAST_VOTE, VOTE_REACH, Segmentation

from .guarded import above, drawn, fenced, seeds

CONSTANT, STRIDE = 10.5, 2


def blobs(rng: np.random.Generator, shape: tuple[int, int], number: int) -> tuple:
    """A heat map of round blobs, with offsets that point at their middles with some error."""
    y, x = np.mgrid[: shape[0], : shape[1]] * STRIDE + 0.5 * (STRIDE - 1)
    heat, offset = np.zeros(shape), rng.normal(0.0, 0.2, (2, *shape))
    nearest = np.full(shape, np.inf)
    for _ in range(number):
        at = rng.uniform(0, STRIDE * shape[1]), rng.uniform(0, STRIDE * shape[0])
        distance = np.hypot(x - at[0], y - at[1])
        closer = distance < nearest
        nearest = np.minimum(nearest, distance)
        heat = np.maximum(heat, rng.uniform(0.2, 1.0) * np.exp(-((distance / 3.0) ** 2)))
        offset[0][closer] += (at[0] - x)[closer]
        offset[1][closer] += (at[1] - y)[closer]
    return heat.astype(np.float32), offset.astype(np.float32)


def facts_with(factor: float = 1.0, constant: float = CONSTANT) -> np.ndarray:
    values = np.zeros(slots.NUMBER)
    values[PLACE["constant"]], values[PLACE["factor"]] = constant, factor
    return values


def run(double, heat, offset, facts, room=None, threshold=0.5):
    given_ = above(double, heat), above(double, offset)
    shape = heat.shape[0] * STRIDE - 1, heat.shape[1] * STRIDE
    return found(
        *given_, STRIDE, shape, facts, room or Room(), threshold, LEAST_VOTE, 0.4, VOTE_REACH
    )


@drawn
@given(
    st.integers(4, 40), st.integers(4, 40), st.integers(0, 12), seeds,
    st.sampled_from([1.0, 0.83]), st.sampled_from([0.5, 0.05]), st.booleans(),
)  # fmt: skip
def test_like_the_host(device_double, rows, columns, number, seed, factor, threshold, coarse):
    heat, offset = blobs(np.random.default_rng(seed), (rows, columns), number)
    if coarse:  # so that many are equally sure
        heat = np.round(heat * 8) / np.float32(8)
    seen = Segmentation(heat, offset, STRIDE, (rows * STRIDE - 1, columns * STRIDE))
    points, probability = seen.detections(threshold, 0.4 * CONSTANT * factor)
    facts = above(device_double, facts_with(factor))
    device_double.traffic.__init__()
    made = run(device_double, heat, offset, facts, threshold=threshold)
    assert device_double.traffic.down == 0
    told = Facts(to_host(facts))
    assert int(told.number("found")) == len(points)
    assert told.refusal is Refusal.NONE
    np.testing.assert_array_equal(to_host(made.probability)[: len(points)], probability)
    ours = (to_host(made.points)[: len(points)] + 0.5) * factor - 0.5
    np.testing.assert_allclose(ours, points, 0.0, 1e-9)
    assert not to_host(made.points)[len(points) :].any()


@drawn
@given(seeds, st.sampled_from([10.0, 5.0, 14.142135623730951]), st.sampled_from([1, 3, 1000]))
def test_marks_that_are_as_far_apart_as_they_may_be(device_double, seed, constant, levels):
    """On a grid many distances are the least one, and what goes depends on long rows of others."""
    rng = np.random.default_rng(seed)
    heat = (0.5 + 0.5 * rng.integers(0, levels, (14, 17)) / levels).astype(np.float32)
    offset = rng.choice([0.0, 0.0, 0.5, -1.0, 1.0, 40.0], (2, 14, 17)).astype(np.float32)
    points, probability = Segmentation(heat, offset, STRIDE, (27, 34)).detections(
        0.5, 0.4 * constant
    )
    facts = above(device_double, facts_with(constant=constant))
    with fenced(device_double):
        made = run(device_double, heat, offset, facts)
    number = int(Facts(to_host(facts)).number("found"))
    np.testing.assert_array_equal(to_host(made.probability)[:number], probability)
    np.testing.assert_allclose(to_host(made.points)[:number], points, 0.0, 1e-9)


def test_more_marks_near_one_than_are_listed(device_double):
    """All cells point at one of three places: each is near to tens of surer ones."""
    heat = (0.6 + 0.001 * np.random.default_rng(3).permutation(12 * 16)).reshape(12, 16)
    y, x = np.mgrid[:12, :16] * STRIDE + 0.5 * (STRIDE - 1)
    at = np.array([[4.0, 5.0], [20.0, 11.0], [24.5, 11.0]])[np.arange(12 * 16).reshape(12, 16) % 3]
    heat, offset = heat.astype(np.float32), np.stack([at[..., 0] - x, at[..., 1] - y])
    offset = (offset + np.linspace(0.0, 0.5, 16)).astype(np.float32)
    points, probability = Segmentation(heat, offset, STRIDE, (23, 32)).detections(
        0.5, 0.4 * CONSTANT
    )
    facts = above(device_double, facts_with())
    made = run(device_double, heat, offset, facts)
    number = int(Facts(to_host(facts)).number("found"))
    assert number == len(points)
    np.testing.assert_array_equal(to_host(made.probability)[:number], probability)
    np.testing.assert_allclose(to_host(made.points)[:number], points, 0.0, 1e-9)


def test_several_threads_find_what_one_does(device_double):
    """One thread alone settles every mark in the first round."""
    rng, told = np.random.default_rng(8), []
    heat = (0.5 + rng.integers(0, 3, (14, 17)) / 8.0).astype(np.float32)
    offset = rng.choice([0.0, 0.5, -1.0], (2, 14, 17)).astype(np.float32)
    for threads in (1, 4):
        facts = above(device_double, facts_with())
        with device_double.beside("cuda_on_host").crew_of(threads):
            made = run(device_double, heat, offset, facts)
        told.append([to_host(part).tobytes() for part in (facts, *made)])
    assert told[0] == told[1]


@pytest.mark.parametrize("room", [Room(marks=20), Room(found=2)])
def test_room_that_does_not_suffice_is_refused(device_double, room):
    heat, offset = blobs(np.random.default_rng(5), (40, 40), 12)
    facts = above(device_double, facts_with())
    run(device_double, heat, offset, facts, room)
    assert Facts(to_host(facts)).refusal is Refusal.NO_ROOM


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e30, -1e30])
def test_facts_and_maps_that_mean_nothing_do_no_harm(device_double, value):
    heat, offset = blobs(np.random.default_rng(5), (20, 30), 9)
    heat[3, 4], offset[:, 7] = value, value
    values = np.full(slots.NUMBER, value)
    values[PLACE["refusal"]] = Refusal.FEW_PEAKS
    with np.errstate(all="ignore"), fenced(device_double):
        run(device_double, heat, offset, above(device_double, values))
