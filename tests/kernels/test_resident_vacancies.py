"""What a device weighs columns by, and what it reports, is what the host does."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latticewatch.resident.weights import weighing
from latticewatch.vacancies import (
    LEAST_HOST,
    SUBLATTICE,
    best_threshold,
    combine,
    judge_vacancies,
    lacking_shares,
    network_evidence,
    outstanding_columns,
)
from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.deviations import Deviations, site_deviations
from latticewatch_kernels.launch import SOURCES
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.facts import PLACE, Facts, Refusal
from latticewatch_kernels.resident.parts import FoundAbove, SitesAbove
from latticewatch_kernels.resident.plan import Room
from latticewatch_kernels.resident.vacancies import Weighing, clear_of_holes, combined, judged
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import Microscope
from latticewatch_models.segmentation import Segmentation

from .guarded import above, drawn, fenced, seeds
from .staged import Staged

#: Logits are rounded to single precision, here and on the host at other places: four units in the
#: last place of 14, the greatest, times the weight, and at most a quarter of that in probability.
LOGITS = 4 * 14 * 2.0**-24

SEED, SITE_WEIGHT, THRESHOLD, STRIDE = 9, 0.35, 0.5, 2


@lru_cache(maxsize=1)
def analysed() -> Staged:
    return Staged.of(next(iter(Microscope("WS2", (256, 224), SEED).frames(1))).image)


class Frame:
    """A frame, what the network might say of it, and what the host makes of both."""

    def __init__(self, number: int = 40, crystal: str | None = "WS2") -> None:
        rng = np.random.default_rng(SEED)
        self.staged = staged = replace(analysed(), facts=dict(analysed().facts))
        self.deviations = site_deviations(staged.labels, staged.lattice)
        self.heat = rng.beta(0.3, 3.0, (128, 112)).astype(np.float32)
        self.points = rng.uniform(0.0, 223.0, (number, 2))
        on_sites = rng.choice(len(self.deviations), number // 2)
        self.points[: number // 2] = self.deviations.points[on_sites]
        self.probability = np.sort(rng.uniform(0.2, 1.0, number))[::-1].copy()
        self.crystal = None if crystal is None else CRYSTALS[crystal]
        self.weighing = weighing(self.crystal, THRESHOLD, None, SITE_WEIGHT)

    @classmethod
    def drawn(cls, seed: int, crowd: int) -> Frame:
        """Columns and detections of all kinds, many alike: several on a site, bright, in doubt."""
        rng, frame = np.random.default_rng(seed), cls(0)
        whole = frame.deviations
        kept = np.sort(rng.choice(len(whole), rng.integers(len(whole)), replace=False))
        number = len(kept)
        odd = rng.choice([0.0, -0.2, -0.4, 0.9, 1.2], number, p=[0.8, 0.08, 0.04, 0.04, 0.04])
        frame.deviations = Deviations(
            whole.cells[kept],
            whole.sublattice[kept],
            whole.points[kept],
            np.round(odd + rng.normal(0.0, 0.1, number), 1 + int(rng.integers(3))),
            rng.choice([0.02, 0.1, 0.2], number),
            rng.choice([1.0, 1.9, 2.1], number),
        )
        places = whole.points[rng.choice(len(whole), 1 + crowd // 3)]
        frame.points = places[rng.choice(len(places), crowd)] + rng.uniform(-4.0, 4.0, (crowd, 2))
        frame.probability = np.sort(rng.choice([0.4, 0.5, 0.9, 1.0], crowd))[::-1].copy()
        return frame

    def above(self, double, room: Room):
        """Facts, plan, sites and detections on the device."""
        plan = self.staged.plan(room)
        values, found = self.staged.values(), self.deviations
        starts = np.searchsorted(found.sublattice, np.arange(3))
        for name, told in (("sites", [len(found)]), ("starts", starts),
                           ("found", [len(self.points)])):  # fmt: skip
            values[PLACE[name] : PLACE[name] + len(told)] = told
        room_for_sites = plan.room.sites

        def filled(array, dtype, number=room_for_sites):
            whole = np.zeros((number, *array.shape[1:]), dtype)
            whole[: len(array)] = array
            return above(double, whole)

        sites = SitesAbove(
            filled(found.cells, np.int32), filled(found.sublattice, np.int8),
            filled(found.points, float), filled(found.deviation, float),
            filled(found.error, float), filled(found.level, float),
        )  # fmt: skip
        marks = FoundAbove(
            filled(self.points, float, plan.room.found),
            filled(self.probability, float, plan.room.found),
        )
        return above(double, values), plan, sites, marks

    def expected(self, heat=None):
        """Vacancies, threshold, points and probability by the host; of a map wherever it lies."""
        staged, deviations = self.staged, self.deviations
        heat = self.heat if heat is None else heat
        heard = Segmentation(heat, np.zeros((2, 128, 112)), STRIDE, (256, 224))
        columns = deviations.points[deviations.sublattice == SUBLATTICE]
        further = network_evidence(heard.logit_at(columns), deviations, SITE_WEIGHT)
        host, lacking = float(staged.labels.columns.host[SUBLATTICE]), lacking_shares(self.crystal)
        vacancies = judge_vacancies(deviations, host, lacking, further=further)
        least = best_threshold(vacancies.probability)
        sure = self.probability >= THRESHOLD
        points, probability = self.points[sure], self.probability[sure]
        ideal = points - staged.order.displacement_at(points)
        cells, sublattice, _ = staged.lattice.nearest_site(ideal)
        told = combine(
            (points, probability), (cells, sublattice), vacancies,
            outstanding_columns(deviations), least,
        )  # fmt: skip
        return vacancies, least, told


def run(double, frame: Frame, room: Room | None = None, values=None, lent: int | None = None):
    facts, plan, sites, marks = frame.above(double, room or Room())
    if lent is not None:
        plan = replace(plan, room=replace(plan.room, judged=lent))
        sites = SitesAbove(*(above(double, to_host(part)[: 3 * lent]) for part in sites))
    facts = facts if values is None else above(double, values)
    heat, order = above(double, frame.heat), frame.staged.order_above(double)
    judged(sites, heat, STRIDE, facts, plan, frame.weighing)  # takes constants up
    double.traffic.__init__()
    found = judged(sites, heat, STRIDE, facts, plan, frame.weighing)
    told = combined(marks, sites, found, order, facts, plan, frame.weighing)
    return found, told, Facts(to_host(facts))


@pytest.mark.parametrize("crystal", ["WS2", "graphene", None])
@pytest.mark.parametrize("number", [0, 40])
def test_like_the_host(device_double, crystal, number):
    frame = Frame(number, crystal)
    vacancies, least, (points, probability) = frame.expected()
    found, told, facts = run(device_double, frame)
    traffic = device_double.traffic
    assert (traffic.up, traffic.operations) == (0, 7)
    begin, end = (int(place) for place in facts["starts"][1:])
    for name in ("cells", "points", "probability", "bright", "intensity", "ratio", "odd"):
        ours = to_host(getattr(found, name))[: end - begin]
        theirs = getattr(vacancies, name)
        bound = LOGITS if name == "probability" else 1e-9 * np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, 0.0, bound, err_msg=name)
    np.testing.assert_allclose(facts["shares"][: len(vacancies.shares)], vacancies.shares, LOGITS)
    assert facts.number("threshold") == pytest.approx(least, rel=LOGITS)
    reported = int(facts.number("reported"))
    assert reported == len(points)
    assert reported > number // 2, f"seed {SEED} shows too little to tell anything"
    np.testing.assert_allclose(to_host(told.points)[:reported], points, 0.0, 1e-9)
    np.testing.assert_allclose(to_host(told.probability)[:reported], probability, 0.0, LOGITS)
    assert not to_host(told.points)[reported:].any()
    assert facts.refusal is Refusal.NONE


@drawn
@given(seeds, st.integers(0, 60))
@example(11925, 0)  # nothing to find
def test_the_same_points_in_the_same_order(device_double, seed, crowd):
    frame = Frame.drawn(seed, crowd)
    vacancies, least, expected = frame.expected(above(device_double, frame.heat))
    found, told, facts = run(device_double, frame)
    number, reported = len(vacancies.cells), int(facts.number("reported"))
    probability = to_host(found.probability)[:number]
    np.testing.assert_allclose(probability, vacancies.probability, 0.0, LOGITS)
    assert facts.number("threshold") == pytest.approx(least, rel=LOGITS)
    points, likely = to_host(told.points)[:reported], to_host(told.probability)[:reported]
    # what is equal but for rounding may change places: all candidates have a place of their own
    dark = np.where(vacancies.bright[:, None], np.nan, vacancies.points)
    candidates = np.concatenate([frame.points, dark, frame.deviations.points])
    (ours, first), (theirs, _) = (_numbers(part, candidates) for part in (points, expected[0]))
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(
        likely[np.argsort(first)], expected[1][np.argsort(_numbers(expected[0], candidates)[1])],
        0.0, LOGITS,
    )  # fmt: skip
    surest_first = np.lexsort([first, -likely])
    np.testing.assert_array_equal(surest_first, np.arange(reported))


@pytest.mark.parametrize("holes", ["none", "some", "all"])
@pytest.mark.parametrize("lent", [None, 1500])
def test_columns_near_holes_are_left_out(device_double, holes, lent):
    frame = Frame()
    hole = np.zeros_like(frame.staged.order.hole)
    if holes == "some":
        hole[3:6, 5:9] = hole[-1, -4:] = hole[12, 12] = True
    hole[...] |= holes == "all"
    frame.staged.order = replace(frame.staged.order, hole=hole)
    frame.staged.facts["holes"] = [float(hole.sum())]
    facts, plan, sites, _ = frame.above(device_double, Room())
    order = frame.staged.order_above(device_double)
    if lent is not None:
        plan = replace(plan, room=replace(plan.room, judged=lent))
    heat = above(device_double, frame.heat)
    found = judged(sites, heat, STRIDE, facts, plan, frame.weighing)
    every = [to_host(part).copy() for part in found]
    began, ended = (int(place) for place in Facts(to_host(facts))["starts"][1:])
    number = min(ended - began, plan.room.judged)
    near = frame.staged.order.near_hole(every[1][:number], frame.staged.lattice.constant)
    with fenced(device_double):
        clear_of_holes(found, order, facts, plan, frame.weighing)
    clear = int(Facts(to_host(facts)).number("clear"))
    assert clear == number - near.sum()
    assert {"none": not near.any(), "some": 0 < near.sum() < number, "all": near.all()}[holes]
    for before, after in zip(every, found, strict=True):
        np.testing.assert_array_equal(to_host(after)[:clear], before[:number][~near])


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_line_takes_three_columns(device_double, number):
    frame = Frame()
    whole = frame.deviations
    usual = (np.abs(whole.deviation) < whole.error) & (whole.sublattice == SUBLATTICE)
    lacking = (whole.deviation < -3.0 * whole.error) & (whole.sublattice == SUBLATTICE)
    few = np.append(np.flatnonzero(usual)[:number], np.flatnonzero(lacking)[0])
    frame.deviations = Deviations(**{name: part[few] for name, part in vars(whole).items()})
    vacancies, _, _ = frame.expected(above(device_double, frame.heat))
    found, _, facts = run(device_double, frame)
    ours = to_host(found.probability)
    np.testing.assert_allclose(ours[: number + 1], vacancies.probability, 0.0, LOGITS)
    assert not ours[number + 1 :].any()
    np.testing.assert_allclose(facts["shares"][: len(vacancies.shares)], vacancies.shares, LOGITS)


def _numbers(points: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Candidate that each point is, rising and as given."""
    if not len(points):  # of none, nothing is the first
        return np.zeros(0, int), np.zeros(0, int)
    numbers = (points[:, None] == candidates).all(axis=2).argmax(axis=1)
    np.testing.assert_array_equal(points, candidates[numbers])
    return np.sort(numbers), numbers


def test_a_threshold_that_is_given_is_taken(device_double):
    frame = Frame()
    frame.weighing = replace(frame.weighing, vacancy_threshold=0.9)
    assert run(device_double, frame)[2].number("threshold") == 0.9


def test_columns_that_are_too_faint_are_not_asked(device_double):
    frame = Frame()
    frame.staged.facts["host"] = np.array([1.0, LEAST_HOST, 0.0])
    _, told, facts = run(device_double, frame)
    sure = frame.probability >= THRESHOLD
    assert facts.number("reported") == sure.sum()
    np.testing.assert_array_equal(to_host(told.points)[: sure.sum()], frame.points[sure])


def test_room_that_does_not_suffice_is_refused(device_double):
    frame = Frame(8)
    assert run(device_double, frame, Room(found=9))[2].refusal is Refusal.NO_ROOM


@pytest.mark.parametrize("spare", [0, -1])
def test_one_sublattice_with_more_sites_than_its_share(device_double, spare):
    frame = Frame(0)
    judged_ = frame.deviations.sublattice == SUBLATTICE
    whole = vars(frame.deviations)
    frame.deviations = Deviations(**{name: part[judged_] for name, part in whole.items()})
    with fenced(device_double):
        facts = run(device_double, frame, lent=int(judged_.sum()) + spare)[2]
    assert facts.refusal is (Refusal.NO_ROOM if spare < 0 else Refusal.NONE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e300, -1e300, 7.5])
def test_facts_that_mean_nothing_do_no_harm(device_double, value):
    values = np.full(slots.NUMBER, value)
    values[PLACE["refusal"]] = Refusal.FEW_PEAKS
    with np.errstate(all="ignore"), fenced(device_double):
        facts = run(device_double, Frame(), values=values)[2]
    assert facts.refusal is Refusal.FEW_PEAKS


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e38, -1e38])
def test_columns_that_mean_nothing_do_no_harm(device_double, value):
    frame = Frame()
    spoilt = {name: np.full(len(frame.deviations), value) for name in ("deviation", "error")}
    frame.deviations = replace(frame.deviations, **spoilt)
    frame.heat[...], frame.points[::2] = value, value
    with np.errstate(all="ignore"), fenced(device_double):
        facts = run(device_double, frame)[2]
    assert 0 <= facts.number("reported") <= Room().found


def test_a_crystal_with_too_many_amounts_is_refused():
    given = weighing(None, THRESHOLD, None, SITE_WEIGHT)
    with pytest.raises(ValueError, match="lack 5 amounts"):
        replace(given, lacking=(0.1, 0.2, 0.3, 0.4, 0.5))


def test_cuda_numbers_the_constants_alike():
    text = (SOURCES / "weights.cuh").read_text("ascii")
    (body,) = re.findall(r"enum Weight \{(.*?)\}", text, re.DOTALL)
    names = [name.strip().removeprefix("W_").lower() for name in body.split(",")]
    ours = [field.name for field in fields(Weighing)]
    assert names == [*ours[:-1], "amounts", ours[-1]]


def test_an_empty_frame_has_nothing_to_weigh(device_double):
    frame = Frame(0)
    empty = {name: getattr(frame.deviations, name)[:0] for name in vars(frame.deviations)}
    frame.deviations = Deviations(**empty)
    with np.errstate(all="ignore"):
        facts = run(device_double, frame)[2]
    assert facts.number("reported") == 0.0
