"""Vacancies of all frames in the place of those of one: rows, names, and what stays as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.tracker.anchor import Alignment
from latticewatch.tracker.fusion import amounts_of, fuse
from latticewatch.tracker.site_filter import SiteFilter
from latticewatch.vacancies import Vacancies
from latticewatch_models.crystal import CRYSTALS, crystal_named

from .synthetic import View, detect, info, make_specimen

WS2 = CRYSTALS["WS2"]
STILL = Alignment(np.eye(2), np.zeros(2), 0, flipped=False)
SIDE = 14
JUDGED = np.stack(np.meshgrid(np.arange(-SIDE, SIDE), np.arange(-SIDE, SIDE)), -1).reshape(-1, 2)


def judged(detections, specimen, contrast: float, rng) -> Vacancies:
    """Every column around the centre, those of the specimen's vacancies darker by `contrast`."""
    n = len(JUDGED)
    truth = np.isin(JUDGED @ [1000, 1], np.array(specimen.vacancies).reshape(-1, 2) @ [1000, 1])
    value = rng.standard_normal(n) - contrast * truth
    amounts = contrast * np.array([1.0, 2.0, 0.5])
    ratio = -(value[:, None] + 0.5 * amounts) * amounts
    return Vacancies(
        cells=JUDGED,
        points=detections.lattice.site_positions(JUDGED, np.ones(n, int)),
        probability=np.full(n, 0.01),
        bright=value > 3.0,
        shares=np.array([0.01, 0.001]),
        intensity=0.15 + 0.15 * value / contrast,
        ratio=ratio[:, :2],
        odd=ratio[:, 2],
    )


def frame_of(specimen, seed: int, contrast: float = 3.0):
    rng = np.random.default_rng(seed)
    seen = detect(specimen, View(), rng)
    return replace(seen, vacancies=judged(seen, specimen, contrast, rng))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_rows_are_surest_first_on_sites_of_their_own_and_others_stay(seed: int) -> None:
    seen = frame_of(make_specimen(seed % 5), seed)
    _, merged, told = fuse(SiteFilter.empty(2), 0, seen, STILL, WS2, None)
    assert len(merged) == len(told.fused) == len(told.bare) == len(merged.patches)
    assert (np.diff(merged.probability) <= 0).all()
    sites = np.column_stack([merged.cells, merged.sublattice])
    assert len(np.unique(sites, axis=0)) == len(sites)
    before, after = seen.sublattice != 1, merged.sublattice != 1
    for name in ("x_px", "centre", "probability"):
        np.testing.assert_array_equal(
            np.sort(getattr(seen, name)[before]), np.sort(getattr(merged, name)[after])
        )
    assert not told.fused[after].any()
    assert not told.bare[~told.fused].any()
    expected = told.amounts[told.fused].sum(axis=1)
    np.testing.assert_allclose(merged.probability[told.fused], expected)


def test_a_column_brighter_than_its_host_is_left_to_the_network() -> None:
    specimen = make_specimen(0)
    seen = frame_of(specimen, 1)
    row = int(np.flatnonzero(seen.sublattice == 1)[0])
    mine = (seen.vacancies.cells == seen.cells[row]).all(axis=1)
    bright = replace(seen.vacancies, bright=seen.vacancies.bright | mine)
    _, merged, told = fuse(
        SiteFilter.empty(2), 0, replace(seen, vacancies=bright), STILL, WS2, None
    )
    here = (merged.cells == seen.cells[row]).all(axis=1) & (merged.sublattice == 1)
    assert merged.probability[here] == seen.probability[row]
    assert not told.fused[here].any()


def test_without_judged_columns_nothing_changes() -> None:
    seen = detect(make_specimen(0), View(), np.random.default_rng(0))
    known, merged, told = fuse(SiteFilter.empty(2), 0, seen, STILL, WS2, None)
    assert merged is seen
    assert known.frame == -1
    assert told.expected is None
    assert amounts_of(crystal_named("graphene")) == ()


def test_a_frame_in_which_no_column_could_be_judged_keeps_its_detections() -> None:
    seen = frame_of(make_specimen(0), 1)
    known, _, _ = fuse(SiteFilter.empty(2), 0, seen, STILL, WS2, None)
    none = replace(seen, vacancies=seen.vacancies.take(np.zeros(len(JUDGED), bool)))
    after, merged, told = fuse(known, 1, none, STILL, WS2, None)
    assert after is known
    assert merged is none
    assert not told.fused.any()
    lost, _, _ = fuse(known, 1, none, replace(STILL, lost=True), WS2, None)
    assert lost.frame == -1


def test_faint_vacancies_are_rows_once_several_frames_have_told_them() -> None:
    """No detection of theirs at all: what the filter adds has a place, a species and no class."""
    specimen, tracker = make_specimen(3), Tracker(TrackerSettings(), WS2)
    hidden = replace(specimen, vacancies=[])
    true = {v for v in specimen.vacancies if max(map(abs, v)) < SIDE - 1}
    for frame in range(12):
        rng = np.random.default_rng(100 + frame)
        seen = detect(hidden, View(), rng)
        seen = replace(seen, vacancies=judged(seen, specimen, 2.0, rng))
        table = tracker.apply(info(frame), seen).table
    rows = np.isin(table["species"].astype(str), ["VS", "VS2"]) & (table["sublattice"] == 1)
    found = set(zip(table["site_i"][rows].tolist(), table["site_j"][rows].tolist(), strict=True))
    assert len(true) > 5
    assert len(found & true) >= len(true) - 1
    assert len(found - true) <= 1
    assert (table["class_id"][rows] == -1).all()
    assert (table["probability"][rows] > 0.2).all()
    spoken = tracker.statistics()["fusion"]["expected_vacancies"]["now"]
    assert abs(spoken - len(true)) < 3


def test_the_filter_goes_on_after_a_restart_as_if_there_had_been_none() -> None:
    specimen, one = make_specimen(2), Tracker(TrackerSettings(), WS2)
    other = Tracker(TrackerSettings(), WS2)
    for frame in range(8):
        seen = frame_of(specimen, 50 + frame, 2.0)
        one.apply(info(frame), seen)
        other.apply(info(frame), seen)
        other = Tracker.restore(other.save(), TrackerSettings(), WS2)
    assert one.save() == other.save()
