"""What rules are told of a step: every frame of it, and nothing that is not known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from latticewatch.agreement import Counts
from latticewatch.alerting import Seen, Watch, parse_rule
from latticewatch.alerting.numbers import held, readings
from latticewatch.alerting.quantities import Names
from latticewatch.client.errors import FrameError
from latticewatch.receiving.deliveries import Arrival, Gap
from latticewatch.results import FrameResult, missing_frames
from latticewatch.standing import Check, Standing
from latticewatch.steps import Analysed
from latticewatch.tracker.update import Event
from latticewatch.tracker.watching import series_names
from latticewatch_models.crystal import CRYSTALS, crystal_named

NAMES = Names.of(crystal_named("WS2"))
NEWEST = {
    "defect_density_nm2": 0.25,
    "fractions": {"crystalline": 0.9, "disordered": 0.06, "hole": 0.04},
    "populations": {"VS": 7.0, "MoW": 3.0},
    "states": {"MoW": 1.0, "MoW+VS/0": 2.0},
}


def analysed(frame=4, dose=5.0, **fields) -> Analysed:
    header = SimpleNamespace(dose_e_per_A2=dose)
    return Analysed(Arrival("s", frame, 1, frame, header, None, 0.0), **fields)


def read(events=(), standing=None, learnt=None, newest=NEWEST):
    step = analysed(detections=SimpleNamespace())
    result = FrameResult(4, 1, 4, 9.0, events=tuple(events))
    (reading,) = readings(step, [result], newest, standing or Standing(), learnt)
    return reading


def test_a_frame_tells_its_own_numbers():
    reading = read()
    assert (reading.frame, reading.time_s, reading.dose, reading.lost) == (4, 9.0, 5.0, False)
    told = {name: value.value for name, value in reading.values.items()}
    assert told == {
        "defect_density": 0.25, "crystalline_fraction": 0.9, "disordered_fraction": 0.06,
        "hole_fraction": 0.04, "population of VS": 7.0, "population of MoW": 3.0,
        "population of MoW+VS/0": 2.0,
    }  # fmt: skip


def test_a_number_that_is_not_finite_is_not_known():
    assert (
        "defect_density" not in read(newest={**NEWEST, "defect_density_nm2": float("nan")}).values
    )


@pytest.mark.parametrize(
    "learnt", [None, {}, {"diffusion": None}, {"diffusion": {"free": {"D_nm2_s": None}}}]
)
def test_a_coefficient_that_is_not_there_is_not_known(learnt):
    assert "diffusion" not in read(learnt=learnt).values


def test_estimates_come_with_their_intervals():
    found = {"value": 2.0, "low": 1.0, "high": 3.0, "standard_error": 0.5}
    standing = Standing((Check(0, Counts(30, 10, 5)),), low=True)
    reading = read(standing=standing, learnt={"diffusion": {"free": {"D_nm2_s": found}}})
    assert vars(reading.values["diffusion"]) == {"value": 2.0, "low": 1.0, "high": 3.0}
    agreement = reading.values["agreement"]
    assert agreement.low < agreement.value == standing.estimate.mean < agreement.high
    assert reading.signs == {"segmenter_disagreement": True, "lattice_lost": False}


def test_events_tell_changes_and_a_lost_lattice():
    before, after = "populations.VS = 12.1", "populations.VS = 20 from frame 3"
    events = [Event(4, "birth", 3), Event(4, "change", -1, before, after), Event(4, "lattice_lost")]
    reading = read(events)
    assert reading.changes == (Seen("populations.VS", before, after),)
    assert reading.signs["lattice_lost"]
    assert read([Event(4, "change", -1, before)]).changes[0].series == "populations.VS"
    state, _ = Watch((parse_rule("change in VS", NAMES),)).after(reading)
    assert state.active


def test_every_frame_of_a_gap_is_looked_at():
    gap = Gap("s", 4, 1, 4, 3)
    watch = Watch((parse_rule("missing_in_a_row >= 2", NAMES),))
    watch, results = held(watch, gap, list(missing_frames(gap)), {}, Standing(), None)
    assert [[alarm.frame for alarm in result.alerts] for result in results] == [[], [5], []]
    assert (watch.missing, watch.in_a_row) == (3, 3)


def test_a_frame_that_cannot_be_used_tells_its_dose_alone():
    step = analysed(error=FrameError("frame", "constant", "unblank the beam"))
    (reading,) = readings(step, [FrameResult(4, 1, 4)], NEWEST, Standing(), None)
    assert (reading.lost, reading.dose, reading.values, reading.changes) == (True, 5.0, {}, None)


@pytest.mark.parametrize("name", sorted(CRYSTALS))
def test_every_series_that_a_rule_may_name_is_one_that_the_tracker_watches(name):
    crystal = CRYSTALS[name]
    assert set(Names.of(crystal).series().values()) <= set(series_names(crystal))
