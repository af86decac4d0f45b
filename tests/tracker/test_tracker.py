"""The tracker as a whole, on synthetic detections with known truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from synthetic import View, detect, info, make_specimen

from latticewatch.tracker import COLUMNS, Tracker, TrackerSettings


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


def test_frames_out_of_order_are_refused_and_change_nothing():
    specimen = make_specimen(0)
    tracker = Tracker(TrackerSettings(), specimen.crystal)
    run(tracker, specimen, range(3))
    before = tracker.save()
    with pytest.raises(ValueError, match="once and in order"):
        tracker.apply(info(2), None)
    assert tracker.save() == before


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
