"""Labels and columns of a frame on a device are the host's."""

from __future__ import annotations

import numpy as np
import pytest

from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.labelling import LABEL_SIGMAS, _gaussian_spectrum
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.facts import PLACE, Facts, Refusal
from latticewatch_kernels.resident.labels import _gaussian_spectrum as spectrum_above
from latticewatch_kernels.resident.labels import labelled, labels
from latticewatch_kernels.resident.plan import Room
from latticewatch_models.microscope import Microscope

from .conftest import make_crystal
from .guarded import above
from .staged import Staged

FOUND = ("line", "matched_line", "unit", "crosstalk", "host", "offset", "noise_by_site", "noise")
#: Part of a map's greatest value by which sums of single precision in another order may differ: the
#: matched filter passes two Fourier transforms.
ROUNDING = 2.0**-17


def frame(kind: str) -> np.ndarray:
    if kind == "graphene":
        crystal = make_crystal((160, 200), constant=13.0, heights=(1.0, 1.0, 0.0), counts=300.0)
        return crystal.image.astype(np.float32)
    size = (192, 256) if kind == "oblong" else (256, 256)
    image = next(iter(Microscope("WS2", size, 5).frames(1))).image
    if kind == "hole":
        y, x = np.ogrid[:256, :256]
        image = np.where((x - 60) ** 2 + (y - 70) ** 2 < 35**2, image.min(), image)
    return image


@pytest.mark.parametrize("kind", ["plain", "oblong", "hole", "graphene"])
def test_like_the_host(device_double, kind):
    staged = Staged.of(frame(kind))
    facts = above(device_double, staged.values(*FOUND))
    given = above(device_double, staged.image), staged.pixels_above(device_double)
    order, plan = staged.order_above(device_double), staged.plan()
    labelled(*given, order, facts, plan, LABEL_SIGMAS)
    device_double.traffic.__init__()
    found = labelled(*given, order, facts, plan, LABEL_SIGMAS)
    traffic = device_double.traffic
    assert (traffic.up, traffic.down) == (0, 0)
    assert traffic.operations <= 20
    told = Facts(to_host(facts))
    made = labels(found, staged.order, told, to_host(found.shifts))
    expected = staged.labels
    for name in ("image", "residual", "matched", "z"):
        theirs = getattr(expected, name)
        size = ROUNDING * np.abs(theirs).max()
        np.testing.assert_allclose(getattr(made, name), theirs, 0.0, size, err_msg=name)
    for name in ("bright", "dark", "hole"):
        np.testing.assert_array_equal(getattr(made, name), getattr(expected, name), name)
    for name in ("sigma", "unit", "crosstalk", "host", "noise_by_site", "noise"):
        ours, theirs = getattr(made.columns, name), getattr(expected.columns, name)
        np.testing.assert_allclose(ours, theirs, 1e-4, 1e-6, err_msg=name)
    np.testing.assert_allclose(made.columns.offset, expected.columns.offset, 0.0, 1e-6)
    np.testing.assert_allclose(made.row_shifts.shift, expected.row_shifts.shift, 0.0, 1e-5)
    for part in ("slope", "base", "least"):
        ours, theirs = getattr(made.noise, part), getattr(expected.noise, part)
        assert ours == pytest.approx(theirs, rel=2e-3), "classes meet at another pixel at most"
    assert told.refusal is Refusal.NONE


def test_the_columns_shape_in_frequency(device_double):
    values = np.zeros(slots.NUMBER)
    values[PLACE["sigma"]] = 1.7
    for shape in ((31, 48), (64, 45)):
        ours = spectrum_above(above(device_double, values), shape)
        for found, expected in zip(ours, _gaussian_spectrum(shape, 1.7), strict=True):
            np.testing.assert_allclose(to_host(found), expected, 2.0**-22, 1e-12)


@pytest.mark.parametrize("table", [3, 100])
def test_a_table_that_is_too_small_is_refused(device_double, table):
    staged = Staged.of(frame("plain"))
    facts = above(device_double, staged.values(*FOUND))
    plan = staged.plan()
    plan = plan.__class__(**{**vars(plan), "room": Room(table=table)})
    given = above(device_double, staged.image), staged.pixels_above(device_double)
    labelled(*given, staged.order_above(device_double), facts, plan, LABEL_SIGMAS)
    assert Facts(to_host(facts)).refusal is Refusal.NO_ROOM


def test_a_frame_that_is_all_hole_is_refused(device_double):
    staged = Staged.of(frame("plain"))
    staged.order.hole[:] = True
    facts = above(device_double, staged.values(*FOUND))
    given = above(device_double, staged.image), staged.pixels_above(device_double)
    order = staged.order_above(device_double)
    labelled(*given, order, facts, staged.plan(), LABEL_SIGMAS)
    assert Facts(to_host(facts)).refusal is Refusal.NO_SITE


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e300, -1e300, 7.5])
def test_facts_that_mean_nothing_do_no_harm(device_double, value):
    staged = Staged.of(frame("oblong"))
    values = np.full(slots.NUMBER, value)
    values[PLACE["refusal"]] = Refusal.FEW_PEAKS
    facts = above(device_double, values)
    given = above(device_double, staged.image), staged.pixels_above(device_double)
    with np.errstate(all="ignore"):
        order = staged.order_above(device_double)
        labelled(*given, order, facts, staged.plan(), LABEL_SIGMAS)
    assert Facts(to_host(facts)).refusal is Refusal.FEW_PEAKS
