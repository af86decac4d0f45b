"""The tracker as a whole, on synthetic detections with known truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from synthetic import View, detect, info, make_specimen

from latticewatch.client.table import COLUMNS
from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.tracker.observation import check_finite
from latticewatch.tracker.series import Series
from latticewatch_models.crystal import crystal_named


def run(tracker, specimen, frames, seed=1, **view):
    """Apply frames; views drift by a third of a cell each."""
    rng = np.random.default_rng(seed)
    updates = []
    for frame in frames:
        seen = detect(specimen, View(drift=(3.5 * frame, -1.2 * frame), **view), rng)
        updates.append(tracker.apply(info(frame), seen))
    return updates


def test_drift_of_several_cells_leaves_sites_alone():
    specimen = make_specimen(0)
    tracker = Tracker(TrackerSettings(), specimen.crystal)
    updates = run(tracker, specimen, range(12))
    sites = {}
    for update in updates:
        table = update.table
        for track, i, j, s in zip(
            table["track"], table["site_i"], table["site_j"], table["sublattice"], strict=True
        ):
            assert sites.setdefault(int(track), (i, j, s)) == (i, j, s)
    assert updates[-1].drift_px == pytest.approx((38.5, -13.2), abs=0.05)


def test_table_has_the_columns_of_the_contract_and_statistics_are_json():
    specimen = make_specimen(0)
    tracker = Tracker(TrackerSettings(), specimen.crystal)
    table = run(tracker, specimen, range(8))[-1].table
    assert list(table) == list(COLUMNS)
    assert {len(column) for column in table.values()} == {len(table["frame"])}
    json.dumps(tracker.statistics(), allow_nan=False)
    json.dumps(Tracker(TrackerSettings(), specimen.crystal).statistics(), allow_nan=False)


def test_a_crystal_without_dopant_is_followed_without_states():
    specimen = make_specimen(5, "graphene", counts=(20, 10, 0, 4))
    tracker = Tracker(TrackerSettings(), specimen.crystal)
    table = run(tracker, specimen, range(8))[-1].table
    assert len(table["frame"]) > 20
    assert set(table["state"]) == {""}
    told = tracker.statistics()
    assert told["transitions"]["counts"] == [[]] * (TrackerSettings().max_gap_frames + 1)
    json.dumps(told, allow_nan=False)


def test_frames_out_of_order_are_refused_and_change_nothing():
    specimen = make_specimen(0)
    tracker = Tracker(TrackerSettings(), specimen.crystal)
    run(tracker, specimen, range(3))
    before = tracker.save()
    with pytest.raises(ValueError, match="once and in order"):
        tracker.apply(info(2), None)
    assert tracker.save() == before


def test_missing_frames_make_steps_longer_and_tracks_outlive_short_gaps():
    specimen = make_specimen(0)
    tracker = Tracker(TrackerSettings(max_gap_frames=2), specimen.crystal)
    rng, closed = np.random.default_rng(1), []
    for frame in range(14):
        if frame in (4, 5):
            closed += tracker.apply(info(frame), None).closed
        elif frame not in (9, 10, 11):  # never came: left out
            update = tracker.apply(info(frame), detect(specimen, View(noise=0.005), rng))
            closed += update.closed
        if frame == 8:
            assert not closed
    told = tracker.statistics()
    assert (told["frames"], told["missing"]) == (9, 5)
    dopants = int((update.table["species"] == "MoW").sum())
    assert dopants > 10
    lags = np.array(told["transitions"]["counts"]).sum(axis=(1, 2))
    # Two frames lost: one step at lag 3; three lost are more than a track outlives.
    assert lags.tolist() == [6 * dopants, 0, dopants]
    assert len(closed) == len(tracker.finish().closed) == len(update.table["frame"])
    assert not tracker.finish().closed


def test_track_numbers_are_never_used_twice_nor_on_two_rows():
    specimen = make_specimen(0)
    tracker = Tracker(TrackerSettings(), specimen.crystal)
    gone = set()
    for update in run(tracker, specimen, range(25), miss=0.3, false=6):
        tracks = update.table["track"].tolist()
        assert len(set(tracks)) == len(tracks)
        assert not gone & set(tracks)
        gone |= {c.track for c in update.closed}
    assert gone


def test_states_keep_their_direction_when_the_gauge_turns():
    specimen = make_specimen(2)
    cells = [c for c, s in specimen.metal.items() if s == "MoW"][:9]
    for k, cell in enumerate(cells):
        i, j = ((0, 0), (-1, -1), (0, -1))[k % 3]
        specimen.vacancies.append((cell[0] + i, cell[1] + j))
    tracker = Tracker(TrackerSettings(), specimen.crystal)
    rng = np.random.default_rng(3)
    for frame in range(10):
        view = View(turn=0 if frame == 0 else int(rng.integers(0, 3)), noise=0.01)
        table = tracker.apply(info(frame), detect(specimen, view, rng)).table
        for i, j, s, state in zip(
            table["site_i"], table["site_j"], table["sublattice"], table["state"], strict=True
        ):
            if s == 0 and specimen.metal[(i, j)] == "MoW":
                assert state == specimen.state((i, j))
        # Vacancies beside a dopant have no row of their own.
        held = {(c[0], c[1]) for c in specimen.vacancies[-9:]}
        rows = zip(table["site_i"], table["site_j"], table["sublattice"], strict=True)
        assert not held & {(int(i), int(j)) for i, j, s in rows if s == 1}
    counts = np.array(tracker.statistics()["transitions"]["counts"][0])
    assert counts.trace() == counts.sum() > 0


def test_bound_vacancies_are_still_seen_by_diffusion():
    specimen = make_specimen(2, counts=(6, 0, 0, 0))
    cell = next(iter(specimen.metal))
    tracker = Tracker(TrackerSettings(), specimen.crystal)
    rng = np.random.default_rng(3)
    for frame in range(30):
        i, j = ((0, 0), (-1, -1), (0, -1))[frame // 10]
        specimen.vacancies = [(cell[0] + i, cell[1] + j)]
        tracker.apply(info(frame), detect(specimen, View(noise=0.01), rng))
    told = tracker.statistics()["diffusion"]
    assert told["all"]["site_changes"] == 2
    assert told["all"]["steps"] == 29
    assert told["free"]["steps"] == 0


def test_a_wrong_pixel_size_shows_in_the_lattice_constant():
    specimen = make_specimen(0)
    for pixel, source in ((0.033, "header"), (None, "lattice")):
        tracker = Tracker(TrackerSettings(), specimen.crystal)
        for frame in range(4):
            seen = detect(specimen, View(jitter=0.001), np.random.default_rng(frame))
            tracker.apply(info(frame, pixel=pixel), seen)
        told = tracker.statistics()
        assert told["pixel_size_source"] == source
        if pixel is None:
            assert told["pixel_size_nm"] == pytest.approx(0.3153 / 10.5, rel=0.005)
            assert set(told["lattice"]["deviation"].values()) == {None}
        else:
            assert told["lattice"]["deviation"]["mean"] == pytest.approx(0.0989, abs=0.005)


def test_nanometres_are_free_of_drift():
    specimen = make_specimen(0)
    tracker = Tracker(TrackerSettings(), specimen.crystal)
    places = {}
    for update in run(tracker, specimen, range(10), jitter=0.0005):
        table = update.table
        for track, x, y in zip(table["track"], table["x_nm"], table["y_nm"], strict=True):
            places.setdefault(int(track), []).append((x, y))
    spread = [np.std(p, axis=0).max() for p in places.values() if len(p) == 10]
    assert len(spread) > 10
    assert np.median(spread) < 0.03 * 0.45  # 0.3 px of localisation error, and little else


def test_frames_without_defects_are_frames():
    specimen = make_specimen(0, counts=(0, 0, 0, 0))
    tracker = Tracker(TrackerSettings(), specimen.crystal)
    update = run(tracker, specimen, range(3))[-1]
    assert len(update.table["frame"]) == 0
    assert tracker.statistics()["frames"] == 3


def test_state_of_another_crystal_or_settings_is_refused():
    specimen, settings = make_specimen(0), TrackerSettings()
    data = Tracker(settings, specimen.crystal).save()
    with pytest.raises(ValueError, match="crystal WS2, not MoS2"):
        Tracker.restore(data, settings, crystal_named("MoS2"))
    with pytest.raises(ValueError, match=r"other settings \(classes\)"):
        Tracker.restore(data, TrackerSettings(classes=4), specimen.crystal)
    with pytest.raises(ValueError, match="no saved tracker state"):
        Tracker.restore(b"\x93nonsense", settings, specimen.crystal)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["centre", "neighbours", "patches", "probability"])
def test_numbers_that_are_none_are_refused_and_change_nothing(name, value):
    specimen = make_specimen(0)
    tracker = Tracker(TrackerSettings(), specimen.crystal)
    seen = detect(specimen, View(), np.random.default_rng(0))
    before = tracker.save()
    getattr(seen, name).flat[0] = value
    with pytest.raises(ValueError, match=name):
        tracker.apply(info(0), seen)
    assert tracker.save() == before


def test_a_number_whose_square_is_none_is_a_number():
    seen = detect(make_specimen(0), View(), np.random.default_rng(0))
    seen.patches.flat[0] = np.finfo(seen.patches.dtype).max
    check_finite(seen)


@pytest.mark.parametrize("stop", [1, 5, 9])
def test_restored_tracker_goes_on_byte_for_byte(stop):
    specimen, settings = make_specimen(0), TrackerSettings()
    whole = Tracker(settings, specimen.crystal)
    run(whole, specimen, range(14), miss=0.1, false=2)
    rng = np.random.default_rng(1)
    parted = Tracker(settings, specimen.crystal)
    for frame in range(14):
        view = View(drift=(3.5 * frame, -1.2 * frame), miss=0.1, false=2)
        parted.apply(info(frame), detect(specimen, view, rng))
        if frame == stop:
            parted = Tracker.restore(parted.save(), settings, specimen.crystal)
    assert parted.save() == whole.save()
    assert parted.statistics() == whole.statistics()


def test_intervals_of_counts_and_shares_stay_in_their_range():
    series = Series.empty(1)
    for value in [0.0] * 20 + [1.0]:
        series = series.add(np.array([value]))
    summary = series.summary(0, 0.95, highest=1.0)
    assert summary["low"] == 0.0
    assert 0.0 < summary["mean"] < summary["high"] <= 1.0
