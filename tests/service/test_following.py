"""A subscriber that was away gets every frame once, in order, from the store; restarts included."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticewatch.alerting import Alarm
from latticewatch.client import Alert, Defects, QueryError, Statistics, Subscriber
from latticewatch.client.following import Following
from latticewatch.client.publisher import Publisher
from latticewatch.client.table import DefectTable
from latticewatch.client.wire import pack, unpack
from latticewatch.processes import running_service
from latticewatch.queries import store_handlers
from latticewatch.receiving.deliveries import Gap
from latticewatch.results import FrameResult, missing_frames
from latticewatch.storage.store import Store
from latticewatch_models.microscope import Microscope

STREAM = "a"


def table(frame: int, n: int = 2) -> DefectTable:
    zeros = {name: np.zeros(n) for name in DefectTable.empty().to_dict()}
    words = {"species": ["VS"] * n, "state": [""] * n}
    return DefectTable(**{**zeros, **words, "frame": np.full(n, frame), "track": np.arange(n)})


def result(frame: int, epoch: int, seq: int, alerts: int = 0) -> FrameResult:
    told = tuple(
        Alarm(frame, float(frame), f"rule {k}", "warning", True, "text", {"value": k})
        for k in range(alerts)
    )
    return FrameResult(frame, epoch, seq, float(frame), table=table(frame), alerts=told)


def ask(handlers, question):
    query = unpack(pack({"op": "since", **question}))
    return unpack(pack({"ok": True, **handlers["since"](query)}))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=6),
    st.lists(st.integers(0, 2), min_size=24, max_size=24),
    st.integers(0, 24),
)
def test_every_frame_and_alert_once_and_in_order(tmp_path_factory, batches, alerts, since):
    """Whatever is committed between two questions."""
    folder = tmp_path_factory.mktemp("data")
    place, told, count = Following(STREAM, since), [], 0
    with Store.open(folder / STREAM, fsync="never") as store:
        for size in batches:
            batch = [result(k, 7, k, alerts[k]) for k in range(count, count + size)]
            count += size
            store.commit(batch, b"", {"frames": count})
            told += list(place.take(ask(store_handlers(folder), place.question())))
            told += list(place.take(ask(store_handlers(folder), place.question())))
    seen = []
    for message in told:
        if isinstance(message, Alert):
            seen.append((message.frame, "alert", message.values["value"]))
        elif isinstance(message, Defects):
            assert message.table == table(message.frame)
            seen.append((message.frame, "defects"))
        else:
            assert isinstance(message, Statistics)
            seen.append((message.frame, "statistics", message.data["frames"]))
    expected = []
    for frame in range(since, count):
        expected += [(frame, "alert", k) for k in range(alerts[frame])]
        expected.append((frame, "defects"))
        if frame + 1 in itertools.accumulate(batches):
            expected.append((frame, "statistics", frame + 1))
    # from a frame that is yet to come on, the statistics before it are told where it is the next
    if since and since in itertools.accumulate(batches):
        expected.insert(0, (since - 1, "statistics", since))
    assert seen == expected


@pytest.mark.parametrize(
    ("epoch", "seq", "first"),
    [(7, 0, 0), (7, 2, 2), (7, 3, 3), (7, 99, 4), (9, 0, 4), (9, 1, 5), (9, 2, 6), (9, 50, 6)],
)
def test_epoch_and_sequence_number_name_a_frame(tmp_path, epoch, seq, first):
    with Store.open(tmp_path / STREAM) as store:
        store.commit([result(0, 7, 0), *missing_frames(Gap(STREAM, 1, 7, 1, 2))], b"", {})
        store.commit([result(3, 7, 3), result(4, 9, 0), result(5, 9, 1)], b"", {"frames": 6})
    answer = ask(store_handlers(tmp_path), {"stream": STREAM, "epoch": epoch, "seq": seq})
    assert answer["first"] == first
    place = Following(STREAM, (epoch, seq))
    frames = [m.frame for m in place.take(answer) if isinstance(m, Defects)]
    assert frames == [k for k in (0, 3, 4, 5) if k >= first]


def send(publisher, frames):
    for frame in frames:
        publisher.send(frame.image, time_s=frame.time_s, **frame.header)
    assert publisher.flush(60)


def numbers(messages):
    return [m.frame for m in messages if isinstance(m, Defects)]


def until(messages, frame):
    """What comes up to the statistics of that frame."""
    told = []
    for message in messages:
        told.append(message)
        if isinstance(message, Statistics) and message.frame >= frame:
            return told
    raise AssertionError(f"the statistics of frame {frame} never came: {numbers(told)}")


def test_a_subscriber_that_was_away_misses_nothing_over_a_restart(tmp_path):
    frames = list(Microscope(shape=(128, 128), seed=5).frames(12))
    topics = ("statistics",)
    with running_service(tmp_path) as (_, ports):
        with (
            Publisher(ports["frames"], STREAM, 3) as publisher,
            Subscriber(ports["results"], STREAM, topics, ports["queries"]) as results,
        ):
            send(publisher, frames[:3])
            first = until(results.follow(), 2)
            assert numbers(first) == [0, 1, 2]
        with Publisher(ports["frames"], STREAM, 4) as publisher:  # the subscriber is away
            send(publisher, frames[3:6])
    names = ("frames", "results", "queries")
    same = [part for name in names for part in (f"--{name}", ports[name])]
    with Subscriber(ports["results"], STREAM, topics, ports["queries"]) as results:
        following = results.follow(since=(3, 3))
        with running_service(tmp_path, *same), Publisher(ports["frames"], STREAM, 5) as publisher:
            send(publisher, frames[6:9])
            second = until(following, 8)
            assert numbers(second) == [3, 4, 5, 6, 7, 8]
        # once more, under the subscriber
        with running_service(tmp_path, *same), Publisher(ports["frames"], STREAM, 6) as publisher:
            send(publisher, frames[9:])
            publisher.end()
            assert publisher.flush(60)
            third = []
            while not (third and isinstance(third[-1], Statistics) and third[-1].data["ended"]):
                third.append(next(following))
            assert numbers(third) == [9, 10, 11]
    with Store.open(tmp_path / STREAM) as store:
        everything = [m.table for m in (*first, *second, *third) if isinstance(m, Defects)]
        assert DefectTable.concat(everything) == store.defects()
        assert third[-1].data == store.statistics()


def test_what_cannot_be_followed_is_told(tmp_path):
    with Store.open(tmp_path / STREAM) as store:
        store.commit([result(0, 7, 0)], b"", {})
    with running_service(tmp_path) as (_, ports):
        where, asked = ports["results"], ports["queries"]
        with (
            Subscriber(where, STREAM, query_endpoint=asked) as results,
            pytest.raises(QueryError, match="not in the session"),
        ):
            next(results.follow(since=(8, 0)))
        with Subscriber(where, "unknown", query_endpoint=asked, timeout=0.1) as results:
            assert list(results.follow()) == []
        with Subscriber(where) as results, pytest.raises(ValueError, match="one stream"):
            next(results.follow())
        with Subscriber(where, STREAM) as results, pytest.raises(QueryError, match="endpoint"):
            next(results.follow())
