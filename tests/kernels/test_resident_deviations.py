"""What columns differ by, found on a device, is what the host finds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.deviations import site_deviations
from latticewatch_kernels.lattice import within
from latticewatch_kernels.order import BLOCKS_PER_CELL, BLOCKS_PER_CONSTANT, averaging, enlarge
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.averages import Averages, _reach
from latticewatch_kernels.resident.deviations import _gaussian_weights, deviations
from latticewatch_kernels.resident.facts import PLACE, Facts, Refusal
from latticewatch_kernels.resident.plan import Room
from latticewatch_models.microscope import Microscope
from latticewatch_models.settings import ImagingConfig

from .guarded import above, drawn, fenced, seeds
from .staged import Staged

#: Part of the greatest value by which sums of single precision in another order may differ.
ROUNDING = 1e-5

#: Bounds on the difference from the twin, as parts of the greatest value. Points are rounded once
#: more or less in a product of matrices.
BOUNDS = {
    "cells": 0.0, "sublattice": 0.0, "points": 1e-15, "deviation": ROUNDING, "error": ROUNDING,
    "level": 0.0,
}  # fmt: skip

#: What the stage asks of the device: kernels, and one array of zeros.
LAUNCHES = 24

KINDS = {
    "plain": ((256, 256), ImagingConfig()),
    "hole": ((256, 256), ImagingConfig()),
    "oblong": ((192, 256), ImagingConfig()),
    "small": ((130, 97), ImagingConfig()),
    "contaminated": ((256, 256), ImagingConfig(contamination=0.6, film=0.2)),
    "turned": ((200, 180), ImagingConfig(rotation_deg=41.0, skew=0.05, stretch=0.96)),
    "coarse": ((160, 128), ImagingConfig(pixel_size_nm=0.07)),
}


@cache
def _staged(kind: str) -> Staged:
    size, imaging = KINDS[kind]
    image = next(iter(Microscope("WS2", size, 7, imaging=imaging).frames(1))).image
    if kind == "hole":
        y, x = np.ogrid[:256, :256]
        image = np.where((x - 190) ** 2 + (y - 70) ** 2 < 35**2, image.min(), image)
    return Staged.of(image)


def staged_frame(kind: str) -> Staged:
    """A frame that a test may change."""
    staged = _staged(kind)
    return replace(staged, order=staged.labels.order)


def changed(staged: Staged, *, order: dict | None = None, **labels: np.ndarray) -> Staged:
    """A frame whose map of order and whose labels were changed."""
    made = replace(staged.labels.order, **(order or {}))
    return replace(staged, order=made, labels=replace(staged.labels, order=made, **labels))


def run(double, staged: Staged, facts, plan=None):
    plan = plan or staged.plan()
    with fenced(double):
        return deviations(staged.labels_above(double), staged.order_above(double), facts, plan)


def assert_like_the_host(double, staged: Staged, say: str = "") -> int:
    expected = site_deviations(staged.labels, staged.lattice)
    facts = above(double, staged.values())
    found = run(double, staged, facts)
    told, number = Facts(to_host(facts)), len(expected)
    assert told.refusal is Refusal.NONE, say
    assert int(told.number("sites")) == number, say
    starts = np.searchsorted(expected.sublattice, np.arange(3))
    np.testing.assert_array_equal(told["starts"], starts, say)
    for name, bound in BOUNDS.items():
        ours, theirs = to_host(getattr(found, name)), getattr(expected, name)
        assert not ours[number:].any(), f"{name} says something of sites that are none {say}"
        within = bound * np.abs(theirs).max(initial=0.0)
        np.testing.assert_allclose(ours[:number], theirs, 0.0, within, err_msg=f"{name} {say}")
    return number


@pytest.mark.parametrize("kind", KINDS)
def test_like_the_host(device_double, kind):
    assert assert_like_the_host(device_double, staged_frame(kind)) > 100


def test_nothing_crosses(device_double):
    staged = staged_frame("small")
    facts = above(device_double, staged.values())
    run(device_double, staged, facts)
    device_double.traffic.__init__()
    run(device_double, staged, facts)
    traffic = device_double.traffic
    assert (traffic.up, traffic.down, traffic.operations) == (0, 0, LAUNCHES)


@drawn
@given(seeds)
def test_like_the_host_whatever_the_labels(device_double, seed):
    """Displaced, in part disordered, with holes, and with columns that stand out everywhere."""
    rng, staged = np.random.default_rng(seed), staged_frame("small")
    order, shape = staged.order, staged.image.shape
    cells = order.hole.shape
    hole = rng.random(cells) < rng.choice([0.0, 0.1, 0.5])
    residual = staged.labels.residual * rng.choice([1.0, 1.0, 1.0, 30.0], shape)
    frame = changed(
        staged,
        order={
            "displacement": rng.uniform(-3.0, 3.0, (2, *cells)).astype(np.float32),
            "amplitude": rng.choice([0.1, 0.9, 1.0], cells).astype(np.float32),
            "hole": hole,
        },
        residual=residual.astype(np.float32),
        hole=enlarge(hole.astype(np.float32), order.stride, shape) > 0.5,
    )  # fmt: skip
    assert_like_the_host(device_double, frame, f"seed {seed}")


@pytest.mark.parametrize("sigma", [None, 3.0], ids=["the frame's own", "wide"])
def test_strong_columns_at_the_border(device_double, sigma):
    """They are drawn on squares that would leave the frame; wide ones are read from such, too."""
    staged = staged_frame("small")
    residual, columns = staged.labels.residual.copy(), staged.labels.columns
    points = site_deviations(staged.labels, staged.lattice).points
    at_border = points[~within(points, staged.image.shape, 6.0)]
    assert len(at_border) > 4
    for x, y in np.rint(at_border[::3]).astype(int):
        residual[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] += 8.0
    columns = replace(columns, sigma=sigma or columns.sigma)
    frame = changed(staged, residual=residual, columns=columns)
    frame.facts = {**staged.facts, "sigma": columns.sigma}
    assert_like_the_host(device_double, frame)


@pytest.mark.parametrize("why", ["disordered", "hole"])
def test_a_frame_without_a_site(device_double, why):
    staged = staged_frame("small")
    nothing = {
        "disordered": {"order": {"amplitude": np.zeros_like(staged.order.amplitude)}},
        "hole": {
            "order": {"hole": np.ones_like(staged.order.hole)},
            "hole": np.ones(staged.image.shape, bool),
        },
    }
    assert assert_like_the_host(device_double, changed(staged, **nothing[why])) == 0


@pytest.mark.parametrize("short", ["table", "judged"])
def test_too_little_room_is_refused(device_double, short):
    staged = staged_frame("small")
    facts = above(device_double, staged.values())
    own = staged.plan()
    run(device_double, staged, facts, replace(own, room=replace(own.room, **{short: 50})))
    told = Facts(to_host(facts))
    assert told.refusal is Refusal.NO_ROOM
    assert told.number("sites") == {"table": 0, "judged": 150}[short]


def test_more_room_changes_nothing(device_double):
    staged = staged_frame("small")
    own = staged.plan()
    room = replace(own.room.doubled(), stamp=own.room.stamp + 5, drawn=90, tails=own.room.tails + 9)
    found = []
    for plan in (own, replace(own, room=room)):
        facts = above(device_double, staged.values())
        sites = run(device_double, staged, facts, plan)
        number = int(Facts(to_host(facts)).number("sites"))
        found.append([to_host(part)[:number].tobytes() for part in sites] + [to_host(facts)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e300, -1e300, 7.5])
def test_facts_that_mean_nothing_do_no_harm(device_double, value):
    staged = staged_frame("small")
    values = np.full(slots.NUMBER, value)
    values[PLACE["refusal"]] = Refusal.FEW_PEAKS
    facts = above(device_double, values)
    with np.errstate(all="ignore"):
        run(device_double, staged, facts)
    assert Facts(to_host(facts)).refusal is Refusal.FEW_PEAKS


@drawn
@given(seeds)
def test_another_frames_plan_and_facts_do_no_harm(device_double, seed):
    rng, staged = np.random.default_rng(seed), staged_frame("small")
    values, own = staged.values(), staged.plan()
    odd = [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300, -1e300, 7.5, 1e-300, 2.0**31]
    changes = rng.random(len(values)) < rng.choice([0.02, 0.1])
    values = np.where(changes, rng.choice(odd, len(values)), values)
    room = Room(
        table=int(rng.choice([0, own.room.table, 1000])),
        judged=int(rng.choice([0, own.room.judged, 50])),
        stamp=int(rng.choice([1, own.room.stamp, 80])),
        drawn=int(rng.choice([1, own.room.drawn, 90])),
        tails=int(rng.choice([1, own.room.tails, 70])),
    )
    facts = above(device_double, values)
    with np.errstate(all="ignore"):
        run(device_double, staged, facts, replace(own, room=room))
    assert 0 <= Facts(to_host(facts)).number("sites") <= room.sites


def test_weights_of_averages(device_double):
    staged = staged_frame("oblong")
    plan, constant = staged.plan(), staged.lattice.constant
    made = Averages.of(above(device_double, staged.values()), plan)
    for ours, blocks in zip(made[:2], plan.blocks, strict=True):
        theirs = averaging(blocks, constant / plan.stride)
        np.testing.assert_allclose(to_host(ours), theirs, 2.0**-22, 1e-12)


@given(st.floats(2.0, 80.0))
def test_weights_beyond_the_reach_are_none(constant):
    stride = max(1, int(constant / BLOCKS_PER_CONSTANT))
    reach = _reach(stride)
    weights = averaging(4 * reach, constant / stride)
    cell, block = np.nonzero(weights)
    assert np.abs(block - BLOCKS_PER_CELL * cell).max() <= reach


def test_weights_of_the_local_spread():
    impulse = np.zeros(41)
    impulse[20] = 1.0
    found = _gaussian_weights(3.0)
    theirs = ndimage.gaussian_filter(impulse, 3.0)
    np.testing.assert_allclose(found, theirs[20 - len(found) // 2 :][: len(found)], 1e-14)
