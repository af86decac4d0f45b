"""The pictures that a session keeps: few, spread evenly, the same ones whatever the batches."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from old_sessions import make_older

from latticewatch.alerting import Alarm
from latticewatch.client.table import DefectTable
from latticewatch.results import FrameResult
from latticewatch.storage.pictures import (
    KEPT_PX,
    MOST_ALERTS,
    MOST_SPREAD,
    Picture,
    chosen,
    interval,
    picture_of,
)
from latticewatch.storage.schema import StoreError
from latticewatch.storage.session import Session
from latticewatch.storage.store import Store


def alarm(frame: int, active: bool = True) -> Alarm:
    return Alarm(frame, float(frame), "holes", "warning", active, "holes", {})


def result(frame: int, raised: bool = False, ceased: bool = False) -> FrameResult:
    picture = Picture(np.full((2, 3), frame % 251, np.uint8), 4)
    alarms = (alarm(frame),) * raised + (alarm(frame, active=False),) * ceased
    table = DefectTable.empty()
    return FrameResult(frame, 1, frame, float(frame), table=table, alerts=alarms, picture=picture)


def without(one: FrameResult) -> FrameResult:
    return replace(one, picture=None, table=None, status="rejected", reason="noise")


@given(st.integers(0, 10**7))
@example(MOST_SPREAD - 1)
@example(MOST_SPREAD)
@example(64 * MOST_SPREAD - 1)
def test_spread_frames_are_bounded_even_and_never_wanted_back(last):
    apart = interval(last)
    kept = last // apart + 1
    assert kept <= MOST_SPREAD
    assert kept > MOST_SPREAD // 2 or last < MOST_SPREAD // 2
    # what a longer session keeps, a shorter one has kept
    assert interval(last + 1) % apart == 0


def batches(results, cuts):
    edges = [0, *sorted(cuts), len(results)]
    return [results[a:b] for a, b in pairwise(edges) if a < b]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["plain", "raised", "ceased", "refused"]), min_size=1, max_size=90),
    st.sets(st.integers(1, 89), max_size=20),
)
def test_what_is_kept_follows_from_the_frames_alone(tmp_path_factory, kinds, cuts):
    results = [result(k, kind == "raised", kind == "ceased") for k, kind in enumerate(kinds)]
    results = [
        without(one) if kind == "refused" else one for one, kind in zip(results, kinds, strict=True)
    ]
    usable = [k for k, kind in enumerate(kinds) if kind != "refused"]
    raised = [k for k in usable if kinds[k] == "raised"][:MOST_ALERTS]
    expected = {}
    if usable:
        apart = interval(usable[-1])
        spread = {k for k in usable if k % apart == 0}
        expected = {k: k in raised for k in sorted({*spread, usable[-1], *raised})}
    with Store.open(tmp_path_factory.mktemp("session")) as store:
        for batch in batches(results, {cut for cut in cuts if cut < len(results)}):
            store.commit(batch, b"", {})
        assert store.pictures() == expected
        for frame in expected:
            kept = store.picture(frame)
            np.testing.assert_array_equal(kept.image, results[frame].picture.image)
            assert kept.block == 4
    assert len(expected) <= MOST_SPREAD + MOST_ALERTS + 1


def test_the_first_alerts_are_kept_to_the_end():
    assert chosen([(40, True), (41, False), (42, True)], MOST_ALERTS - 1) == {40: True, 42: False}
    assert chosen([], 0) == {}


def test_a_picture_is_the_frame_itself_up_to_its_size():
    frame = np.random.default_rng(3).poisson(50, (600, 1100)).astype(np.uint16)
    small, large = picture_of(frame[:200, :300]), picture_of(frame)
    assert (small.image.shape, small.block) == ((200, 300), 1)
    assert (large.image.shape, large.block) == ((200, 366), 3)
    assert max(large.image.shape) <= KEPT_PX
    assert large.image.dtype == np.uint8


def test_a_commit_that_fails_leaves_the_pictures_as_they_were(tmp_path):
    with Store.open(tmp_path) as store:
        store.commit([result(0), result(1)], b"", {})
        with pytest.raises(StoreError, match="UNIQUE"):
            store.commit([replace(result(2), seq=0)], b"", {})
        assert store.pictures() == {0: False, 1: False}


def test_a_session_of_version_3_is_read_and_gets_pictures_and_settings(tmp_path):
    with Store.open(tmp_path) as store:
        store.commit([replace(result(0), picture=None)], b"", {})
        make_older(store, 3)
    with Session.open_read(tmp_path) as session:
        assert (session.pictures(), session.picture(0), session.settings()) == ({}, None, [])
    with Store.open(tmp_path) as store:
        store.record_settings({"threshold": 0.5})
        store.commit([result(1)], b"", {})
    with Session.open_read(tmp_path) as session:
        assert session.pictures() == {1: False}
        assert session.settings() == [{"frame": 1, "data": {"threshold": 0.5}}]


def test_settings_are_kept_with_the_frame_from_which_they_hold(tmp_path):
    first, second = {"threshold": 0.5, "model": {"scale": [0.8, 1.2]}}, {"threshold": 0.6}
    with Store.open(tmp_path) as store:
        store.record_settings(second)
        store.record_settings(first)  # no frame came under the others
        store.commit([result(0)], b"", {})
        store.record_settings(first)
        store.commit([result(1)], b"", {})
        store.record_settings(second)
        store.record_settings(first)
        assert store.settings() == [{"frame": 0, "data": first}]
        store.record_settings(second)
        assert store.settings() == [{"frame": 0, "data": first}, {"frame": 2, "data": second}]


def test_settings_that_cannot_be_written_leave_those_before(tmp_path):
    with Store.open(tmp_path) as store:
        store.record_settings({"a": 1})
        store._db.execute("PRAGMA busy_timeout = 1")
        other = sqlite3.connect(store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another program holds it"):
            store.record_settings({"a": 2})
        other.execute("ROLLBACK")
        other.close()
        assert store.settings() == [{"frame": 0, "data": {"a": 1}}]
