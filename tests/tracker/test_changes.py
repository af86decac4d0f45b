"""Change points: false reports, delay, and what a report says, on series with known truth."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, poisson, t
from synthetic import View, detect, info, make_specimen

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from estimating.changes import (  # noqa: E402
    ALLOWED,
    NOISES,
    Noise,
    delays,
    false_reports,
    main_table,
    run,
)

from latticewatch.tracker import Tracker, TrackerSettings  # noqa: E402
from latticewatch.tracker.baseline import RECENT, WARM_UP, Past  # noqa: E402
from latticewatch.tracker.changes import LAST, Change, Kinds, normal_deviates, watch  # noqa: E402

ONE = Kinds(("x",), np.zeros(1), np.full(1, 1e-3))


def reports(values, kinds=ONE):
    """Changes found in one or more series (frames, n)."""
    found: list[Change] = []
    values = np.asarray(values, float)
    run(values.reshape(len(values), -1), kinds, lambda _, changes: found.extend(changes))
    return found


@pytest.mark.parametrize("noise", NOISES, ids=lambda n: n.name)
def test_less_than_one_false_report_in_a_thousand_frames(noise):
    # 100,000 frames: 84 reports are expected at the highest rate that the bench finds.
    assert false_reports(noise, 2000, 50) < ALLOWED


@pytest.mark.parametrize("noise", NOISES[:4], ids=lambda n: n.name)
def test_a_jump_of_three_standard_deviations_is_reported_as_soon_as_it_can_be(noise):
    found = delays(noise, 300, 1500)
    third = found.by_frame[2]
    assert found.jumps > 1300
    if noise.correlation == 0.0:
        assert third >= 0.95
    # Nobody who keeps to the allowed rate can do better; r is learnt here, and known there.
    ideal = noise.ideal()
    assert ideal - 0.13 < third < ideal + 0.02
    assert found.by_frame[-1] > 0.88
    assert found.covered > 0.92


@pytest.mark.parametrize("noise", NOISES[4:], ids=lambda n: n.name)
def test_a_jump_of_counts_is_reported_as_soon_as_it_can_be(noise):
    found = delays(noise, 300, 1500)
    assert noise.ideal() - 0.15 < found.by_frame[2] < noise.ideal() + 0.02
    assert found.by_frame[-1] > 0.95
    assert found.covered > 0.8


def test_a_report_tells_frame_delay_and_both_levels():
    rng = np.random.default_rng(1)
    values = 5.0 + 0.1 * rng.standard_normal(200)
    values[120:] -= 1.0
    (change,) = reports(values)
    assert (change.series, change.frame) == ("x", 120)
    assert 120 < change.reported <= 122
    assert change.before[1] < 5.0 < change.before[2]
    assert change.after[1] < 4.0 < change.after[2]
    assert change.deviate < -change.limit
    assert change.plain()["delay_frames"] == change.reported - 120
    assert change.text()[0] == f"x = {change.before[0]:.4g}"
    assert change.text()[1].endswith("from frame 120")
    json.dumps(change.plain(), allow_nan=False)


def test_no_level_is_told_beyond_what_a_series_can_have():
    rng = np.random.default_rng(4)
    values = np.abs(0.5 + 0.1 * rng.standard_normal(200))
    values[120:] = np.abs(0.02 * rng.standard_normal(80))
    bounded = replace(ONE, lowest=0.0, highest=np.full(1, 0.55))
    (free,), (kept,) = reports(values), reports(values, bounded)
    assert free.after[1] < 0.0 == kept.after[1]
    assert kept.after[0] == max(free.after[0], 0.0)
    assert kept.before[2] <= 0.55
    assert (kept.frame, kept.reported, kept.deviate) == (free.frame, free.reported, free.deviate)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.01, 100.0), st.floats(-1e3, 1e3))
def test_scale_and_offset_of_a_series_do_not_matter(seed, scale, offset):
    values = np.random.default_rng(seed).standard_normal(120)
    values[80:] += 4.0
    kinds = Kinds(("x",), np.zeros(1), np.full(1, 1e-9))
    plain, moved = reports(values, kinds), reports(offset + scale * values, kinds)
    assert [(c.frame, c.reported) for c in plain] == [(c.frame, c.reported) for c in moved]


def test_one_bad_frame_is_no_change():
    rng = np.random.default_rng(2)
    kinds = Kinds(tuple(map(str, range(200))), np.zeros(200), np.full(200, 1e-3))
    values = rng.standard_normal((200, 200))
    quiet = len(reports(values, kinds))
    values[150] += 15.0
    assert len(reports(values, kinds)) - quiet < 0.12 * 200


def test_nothing_is_reported_before_the_warm_up_and_again_after_it():
    rng = np.random.default_rng(3)
    series = rng.standard_normal(WARM_UP + 120)
    series[WARM_UP:] += 10.0
    series[WARM_UP + 60 :] -= 10.0
    found = reports(series)
    assert [c.frame for c in found][:2] == [WARM_UP, WARM_UP + 60]
    early = rng.standard_normal(WARM_UP)
    early[WARM_UP // 2 :] += 10.0
    assert not reports(early)


def test_a_trend_is_followed_and_a_series_that_never_moves_is_not_noise_free():
    rng = np.random.default_rng(4)
    kinds = Kinds(tuple(map(str, range(50))), np.zeros(50), np.full(50, 1e-3))
    trend = rng.standard_normal((600, 50)) + 0.01 * np.arange(600)[:, None]
    assert len(reports(trend, kinds)) < 2e-3 * trend.size
    counts = Kinds(("n",), np.ones(1), np.full(1, 0.5))
    still = np.full(300, 20.0)
    still[150] = 21.0
    assert not reports(still, counts)
    still[200:] = 24.0
    assert [c.frame for c in reports(still, counts)] == [200]


def test_deviates_are_those_of_the_exact_tails():
    """Poisson of large and small mean against scipy's tail, and Student's t."""
    many = np.full(1, 1e9)
    for mean in (2.0, 6.0, 30.0):
        count = np.arange(np.ceil(mean + np.sqrt(mean)), mean + 6 * np.sqrt(mean))
        told = normal_deviates(
            (count - 0.5 - mean) / np.sqrt(mean), np.full(len(count), mean**-0.5), many
        )
        exact = -norm.ppf(poisson(mean).sf(count - 1))
        assert np.abs(told - exact).max() < 0.16
    x = np.linspace(0.5, 6, 12)
    told = normal_deviates(x, np.zeros(12), np.full(12, 20.0))
    assert told == pytest.approx(-norm.ppf(t(20).sf(x)), abs=0.03)


def test_parted_series_go_on_as_if_they_had_not_been():
    values = np.random.default_rng(5).standard_normal((150, 3))
    values[100:] += 5.0
    kinds = Kinds(("a", "b", "c"), np.zeros(3), np.full(3, 1e-3))
    past, found = Past.empty(3), []
    for frame, row in enumerate(values):
        past, changes = watch(past, row, frame, kinds, 0.95)
        found += changes
    assert found == reports(values, kinds)
    assert past.recent.shape == (RECENT, 3)


def test_the_tracker_reports_a_jump_of_its_density_with_its_delay():
    specimen = make_specimen(3, counts=(6, 0, 0, 6))
    tracker, rng = Tracker(TrackerSettings(), specimen.crystal), np.random.default_rng(0)
    fresh = make_specimen(7, counts=(0, 0, 25, 0)).vacancies
    found = []
    for frame in range(WARM_UP + 20):
        if frame == WARM_UP + 10:
            specimen.vacancies = fresh
        update = tracker.apply(info(frame), detect(specimen, View(noise=0.01, miss=0.02), rng))
        found += [e for e in update.events if e.kind == "change"]
        if frame == WARM_UP // 2:
            assert "defect_density_nm2" in tracker.statistics()["changes"]["warming_up"]
    told = tracker.statistics()["changes"]
    json.dumps(told, allow_nan=False)
    assert set(told["warming_up"]) == {c["series"] for c in told["last"]}
    density = [c for c in told["last"] if c["series"] == "defect_density_nm2"]
    assert [c["frame"] for c in density] == [WARM_UP + 10]
    assert density[0]["delay_frames"] <= 2
    now = tracker.statistics()["defect_density_nm2"]["now"]
    assert density[0]["after"]["low"] < now < density[0]["after"]["high"]
    assert len(found) == len(told["last"]) <= LAST
    assert any(e.before.startswith("populations.VS = ") and e.track == -1 for e in found)
    again = Tracker.restore(tracker.save(), TrackerSettings(), specimen.crystal)
    assert again.statistics()["changes"] == told
    assert again.save() == tracker.save()


def test_a_new_field_of_view_is_no_change():
    specimen = make_specimen(3, counts=(6, 2, 6, 4))
    tracker, rng = Tracker(TrackerSettings(), specimen.crystal), np.random.default_rng(0)
    for frame in range(WARM_UP + 10):
        constant = 10.5 if frame < WARM_UP + 5 else 14.0
        update = tracker.apply(info(frame), detect(specimen, View(constant=constant), rng))
        assert not [e for e in update.events if e.kind == "change"]
    assert len(tracker.statistics()["changes"]["warming_up"]) > 5


def test_the_table_is_printed():
    assert "AR(1), r = 0.6" in main_table(quick=True)


@pytest.mark.long
@pytest.mark.parametrize("noise", NOISES, ids=lambda n: n.name)
def test_the_long_form_of_false_reports(noise: Noise):
    assert false_reports(noise, 20000, 50) < ALLOWED


@pytest.mark.long
def test_all_series_of_a_specimen_at_rest_together():
    specimen = make_specimen(0)
    tracker, rng = Tracker(TrackerSettings(), specimen.crystal), np.random.default_rng(1)
    view, found = View(noise=0.02, miss=0.05, false=2, jitter=0.001), []
    for frame in range(1000):
        events = tracker.apply(info(frame), detect(specimen, view, rng)).events
        found += [e.before for e in events if e.kind == "change"]
    assert len(found) < len(tracker.statistics()["changes"]["series"]), found
