"""A stream beyond its window is turned away, others are not; who goes back loses nothing."""

from __future__ import annotations

import asyncio
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch.client import Publisher
from latticewatch.client.replies import Ack, SendAgain
from latticewatch.client.room import MOST_IN_FLIGHT
from latticewatch.receiving.allowance import Allowance
from latticewatch.receiving.deliveries import Arrival, End, Gap

sys.path.insert(0, str(Path(__file__).parent))

from test_ingest import Source, get, port, run

LIMIT = 4


@given(
    st.integers(1, 12),
    st.integers(1, MOST_IN_FLIGHT),
    st.integers(1, 150),
    st.lists(st.integers(0, 20), max_size=40),
)
def test_a_source_that_goes_back_gets_everything_through_in_order(most, window, frames, pace):
    """A go-back-N sender of any window, a service that commits when it likes: no frame is left."""
    allowance = Allowance(most)
    taken = settled = following = 0
    times = iter(pace)
    for _ in range(20 * frames + 100):
        while following < min(frames, settled + window):
            if allowance.admits(b"peer", (1, following)):
                assert following == taken, "taken before an earlier one"
                allowance.in_hand += 1
                taken += 1
            assert allowance.in_hand <= most
            following += 1
        for _ in range(min(taken - settled, next(times, most))):
            allowance.settled()
            settled += 1
            asked = allowance.ask()
            if asked is not None:
                assert asked == (1, taken)
                following = taken
    assert settled == frames


def test_one_that_does_not_go_back_is_heard_again_in_runs():
    allowance, heard = Allowance(LIMIT), []
    for seq in range(400):
        if allowance.admits(b"peer", (1, seq)):
            heard.append(seq)
            allowance.in_hand += 1
        if seq % 5 == 0 and allowance.in_hand:
            allowance.settled()
    runs = np.split(heard, np.flatnonzero(np.diff(heard) > 1) + 1)
    assert len(runs) > 2
    assert all(run[0] - before[-1] > MOST_IN_FLIGHT / 2 for before, run in pairwise(runs))
    assert min(len(run) for run in runs[:-1]) >= LIMIT // 2


def test_a_new_connection_begins_anew():
    allowance = Allowance(1)
    assert allowance.admits(b"old", (1, 0))
    allowance.in_hand += 1
    assert not allowance.admits(b"old", (1, 1))
    allowance.settled()
    assert not allowance.admits(b"old", (1, 2))
    # what it was turned away with went with the process: it begins with what it still has
    assert allowance.admits(b"new", (1, 2))


@pytest.mark.parametrize("in_flight", [0, MOST_IN_FLIGHT + 1])
def test_a_publisher_takes_no_window_beyond_that(in_flight):
    with pytest.raises(ValueError, match="in_flight"):
        Publisher("tcp://127.0.0.1:1", in_flight=in_flight)


@run
async def test_others_go_on_beside_a_flood():
    async with port(in_hand=LIMIT) as (ingest, queue, good):
        flood = Source(ingest.endpoint)
        for seq in range(200):
            await flood.send(seq, stream="flood")
        for seq in range(10):
            await good.send(seq, stream="good")
            while True:
                arrival = await get(queue)
                if arrival.stream == "good":
                    break
            assert arrival.seq == seq
            await ingest.ack("good", 1, [seq])
            assert await good.reply() == Ack("good", 1, (seq,))
        assert ingest.counters.received["flood"] == LIMIT
        assert ingest.counters.overrun["flood"] > 0
        assert ingest.counters.overrun["good"] == 0
        flood.context.destroy(linger=0)


@run
async def test_what_was_turned_away_is_asked_for_once_there_is_room_and_the_end_too():
    async with port(in_hand=LIMIT) as (ingest, queue, source):
        for seq in range(LIMIT + 3):
            await source.send(seq)
        await source.end(LIMIT + 3)
        assert [(await get(queue)).seq for _ in range(LIMIT)] == list(range(LIMIT))
        await source.raw(b"barrier")
        assert (await source.reply()).field == "header"
        assert ingest.counters.overrun["a"] == 4
        for seq in range(LIMIT):
            await ingest.ack("a", 1, [seq])
        replies = [await source.reply() for _ in range(LIMIT + 1)]
        assert [reply for reply in replies if isinstance(reply, SendAgain)] == [
            SendAgain("a", 1, LIMIT)
        ]
        for seq in range(LIMIT, LIMIT + 3):
            await source.send(seq)
        await source.end(LIMIT + 3)
        got = [await get(queue) for _ in range(4)]
        assert [type(one) for one in got] == [Arrival, Arrival, Arrival, End]


@run
async def test_a_publisher_with_a_window_beyond_the_service_loses_nothing():
    async with port(in_hand=LIMIT) as (ingest, queue, _):

        def send():
            with Publisher(ingest.endpoint, "a", 1, in_flight=MOST_IN_FLIGHT) as publisher:
                for number in range(150):
                    publisher.send(np.full((64, 64), number, np.uint8), time_s=float(number))
                publisher.end()
                assert publisher.flush(60)
                return publisher.stats

        sending = asyncio.ensure_future(asyncio.to_thread(send))
        got = []
        while not got or not isinstance(got[-1], End):
            got.append(await get(queue))
            assert not isinstance(got[-1], Gap)
            if isinstance(got[-1], Arrival):
                await ingest.ack("a", 1, [got[-1].seq])
        await ingest.ended("a", 1, got[-1].seq)
        stats = await sending
        assert [one.seq for one in got] == list(range(151))
        assert (stats.acked, stats.rejected) == (150, 0)
