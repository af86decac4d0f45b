"""Slots of facts and whole numbers of plans, on which the stages of a resident frame agree."""

from __future__ import annotations

import numpy as np
import pytest

from latticewatch_kernels.deviations import TAIL_SIGMA
from latticewatch_kernels.extension import sides
from latticewatch_kernels.launch import SOURCES
from latticewatch_kernels.order import local_order
from latticewatch_kernels.periodic import PADDING_WINDOWS, window_px
from latticewatch_kernels.registration import register
from latticewatch_kernels.resident import facts
from latticewatch_kernels.resident.facts import PLACE, SLOTS, Facts, Refusal
from latticewatch_kernels.resident.plan import Plan, Room

from .conftest import make_crystal


def known(lattice, shape=(128, 128), sigma: float = 2.0, factor: float = 1.0) -> Facts:
    values = np.zeros(facts.NUMBER)
    told = {
        "vectors": (*lattice.a1, *lattice.a2), "origin": lattice.origin,
        "heights": lattice.heights, "sigma": sigma, "factor": factor,
        "constant": lattice.constant, "window": window_px(lattice, shape),
        "cells": lattice.covering_cells(shape).shape[:2],
    }  # fmt: skip
    for name, numbers in told.items():
        values[PLACE[name] : PLACE[name] + SLOTS[name]] = numbers
    return Facts(values)


def test_cuda_knows_the_same_slots():
    assert (SOURCES / "facts.cuh").read_text("ascii") == facts.header()


def test_slots_do_not_overlap_and_come_back():
    values = np.arange(facts.NUMBER, dtype=float)
    taken = [number for name in SLOTS for number in Facts(values)[name]]
    assert taken == list(range(len(taken)))
    assert len(taken) <= facts.NUMBER
    assert Facts(np.zeros(facts.NUMBER)).refusal is Refusal.NONE


@pytest.mark.parametrize(("shape", "constant"), [((128, 160), 11.3), ((200, 96), 17.9)])
def test_a_plan_has_the_sizes_of_the_twins(shape, constant):
    crystal = make_crystal(shape, constant=constant, counts=400.0, rotation=7.0)
    lattice = register(crystal.image)
    plan = Plan.of(shape, known(lattice, shape), TAIL_SIGMA, Room())
    order = local_order(crystal.image, lattice)
    assert plan.cells == order.hole.shape
    across, down = sides(shape, lattice, PADDING_WINDOWS * window_px(lattice, shape))
    assert plan.before == (down.before, across.before)
    assert plan.longer == (down.longer, across.longer)
    assert plan.scaled is None


def test_room_grows_where_it_must_and_never_shrinks():
    lattice = register(make_crystal((128, 128), counts=400.0).image)
    plan = Plan.of((128, 128), known(lattice), TAIL_SIGMA, Room())
    again = Plan.of((128, 128), known(lattice), TAIL_SIGMA, plan.room)
    assert again == plan, "what suffices stays as it is"
    wider = Plan.of((128, 128), known(lattice, sigma=4.0), TAIL_SIGMA, plan.room)
    assert wider.room.stamp > plan.room.stamp
    assert Plan.of((128, 128), known(lattice), TAIL_SIGMA, wider.room) == wider
    assert Plan.of((128, 128), known(lattice, factor=1.2), TAIL_SIGMA, plan.room) != plan
    assert plan.room.doubled().found == 2 * plan.room.found


@pytest.mark.parametrize(
    ("told", "grows"),
    [
        ({"peaks": 0, "found": 256}, {"maxima"}),
        ({"peaks": 32, "found": 256}, {"marks", "found"}),
        ({"peaks": 32, "reported": 256}, {"marks", "found"}),
        ({"peaks": 32, "found": 7}, {"maxima", "judged", "marks", "found"}),
    ],
)
def test_what_was_short_is_doubled(told, grows):
    values = np.zeros(facts.NUMBER)
    for name, number in told.items():
        values[PLACE[name]] = number
    room = Room(judged=100, table=300)
    more = room.more_for(Facts(values))
    assert {name for name, own in vars(room).items() if own != vars(more)[name]} == grows
    assert more.found in (256, 512)
