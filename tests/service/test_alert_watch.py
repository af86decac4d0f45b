"""Rules held against frames: raised once, ended once, the same after a restart at any frame."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch.alerting import Reading, Seen, Value, Watch, parse_rule
from latticewatch.alerting.quantities import Names
from latticewatch_models.crystal import crystal_named

NAMES = Names.of(crystal_named("WS2"))


def watch(*rules, **options) -> Watch:
    return Watch(tuple(parse_rule(rule, NAMES, **options) for rule in rules))


def reading(frame, value=None, name="hole_fraction", low=None, high=None, **more) -> Reading:
    values = {} if value is None else {name: Value(value, low, high)}
    return Reading(frame, 2.0 * frame, values, **{"changes": (), **more})


def play(state: Watch, readings) -> tuple[Watch, list]:
    alarms = []
    for one in readings:
        state, raised = state.after(one)
        alarms += raised
    return state, alarms


def holes(state: Watch, *values) -> list[tuple[int, bool]]:
    """Frames at which the alert was raised (True) or ended; None: a frame that says nothing."""
    _, alarms = play(state, (reading(k, value) for k, value in enumerate(values)))
    return [(alarm.frame, alarm.active) for alarm in alarms]


def test_an_alert_is_raised_once_and_ended_once():
    assert holes(watch("hole_fraction > 0.05"), 0.01, 0.06, 0.2, 0.05, 0.01, 0.06) == [
        (1, True), (3, False), (5, True),
    ]  # fmt: skip


def test_for_three_frames_counts_frames_in_a_row():
    rule = "hole_fraction > 0.05 for 3 frames"
    assert holes(watch(rule), 0.1, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.0) == [(5, True), (7, False)]


def test_a_frame_that_says_nothing_neither_counts_nor_breaks():
    rule = "hole_fraction > 0.05 for 3 frames"
    assert holes(watch(rule), 0.1, 0.1, None, None, 0.1) == [(4, True)]
    assert holes(watch("hole_fraction > 0.05"), 0.1, None, 0.1) == [(0, True)]


@pytest.mark.parametrize(
    ("operator", "at", "raised"),
    [(">", 0.5, False), (">=", 0.5, True), ("<", 0.5, False), ("<=", 0.5, True)],
)
def test_at_the_threshold_the_operator_decides(operator, at, raised):
    assert holes(watch(f"hole_fraction {operator} 0.5"), at) == ([(0, True)] if raised else [])


def test_what_is_raised_ceases_only_at_its_clear_level():
    values = (0.06, 0.04, 0.06, 0.03, 0.04, 0.06)
    assert holes(watch("hole_fraction > 0.05", clear=0.03), *values) == [
        (0, True), (3, False), (5, True),
    ]  # fmt: skip


def test_a_certain_rule_waits_for_the_whole_interval():
    state = watch("diffusion > 1", certain=True)
    frames = [
        reading(0, 1.5, "diffusion", 0.9, 2.0),
        reading(1, 1.5, "diffusion", 1.1, 2.0),
        reading(2, 1.2, "diffusion", 0.8, 2.0),  # the estimate still is above: no flicker
        reading(3, 0.9, "diffusion", 0.7, 1.1),
    ]
    _, alarms = play(state, frames)
    assert [(alarm.frame, alarm.active) for alarm in alarms] == [(1, True), (3, False)]
    below = watch("agreement < 0.8", certain=True)
    frames = [reading(0, 0.7, "agreement", 0.6, 0.82), reading(1, 0.7, "agreement", 0.6, 0.79)]
    assert [alarm.frame for alarm in play(below, frames)[1]] == [1]


def test_the_evidence_is_the_numbers_that_decided():
    state = watch("diffusion > 1 for 2 frames", severity="critical", clear=0.5, name="fast")
    frames = [reading(k, 1.5, "diffusion", 1.25, 2.0) for k in range(4, 7)]
    _, (alarm,) = play(state, frames)
    assert alarm.values == {
        "when": "diffusion > 1 for 2 frames", "frames": 2, "begun": 4, "quantity": "diffusion",
        "unit": "nm²/s", "threshold": 1.0, "clear": 0.5, "value": 1.5, "low": 1.25, "high": 2.0,
        "active_rules": ["fast"],
    }  # fmt: skip
    assert (alarm.rule, alarm.severity, alarm.time_s) == ("fast", "critical", 10.0)
    assert alarm.text == "diffusion is 1.5 (1.25 to 2) nm²/s, above 1 nm²/s for 2 frames"


def test_the_text_of_an_end_names_the_level():
    _, alarms = play(watch("hole_fraction > 0.05", clear=0.04), [reading(0, 0.1), reading(1, 0.02)])
    assert alarms[1].text == "hole_fraction is 0.02, no longer above 0.04"
    assert alarms[1].values["active_rules"] == []


def test_dose_adds_up_over_frames_that_tell_it_and_those_that_cannot():
    state = watch("dose > 250")
    frames = [
        reading(0, dose=None),  # nothing is known yet
        reading(1, dose=100.0),
        reading(2, dose=None, lost=True),  # the beam was on the specimen all the same
        reading(3, dose=50.0),
        reading(4, dose=50.0),
    ]
    state, (alarm,) = play(state, frames)
    assert (alarm.frame, alarm.values["value"], state.dose) == (4, 300.0, 300.0)


def test_rules_on_a_dose_that_nobody_tells_are_named():
    state, alarms = play(watch("dose > 1", "hole_fraction > 0.5"), [reading(0, 0.1)])
    assert (state.unknown(), alarms) == (["dose > 1"], [])
    state, _ = play(state, [reading(1, dose=0.5)])
    assert state.unknown() == []


def test_missing_frames_are_counted_in_all_and_in_a_row():
    state = watch("missing_frames >= 3", "missing_in_a_row >= 2")
    lost = [reading(k, lost=k in (1, 3, 4, 6)) for k in range(8)]
    _, alarms = play(state, lost)
    assert [(alarm.frame, alarm.rule, alarm.active) for alarm in alarms] == [
        (4, "missing_frames >= 3", True),
        (4, "missing_in_a_row >= 2", True),
        (5, "missing_in_a_row >= 2", False),
    ]


def test_a_change_is_a_moment():
    state = watch("change in VS")
    seen = Seen("populations.VS", "populations.VS = 12.1", "populations.VS = 20 from frame 3")
    other = Seen("populations.VS2")
    frames = [
        reading(0, changes=(other,)),
        reading(1, changes=(other, seen)),
        Reading(2, lost=True),
        reading(3),
    ]
    _, alarms = play(state, frames)
    assert [(alarm.frame, alarm.active) for alarm in alarms] == [(1, True), (3, False)]
    assert "populations.VS = 12.1 -> populations.VS = 20 from frame 3" in alarms[0].text
    assert alarms[0].values["series"] == "populations.VS"


def test_a_sign_comes_and_goes():
    state = watch("segmenter_disagreement")
    signs = [False, True, True, False]
    frames = [
        reading(k, 0.6, "agreement", 0.5, 0.7, signs={"segmenter_disagreement": sign})
        for k, sign in enumerate(signs)
    ]
    _, alarms = play(state, frames)
    assert [(alarm.frame, alarm.active) for alarm in alarms] == [(1, True), (3, False)]
    assert "agreement 0.6 (0.5 to 0.7)" in alarms[0].text
    assert alarms[0].values["value"] == 0.6


def test_every_alarm_of_a_frame_names_all_that_are_raised_after_it():
    state = watch("hole_fraction > 0.1", "hole_fraction > 0.2")
    _, alarms = play(state, [reading(0, 0.15), reading(1, 0.3), reading(2, 0.15)])
    assert [alarm.values["active_rules"] for alarm in alarms] == [
        ["hole_fraction > 0.1"],
        ["hole_fraction > 0.1", "hole_fraction > 0.2"],
        ["hole_fraction > 0.1"],
    ]


def test_a_rule_that_is_gone_or_another_ends_its_alert():
    before, _ = play(watch("hole_fraction > 0.1", name="holes"), [reading(0, 0.3)])
    for rules in (watch("hole_fraction > 0.2", name="holes").rules, ()):
        state = Watch.resumed(rules, before.state())
        assert list(state.active) == ["holes"]
        state, alarms = play(state, [reading(1, 0.15), reading(2, 0.15)])
        assert [(alarm.frame, alarm.rule, alarm.active) for alarm in alarms] == [
            (1, "holes", False)
        ]
        assert not state.active


def test_the_summary_counts_what_was_raised():
    state, _ = play(watch("hole_fraction > 0.1"), [reading(k, k % 2) for k in range(4)])
    assert state.summary() == {
        "active": [{"rule": "hole_fraction > 0.1", "severity": "warning", "since": 3}],
        "raised": {"hole_fraction > 0.1": 2},
    }


RULES = (
    "hole_fraction > 0.5 for 2 frames", "dose > 20", "missing_in_a_row > 1", "change in VS",
    "agreement < 0.5", "lattice_lost",
)  # fmt: skip

frames_of = st.lists(
    st.builds(
        dict,
        values=st.fixed_dictionaries(
            {}, optional={"hole_fraction": st.floats(0, 1), "agreement": st.floats(0, 1)}
        ).map(lambda given: {name: Value(value) for name, value in given.items()}),
        signs=st.sampled_from([{}, {"lattice_lost": False}, {"lattice_lost": True}]),
        changes=st.sampled_from([None, (), (Seen("populations.VS", "a", "b"),)]),
        dose=st.one_of(st.none(), st.floats(0, 10)),
        lost=st.booleans(),
    ),
    max_size=20,
).map(lambda given: [Reading(k, float(k), **one) for k, one in enumerate(given)])


@given(frames_of, st.integers(0, 20))
def test_a_restart_at_any_frame_changes_nothing(frames, cut):
    whole, alarms = play(watch(*RULES), frames)
    first, before = play(watch(*RULES), frames[:cut])
    # as the store keeps it
    resumed = Watch.resumed(first.rules, json.loads(json.dumps(first.state())))
    last, after = play(resumed, frames[cut:])
    assert before + after == alarms
    assert last.state() == whole.state()


@given(frames_of)
def test_raised_and_ended_alternate_and_agree_with_the_summary(frames):
    state, alarms = play(watch(*RULES), frames)
    for rule in RULES:
        own = [alarm.active for alarm in alarms if alarm.rule == rule]
        assert own == [k % 2 == 0 for k in range(len(own))]
        assert (rule in state.active) == (len(own) % 2 == 1)
        raised = state.summary()["raised"].get(rule, 0)
        assert raised == sum(own)
