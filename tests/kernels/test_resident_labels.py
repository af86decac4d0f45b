"""Labels and columns of a frame on a device are the host's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.columns import SitesInside, column_map, sample
from latticewatch_kernels.labelling import LABEL_SIGMAS, _gaussian_spectrum
from latticewatch_kernels.lattice import NoLatticeError
from latticewatch_kernels.launch import launch_together
from latticewatch_kernels.order import BLOCKS_PER_CELL, OrderMap
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.facts import PLACE, Facts, Refusal
from latticewatch_kernels.resident.labels import _calibrate, labelled, labels
from latticewatch_kernels.resident.labels import _gaussian_spectrum as spectrum_above
from latticewatch_kernels.resident.labels import column_map as column_map_of
from latticewatch_kernels.resident.parts import OrderAbove
from latticewatch_kernels.resident.plan import Plan, Room
from latticewatch_models.microscope import Microscope

from .conftest import hexagonal, make_crystal
from .guarded import above, drawn, fenced, seeds
from .staged import Staged, filled

FOUND = ("line", "matched_line", "unit", "crosstalk", "host", "offset", "noise_by_site", "noise")
#: Part of a map's greatest value by which sums of single precision in another order may differ: the
#: matched filter passes two Fourier transforms.
ROUNDING = 2.0**-17

#: Part by which the calibration of given maps may differ: some sums in double precision. Places are
#: rounded to single precision, and one in 1e9 to another number than the twin's.
CALIBRATED = 1e-12

#: Of the stage.
LAUNCHES = 18

SIZES = {"oblong": (192, 256), "small": (80, 96)}


def frame(kind: str) -> np.ndarray:
    if kind == "graphene":
        crystal = make_crystal((160, 200), constant=13.0, heights=(1.0, 1.0, 0.0), counts=300.0)
        return crystal.image.astype(np.float32)
    size = SIZES.get(kind, (256, 256))
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
    assert traffic.operations == LAUNCHES
    told = Facts(to_host(facts))
    made = labels(found, staged.order, told, to_host(found.shifts))
    expected = staged.labels
    for name in ("image", "residual", "matched", "z"):
        theirs = getattr(expected, name)
        size = ROUNDING * np.abs(theirs).max()
        np.testing.assert_allclose(getattr(made, name), theirs, 0.0, size, err_msg=name)
    for name in ("bright", "dark", "hole"):
        np.testing.assert_array_equal(getattr(made, name), getattr(expected, name), name)
    # gaps between two values, in units of a gap between two
    size = 4.0 * ROUNDING * float(np.abs(expected.matched).max()) * expected.columns.unit
    for name, theirs in vars(expected.columns).items():
        ours = getattr(made.columns, name)
        np.testing.assert_allclose(
            ours, theirs, size if name == "unit" else 1e-14, size, err_msg=name
        )
    np.testing.assert_allclose(made.row_shifts.shift, expected.row_shifts.shift, 0.0, 1e-5)
    for part in ("slope", "base", "least"):
        ours, theirs = getattr(made.noise, part), getattr(expected.noise, part)
        assert ours == pytest.approx(theirs, rel=2e-3), "classes meet at another pixel at most"
    assert told.refusal is Refusal.NONE


def test_what_stands_out_is_left_out_where_nobody_asks(device_double):
    """All else is the same to the last bit, and a noise line's two launches are not made."""
    staged = Staged.of(frame("hole"))
    given = above(device_double, staged.image), staged.pixels_above(device_double)
    order, plan, found = staged.order_above(device_double), staged.plan(), []
    for threshold, launches in ((LABEL_SIGMAS, LAUNCHES), (None, LAUNCHES - 2)):
        facts = above(device_double, staged.values(*FOUND))
        labelled(*given, order, facts, plan, threshold)
        device_double.traffic.__init__()
        parts = labelled(*given, order, facts, plan, threshold)
        assert device_double.traffic.operations == launches
        found.append((parts, Facts(to_host(facts))))
    (every, told), (fewer, told_fewer) = found
    assert (fewer.z, fewer.bright, fewer.dark) == (None, None, None)
    for name in ("image", "residual", "matched", "hole", "shifts"):
        ours, theirs = (to_host(getattr(parts, name)) for parts in (fewer, every))
        np.testing.assert_array_equal(ours, theirs, name)
    for name in FOUND:
        if name != "matched_line":
            np.testing.assert_array_equal(told_fewer[name], told[name], name)


def test_the_columns_shape_in_frequency(device_double):
    for shape, sigma in (((31, 48), 1.7), ((64, 45), 3.1)):
        facts = above(device_double, filled({"sigma": sigma}))
        ours = spectrum_above(facts, shape)
        for found, expected in zip(ours, _gaussian_spectrum(shape, sigma), strict=True):
            np.testing.assert_allclose(to_host(found), expected, 2.0**-22)


def drawn_order(rng: np.random.Generator, shape: tuple[int, int], stride: int, hole: float):
    """Map of order with random displacements and holes; no more of it is looked at."""
    cells = tuple(max(1, side // stride) for side in shape)
    blank = np.zeros(cells, np.float32)
    displacement = rng.normal(0.0, 1.0, (2, *cells)).astype(np.float32)
    crystalline, holes = np.ones(cells, bool), rng.random(cells) < hole
    return OrderMap(blank, blank, blank, displacement, crystalline, holes, stride, np.zeros(3))


def calibrated(double, matched: np.ndarray, order: OrderMap, known: dict, plan: Plan) -> Facts:
    """Facts after the calibration, held against those that were given."""
    maps = np.zeros((5, *order.hole.shape), np.float32)
    maps[3:] = order.displacement
    parts = maps, order.crystalline.view(np.int8), order.hole.view(np.int8)
    facts, order_above = above(double, filled(known)), (above(double, part) for part in parts)
    with fenced(double):
        _calibrate(above(double, matched), OrderAbove(*order_above), facts, plan)
    told = Facts(to_host(facts))
    for name, values in known.items():
        np.testing.assert_array_equal(told[name], np.ravel(values), f"{name} is changed")
    return told


@drawn
@given(
    st.tuples(st.integers(8, 100), st.integers(8, 100)), st.floats(6.0, 20.0), seeds,
    st.sampled_from([0.0, 0.0, 0.3, 0.9]), st.integers(0, 4),
)  # fmt: skip
def test_columns_like_the_host_has_of_given_maps(
    device_double, shape, constant, seed, hole, lacking
):
    """Whatever the lattice, displacements and holes, where no site is inside, and where the table
    lacks cells all round, which no frame's own facts say.
    """
    rng = np.random.default_rng(seed)
    strain, origin = rng.uniform(-0.05, 0.05, (2, 2)), rng.uniform(0.0, shape[::-1])
    lattice = hexagonal(constant, rng.uniform(-30.0, 30.0), tuple(origin), np.eye(2) + strain)
    lattice = replace(lattice, heights=(1.0, float(rng.uniform(0.0, 1.0)), 0.0))
    blocks = int(rng.integers(2, 5))
    order = drawn_order(rng, shape, blocks * BLOCKS_PER_CELL, hole)
    sigma, height, leak = rng.uniform((0.05 * constant, 0.5, 0.0), (0.3 * constant, 50.0, 0.4))
    matched = rng.normal(0.0, 0.03 * height, shape).astype(np.float32)
    cells = lattice.covering_cells(shape)
    cells = cells[lacking : len(cells) - lacking, lacking : cells.shape[1] - lacking]
    assume(cells.size)
    known = {
        "vectors": (*lattice.a1, *lattice.a2), "origin": lattice.origin,
        "heights": lattice.heights, "constant": lattice.constant, "first_cell": cells[0, 0],
        "cells": cells.shape[:2], "sigma": sigma, "height": height, "leak": leak,
    }  # fmt: skip
    room = Room(table=3 * cells.shape[0] * cells.shape[1] + int(rng.choice([0, 7])))
    plan = Plan(shape, blocks, shape, None, room)
    told = calibrated(device_double, matched, order, known, plan)
    sites = held_by(SitesInside.of(lattice, order, shape), lacking)
    profile = float(sigma), float(height)
    try:
        expected = column_map(sample(matched, sites.places), sites, lattice, profile, float(leak))
    except NoLatticeError:
        assert told.refusal is Refusal.NO_SITE
        return
    assert told.refusal is Refusal.NONE
    for name, theirs in vars(expected).items():
        ours = getattr(column_map_of(told), name)
        np.testing.assert_allclose(ours, theirs, CALIBRATED, CALIBRATED, err_msg=name)


@pytest.mark.parametrize("side", [40, 70])
@pytest.mark.parametrize("spreads", [(0.1, 0.1, 0.1), (0.05, 0.2, 0.1), (0.1, 0.0, 0.1), (0, 3, 1)])
def test_columns_that_a_block_has_no_room_for(device_double, side, spreads):
    """Medians of sublattices and of all, of few that lie between or of more than are held."""
    rng, room = np.random.default_rng(side), 3 * side**2 + 5
    deviation = np.full(room, np.nan)
    sites = deviation[: 3 * side**2].reshape(3, -1)
    for site, (level, spread) in enumerate(zip((0.3, -0.1, 0.2), spreads, strict=True)):
        known = rng.permutation(side**2)[: side**2 - 100 - site]
        sites[site, known] = rng.normal(level, spread, len(known))
    facts = above(
        device_double,
        filled({"cells": (side, side), "heights": (1.0, 0.5, 0.0), "height": 2.0, "leak": 0.0,
                "constant": 10.0, "sigma": 2.0}),
    )  # fmt: skip
    given_ = above(device_double, deviation), room
    launch_together("labels", "offsets", 3, facts, facts, *given_)
    launch_together("labels", "calibration", 1, facts, facts, *given_)
    told, offset = Facts(to_host(facts)), np.nanmedian(sites, axis=1)
    off = np.abs(sites - offset[:, None])
    scale = 1.0 + offset[0] - offset[2]
    expected = np.append(np.nanmedian(off, axis=1), np.nanmedian(off)) * 1.4826
    found = np.append(told["noise_by_site"], told["noise"]) * scale
    np.testing.assert_allclose(told["offset"] * scale, offset, 1e-14)
    np.testing.assert_allclose(found, expected, 1e-14)


def held_by(sites: SitesInside, lacking: int) -> SitesInside:
    """Sites of which those of the outermost cells count as empty."""
    held = np.zeros(sites.shape, bool)
    held[:, lacking : held.shape[1] - lacking, lacking : held.shape[2] - lacking] = True
    return replace(sites, empty=sites.empty | ~held.reshape(-1)[sites.inside])


@pytest.mark.parametrize("table", [0, 3, 100, -1], ids=["none", "a cell", "100", "one too few"])
def test_a_table_that_is_too_small_is_refused(device_double, table):
    staged = Staged.of(frame("oblong"))
    facts = above(device_double, staged.values(*FOUND))
    needed = int(3 * staged.facts["cells"][0] * staged.facts["cells"][1])
    plan = replace(staged.plan(), room=Room(table=needed - 1 if table < 0 else table))
    given = above(device_double, staged.image), staged.pixels_above(device_double)
    with fenced(device_double):
        labelled(*given, staged.order_above(device_double), facts, plan, LABEL_SIGMAS)
    told = Facts(to_host(facts))
    assert told.refusal is Refusal.NO_ROOM
    assert not told["offset"].any(), "one cell is looked at, which lies outside"


def test_a_table_that_just_holds_all_does(device_double):
    staged = Staged.of(frame("oblong"))
    needed = int(3 * staged.facts["cells"][0] * staged.facts["cells"][1])
    found = []
    for table in (needed, 2 * needed):
        facts = above(device_double, staged.values(*FOUND))
        given = above(device_double, staged.image), staged.pixels_above(device_double)
        plan = replace(staged.plan(), room=Room(table=table))
        labelled(*given, staged.order_above(device_double), facts, plan, LABEL_SIGMAS)
        found.append(to_host(facts))
    assert Facts(found[0]).refusal is Refusal.NONE
    assert found[0].tobytes() == found[1].tobytes(), "room is no part of any result"


def test_a_frame_that_is_all_hole_is_refused(device_double):
    staged = Staged.of(frame("plain"))
    staged.order.hole[:] = True
    facts = above(device_double, staged.values(*FOUND))
    given = above(device_double, staged.image), staged.pixels_above(device_double)
    order = staged.order_above(device_double)
    labelled(*given, order, facts, staged.plan(), LABEL_SIGMAS)
    assert Facts(to_host(facts)).refusal is Refusal.NO_SITE


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e300, -1e300, 7.5, -3.0])
def test_facts_that_mean_nothing_do_no_harm(device_double, value):
    staged = Staged.of(frame("oblong"))
    values = np.full(slots.NUMBER, value)
    values[PLACE["refusal"]] = Refusal.FEW_PEAKS
    run_with_garbage(device_double, staged, values)


def test_facts_of_which_some_mean_nothing_do_no_harm(device_double):
    """Each of them on its own, so that the others lead to where it is used."""
    staged, rng = Staged.of(frame("small")), np.random.default_rng(11)
    for name in ("vectors", "origin", "heights", "constant", "first_cell", "cells", "sigma"):
        for value in (np.nan, np.inf, -np.inf, 0.0, 1e300, -1e9, 1e9):
            values = staged.values(*FOUND)
            values[PLACE[name] + rng.integers(0, slots.SLOTS[name])] = value
            values[PLACE["refusal"]] = Refusal.FEW_PEAKS
            run_with_garbage(device_double, staged, values)


def run_with_garbage(double, staged: Staged, values: np.ndarray) -> None:
    """Hold the memory around all arrays against what was written, which NaN that is read shows."""
    facts = above(double, values)
    given = above(double, staged.image), staged.pixels_above(double)
    order = staged.order_above(double)
    with np.errstate(all="ignore"), fenced(double):
        labelled(*given, order, facts, staged.plan(), LABEL_SIGMAS)
    assert Facts(to_host(facts)).refusal is Refusal.FEW_PEAKS
