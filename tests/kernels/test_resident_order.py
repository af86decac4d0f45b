"""The map of local order that a device makes is the host's."""

from __future__ import annotations

import numpy as np
import pytest

from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.facts import PLACE, Facts, Refusal
from latticewatch_kernels.resident.order import local_order, order_map
from latticewatch_kernels.resident.parts import OrderAbove
from latticewatch_models.microscope import Microscope

from .conftest import make_crystal
from .guarded import above
from .staged import Staged


def staged_frame(kind: str) -> Staged:
    if kind in ("fine", "coarse"):
        constant = 7.2 if kind == "fine" else 21.0
        return Staged.of(make_crystal((200, 232), constant=constant, counts=300.0).image)
    size = (192, 256) if kind == "oblong" else (256, 256)
    image = next(iter(Microscope("WS2", size, 7).frames(1))).image
    if kind == "hole":
        y, x = np.ogrid[:256, :256]
        image = np.where((x - 190) ** 2 + (y - 70) ** 2 < 35**2, image.min(), image)
    return Staged.of(image)


@pytest.mark.parametrize("kind", ["plain", "oblong", "hole", "fine", "coarse"])
def test_like_the_host(device_double, kind):
    staged = staged_frame(kind)
    facts = above(device_double, staged.values("holes"))
    image, plan, expected = above(device_double, staged.image), staged.plan(), staged.order
    local_order(image, facts, plan)
    device_double.traffic.__init__()
    made = local_order(image, facts, plan)
    traffic = device_double.traffic
    assert (traffic.up, traffic.down) == (0, 0)
    assert traffic.operations <= 9
    told = Facts(to_host(facts))
    assert told.number("holes") == expected.hole.sum()
    found = order_map(told, plan, OrderAbove(*(to_host(part) for part in made)))
    assert found.stride == expected.stride
    for name in ("amplitude", "level", "mean"):
        theirs = getattr(expected, name)
        bound = 1e-5 * np.abs(theirs).max()
        np.testing.assert_allclose(getattr(found, name), theirs, 0.0, bound, err_msg=name)
    sound = expected.amplitude > 0.2  # elsewhere phases are those of noise
    gap = np.abs(found.displacement - expected.displacement)[:, sound]
    assert gap.max() < 1e-4
    np.testing.assert_array_equal(found.crystalline, expected.crystalline)
    np.testing.assert_array_equal(found.hole, expected.hole)
    np.testing.assert_allclose(found.fractions, expected.fractions, 0.0, 1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e300, -1e300, 7.5])
def test_facts_that_mean_nothing_do_no_harm(device_double, value):
    staged = staged_frame("oblong")
    values = np.full(slots.NUMBER, value)
    values[PLACE["refusal"]] = Refusal.FEW_PEAKS
    facts = above(device_double, values)
    with np.errstate(all="ignore"):
        local_order(above(device_double, staged.image), facts, staged.plan())
    assert Facts(to_host(facts)).refusal is Refusal.FEW_PEAKS
