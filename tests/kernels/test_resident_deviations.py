"""What columns differ by, found on a device, is what the host finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.deviations import site_deviations
from latticewatch_kernels.order import averaging
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.averages import Averages
from latticewatch_kernels.resident.deviations import _gaussian_weights, deviations
from latticewatch_kernels.resident.facts import PLACE, Facts, Refusal
from latticewatch_kernels.resident.plan import Room
from latticewatch_models.microscope import Microscope

from .guarded import above
from .staged import Staged

#: Part of the greatest value by which sums of single precision in another order may differ.
ROUNDING = 5e-5


def staged_frame(kind: str) -> Staged:
    size = (192, 256) if kind == "oblong" else (256, 256)
    image = next(iter(Microscope("WS2", size, 7).frames(1))).image
    if kind == "hole":
        y, x = np.ogrid[:256, :256]
        image = np.where((x - 190) ** 2 + (y - 70) ** 2 < 35**2, image.min(), image)
    return Staged.of(image)


def run(double, staged: Staged, facts, plan=None):
    plan = plan or staged.plan()
    given = staged.labels_above(double), staged.order_above(double)
    deviations(*given, facts, plan)
    double.traffic.__init__()
    return deviations(*given, facts, plan)


@pytest.mark.parametrize("kind", ["plain", "oblong", "hole"])
def test_like_the_host(device_double, kind):
    staged = staged_frame(kind)
    expected = site_deviations(staged.labels, staged.lattice)
    facts = above(device_double, staged.values())
    found = run(device_double, staged, facts)
    traffic = device_double.traffic
    assert (traffic.up, traffic.down) == (0, 0)
    assert traffic.operations <= 35
    told, number = Facts(to_host(facts)), len(expected)
    assert int(told.number("sites")) == number
    starts = np.searchsorted(expected.sublattice, np.arange(3))
    np.testing.assert_array_equal(told["starts"], starts)
    for name in ("cells", "sublattice", "points", "deviation", "error", "level"):
        ours, theirs = to_host(getattr(found, name)), getattr(expected, name)
        assert not ours[number:].any(), f"{name} says something of sites that are none"
        bound = 0.0 if name in ("cells", "sublattice") else ROUNDING * np.abs(theirs).max()
        np.testing.assert_allclose(ours[:number], theirs, 0.0, bound, err_msg=name)
    assert told.refusal is Refusal.NONE


def test_a_frame_without_a_site(device_double):
    staged = staged_frame("plain")
    staged.order.amplitude[:] = 0.0
    facts = above(device_double, staged.values())
    found = run(device_double, staged, facts)
    assert Facts(to_host(facts)).number("sites") == 0.0
    assert not any(to_host(part).any() for part in found)


def test_a_table_that_is_too_small_is_refused(device_double):
    staged = staged_frame("oblong")
    facts = above(device_double, staged.values())
    plan = replace(staged.plan(), room=Room(table=50))
    run(device_double, staged, facts, plan)
    assert Facts(to_host(facts)).refusal is Refusal.NO_ROOM


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e300, -1e300, 7.5])
def test_facts_that_mean_nothing_do_no_harm(device_double, value):
    staged = staged_frame("oblong")
    values = np.full(slots.NUMBER, value)
    values[PLACE["refusal"]] = Refusal.FEW_PEAKS
    facts = above(device_double, values)
    with np.errstate(all="ignore"):
        run(device_double, staged, facts)
    assert Facts(to_host(facts)).refusal is Refusal.FEW_PEAKS


def test_weights_of_averages(device_double):
    staged = staged_frame("oblong")
    plan, constant = staged.plan(), staged.lattice.constant
    made = Averages.of(above(device_double, staged.values()), plan)
    for ours, blocks in zip(made, plan.blocks, strict=True):
        theirs = averaging(blocks, constant / plan.stride)
        np.testing.assert_allclose(to_host(ours), theirs, 2.0**-22, 1e-12)


def test_weights_of_the_local_spread():
    impulse = np.zeros(41)
    impulse[20] = 1.0
    found = _gaussian_weights(3.0)
    theirs = ndimage.gaussian_filter(impulse, 3.0)
    np.testing.assert_allclose(found, theirs[20 - len(found) // 2 :][: len(found)], 1e-14)
