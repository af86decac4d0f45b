"""The results and query ports, with the client's Subscriber on the other side."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import msgpack
import numpy as np
import pytest
import zmq

from latticewatch.binding import BindingError
from latticewatch.client import (
    Defects,
    Overlay,
    QueryClient,
    QueryError,
    Statistics,
    Subscriber,
    subscriber,
)
from latticewatch.client.messages import COLUMN_TYPES, DefectTable, Health, encode
from latticewatch.conflating import MOST_REQUESTS, Askers
from latticewatch.publishing import Publishing
from latticewatch.queries import MAX_FRAMES, Queries, store_handlers
from latticewatch.results import FrameResult
from latticewatch.storage.store import Store

WAIT_S = 20.0


def table(frame, n=2):
    columns = {
        name: np.full(n, "VS") if kind == "str" else np.full(n, frame % 100)
        for name, kind in COLUMN_TYPES.items()
    }
    return DefectTable(**{**columns, "frame": np.full(n, frame)})


def defects(frame, stream="a"):
    return Defects(stream=stream, epoch=1, frame=frame, time_s=0.5 * frame, table=table(frame))


def statistics(frame, stream="a"):
    return Statistics(stream=stream, frame=frame, data={"frames": frame + 1})


@contextlib.asynccontextmanager
async def answering(port):
    """Run a port that was entered."""
    task = asyncio.create_task(port.run())
    try:
        yield port
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def running(port):
    """Enter a port and run it meanwhile."""
    async with port, answering(port):
        yield port


def receive(subscriber):
    return asyncio.to_thread(subscriber.receive, WAIT_S)


def test_late_subscriber_gets_the_snapshot_and_then_every_update():
    async def scene():
        async with running(Publishing("tcp://127.0.0.1:*")) as port:
            for frame in range(5):
                await port.publish(statistics(frame))
            with Subscriber(port.endpoint) as late:
                first = await receive(late)
                assert (first.snapshot, first.seq, first.frame, first.missed) == (True, 5, 4, 0)
                await port.publish(statistics(5))
                second = await receive(late)
                assert (second.snapshot, second.seq, second.data) == (False, 6, {"frames": 6})
                assert second.published_s >= first.published_s

    asyncio.run(scene())


def test_an_update_sent_while_a_subscription_waits_does_not_come_before_the_snapshot():
    async def scene():
        async with Publishing("tcp://127.0.0.1:*") as port:
            await port.publish(statistics(0))
            with Subscriber(port.endpoint, topics=("statistics",)) as late:
                await port._socket.poll(1000 * WAIT_S)  # the subscription is there, unanswered
                await port.publish(statistics(1))
                async with answering(port):
                    first = await receive(late)
                assert (first.snapshot, first.frame, first.seq) == (True, 1, 2)

    asyncio.run(scene())


def test_a_subscription_is_taken_while_another_peer_goes(monkeypatch):
    """ZeroMQ forgets whose request was read last when it hears that another connection ended."""
    read = zmq.Socket.recv_multipart

    async def scene():
        async with Publishing("tcp://127.0.0.1:*") as port:
            socket = zmq.Socket.shadow(port._socket)
            ends = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            one = Subscriber(port.endpoint, topics=("health",))
            assert await port._socket.poll(1000 * WAIT_S)
            assert port._taken() == [b"health"]

            def read_as_it_goes(*arguments):
                parts = read(*arguments)
                one.close()
                assert ends.poll(1000 * WAIT_S)
                return parts

            with Subscriber(port.endpoint, topics=("health",)) as other:
                assert await port._socket.poll(1000 * WAIT_S)
                monkeypatch.setattr(zmq.Socket, "recv_multipart", read_as_it_goes)
                assert port._taken() == [b"health"]
                monkeypatch.undo()
                await port.publish(Health(state="ok", values={}))
                assert (await receive(other)).kind == "health"
            socket.disable_monitor()

    asyncio.run(scene())


def test_a_lost_subscription_is_made_anew_after_a_silence(monkeypatch):
    """ZeroMQ takes one peer's for another's where a third sends what is no subscription."""
    monkeypatch.setattr(subscriber, "RENEW_S", 0.2)

    async def scene():
        async with Publishing("tcp://127.0.0.1:*") as port:
            await port.publish(Health(state="ok", values={}))
            await port.publish(overlay())
            with Subscriber(port.endpoint, topics=("health", "overlay")) as other:
                waiting = asyncio.create_task(receive(other))
                for _ in ("health", "latest/..."):
                    assert await port._socket.poll(1000 * WAIT_S)
                    await port._socket.recv_multipart()  # and nothing is granted
                async with answering(port):
                    kinds = {(await waiting).kind, (await receive(other)).kind}
                assert kinds == {"health", "overlay"}

    asyncio.run(scene())


def test_subscriber_that_is_there_already_drops_the_snapshot():
    async def scene():
        async with running(Publishing("tcp://127.0.0.1:*")) as port:
            await port.publish(statistics(0))
            with Subscriber(port.endpoint) as early:
                await receive(early)
                with Subscriber(port.endpoint) as late:
                    assert (await receive(late)).frame == 0
                    await port.publish(statistics(1))
                    assert [(await receive(one)).frame for one in (early, late)] == [1, 1]
                    assert early.dropped == 1

    asyncio.run(scene())


def test_streams_and_topics_are_chosen_exactly():
    async def scene():
        async with running(Publishing("tcp://127.0.0.1:*")) as port:
            for stream in ("ab", "a"):
                await port.publish(statistics(0, stream))
                await port.publish(defects(0, stream))
            await port.publish(Health())
            with Subscriber(port.endpoint, "a", topics=("defects", "health")) as chosen:
                got = [await receive(chosen) for _ in range(2)]
                assert {(m.kind, m.stream) for m in got} == {("defects", "a"), ("health", "")}
                await port.publish(defects(1, "ab"))
                await port.publish(defects(1, "a"))
                assert (await receive(chosen)).stream == "a"

    asyncio.run(scene())


def test_slow_subscriber_delays_nobody_and_sees_what_it_lost():
    async def scene():
        image = np.zeros((512, 512), np.uint8)
        overlay = Overlay(stream="a", frame_shape=(512, 512), image=image)
        async with running(Publishing("tcp://127.0.0.1:*", send_ahead=4)) as port:
            await port.publish(overlay)
            with Subscriber(
                port.endpoint, topics=("overlay",), receive_ahead=4, overlays="every"
            ) as slow:
                got = [await receive(slow)]
                for _ in range(200):  # 50 MB: far more than any buffer between them
                    await asyncio.wait_for(port.publish(overlay), WAIT_S)
                while got[-1].seq < 201:
                    with contextlib.suppress(TimeoutError):
                        got.append(await asyncio.to_thread(slow.receive, 0.2))
                        continue
                    await port.publish(overlay)
                missed = sum(message.missed for message in got)
                assert missed > 0
                assert missed + len(got) == got[-1].seq - got[0].seq + 1

    asyncio.run(scene())


def overlay(stream="a", side=512):
    image = np.zeros((side, side), np.uint8)
    return Overlay(stream=stream, frame_shape=(side, side), image=image)


def test_a_slow_subscriber_gets_the_newest_overlay_and_every_other_message():
    async def scene():
        passed = Counter()
        port = Publishing(
            "tcp://127.0.0.1:*",
            send_ahead=4,
            superseded=lambda stream, count: passed.update({stream: count}),
        )
        async with running(port):
            await port.publish(overlay())
            topics = ("overlay", "statistics")
            with Subscriber(port.endpoint, topics=topics, receive_ahead=4) as slow:
                first = await receive(slow)
                assert (first.kind, first.seq, first.snapshot) == ("overlay", 1, True)
                for number in range(200):  # 50 MB: far more than any buffer between them
                    await port.publish(overlay())
                    if number % 50 == 0:
                        await port.publish(statistics(number))
                got = [await receive(slow) for _ in range(5)]
                told = [message.frame for message in got if message.kind == "statistics"]
                assert told == [0, 50, 100, 150]
                (newest,) = [message for message in got if message.kind == "overlay"]
                assert (newest.seq, newest.missed, newest.snapshot) == (201, 199, False)
                assert passed == {"a": 199}

    asyncio.run(scene())


def test_overlays_of_all_streams_come_in_turn():
    async def scene():
        async with running(Publishing("tcp://127.0.0.1:*")) as port:
            for stream in "abc":
                await port.publish(overlay(stream, 64))
            with Subscriber(port.endpoint, topics=("overlay",)) as slow:
                got = {(await receive(slow)).stream}
                for _ in range(10):
                    await port.publish(overlay("a", 64))
                got |= {(await receive(slow)).stream for _ in range(2)}
                assert got == {"a", "b", "c"}

    asyncio.run(scene())


def test_what_a_subscriber_asked_for_is_forgotten_when_it_has_gone():
    async def scene():
        async with running(Publishing("tcp://127.0.0.1:*")) as port:
            await port.publish(overlay(side=64))
            with Subscriber(port.endpoint, topics=("overlay",)) as one:
                await receive(one)
                await port.publish(overlay(side=64))
                assert (await receive(one)).seq == 2
                assert len(port._askers) in (1, 2)  # the old one goes after the new one came
            while len(port._askers):  # until ZeroMQ has noticed
                await port.publish(statistics(0))
                await asyncio.sleep(0)

    asyncio.run(scene())


def test_a_foreign_subscriber_of_everything_has_no_part_in_what_others_ask():
    async def scene():
        async with running(Publishing("tcp://127.0.0.1:*")) as port:
            with zmq.Context() as context, context.socket(zmq.SUB) as foreign:
                foreign.set(zmq.LINGER, 0)
                foreign.connect(port.endpoint)
                foreign.subscribe(b"")
                await port.publish(overlay(side=64))
                with Subscriber(port.endpoint, topics=("overlay",)) as asking:
                    await receive(asking)
                    await port.publish(overlay(side=64))
                    await receive(asking)
                await port.publish(statistics(7))
                topics = []
                while topics[-1:] != [b"statistics/a"]:
                    topics.append((await asyncio.to_thread(foreign.recv_multipart))[0])
                assert set(topics) == {b"overlay/a", b"statistics/a"}

    asyncio.run(scene())


@pytest.mark.parametrize(
    "subscription",
    [b"latest/", b"latest/0123abcd.1/defects/a", b"latest/0123abcd.1/overlay/../a",
     b"latest/0123ABCD.1/overlay/a", b"latest/0123abcd.1/overlay/" + b"a" * 65,
     b"latest/0123abcd.1234567890123/overlay/a"],
)  # fmt: skip
def test_what_is_no_request_is_not_kept(subscription):
    askers = Askers()
    assert not askers.ask(subscription)
    assert len(askers) == 0


def test_requests_are_bounded_and_counted():
    askers = Askers()
    for number in range(MOST_REQUESTS + 10):
        askers.ask(b"latest/%08x.1/overlay/a" % number)
    assert len(askers) == MOST_REQUESTS
    # a connection that was lost, and its successor: the end of the first is not that of both
    askers = Askers()
    for _ in range(2):
        assert askers.ask(b"latest/00000000.1/overlay/a")
    askers.withdraw(b"latest/00000000.1/overlay/a")
    newest = {"overlay/a": overlay(side=64)}
    assert [answer.topic for answer in askers.answers(newest)] == [b"latest/00000000.1/overlay/a"]
    assert askers.answers(newest) == []


def test_restarted_service_counts_anew_and_the_gap_is_known_by_its_frames():
    async def scene():
        async with running(Publishing("tcp://127.0.0.1:*")) as port:
            await port.publish(defects(0))
            endpoint = port.endpoint
            subscriber = Subscriber(endpoint, "a", topics=("defects",))
            assert (await receive(subscriber)).frame == 0
        with subscriber:
            again = Publishing(endpoint)
            again.seed(defects(2))
            async with running(again) as port:
                got = [await receive(subscriber)]
                await port.publish(defects(5))
                got.append(await receive(subscriber))
                assert [(m.frame, m.seq, m.snapshot) for m in got] == [(2, 0, True), (5, 1, False)]
                assert [m.gap for m in got] == [(1, 1), (3, 4)]

    asyncio.run(scene())


def test_gap_is_fetched_from_the_store(tmp_path):
    async def scene():
        with Store.open(tmp_path / "a") as store:
            for frame in range(6):
                store.commit([FrameResult(frame, 1, frame, 0.5, table=table(frame))], b"", {})
        query = Queries("tcp://127.0.0.1:*", store_handlers(tmp_path))
        async with running(Publishing("tcp://127.0.0.1:*")) as port, running(query):
            await port.publish(defects(0))
            with Subscriber(
                port.endpoint, "a", ("defects",), query_endpoint=query.endpoint
            ) as subscriber:
                first = await receive(subscriber)
                assert len(subscriber.fetch_gap(first)) == 0
                port._latest["defects/a"] = encode_later(port, 3)
                await port.publish(defects(4))
                message = await receive(subscriber)
                assert (message.missed, message.gap) == (3, (1, 3))
                gap = await asyncio.to_thread(subscriber.fetch_gap, message)
                assert gap == DefectTable.concat([table(1), table(2), table(3)])

    def encode_later(port, lost):
        """What the port would hold had `lost` messages been dropped for this subscriber."""
        latest = port._latest["defects/a"]
        return Defects(**{**vars(latest), "seq": latest.seq + lost})

    asyncio.run(scene())


def test_queries(tmp_path):
    async def scene():
        frames = MAX_FRAMES + 10
        with Store.open(tmp_path / "a") as store:
            rows = [FrameResult(k, 1, k, 0.5, table=table(k)) for k in range(frames)]
            store.commit(rows, b"", {"frames": frames})
            async with running(Queries("tcp://127.0.0.1:*", store_handlers(tmp_path))) as port:
                client = QueryClient(port.endpoint, WAIT_S)
                assert await asyncio.to_thread(client.streams) == ["a"]
                snapshot = await asyncio.to_thread(client.snapshot, "a")
                assert snapshot["statistics"] == {"frames": frames}
                assert (snapshot["epoch"], snapshot["frame"]) == (1, frames - 1)
                whole = await asyncio.to_thread(client.defects, "a")
                np.testing.assert_array_equal(whole.frame, np.repeat(np.arange(frames), 2))
                assert len(await asyncio.to_thread(client.defects, "a", 3, 5)) == 6
                answer = await asyncio.to_thread(client.ask, "frames", stream="a", first=2, last=2)
                assert answer["frames"][0]["status"] == "ok"
                answer = await asyncio.to_thread(client.ask, "checks", stream="a")
                assert (answer["checks"], answer["models"]) == ([], [])

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("op", "fields", "named"),
    [
        ("explode", {}, "op"),
        ("snapshot", {}, "stream"),
        ("snapshot", {"stream": "../a"}, "stream"),
        ("snapshot", {"stream": "unknown"}, "stream"),
        ("defects", {"stream": "a", "first": -1}, "first"),
    ],
)
def test_bad_queries_are_refused_by_name(tmp_path, op, fields, named):
    async def scene():
        Store.open(tmp_path / "a").close()
        async with running(Queries("tcp://127.0.0.1:*", store_handlers(tmp_path))) as port:
            client = QueryClient(port.endpoint, WAIT_S)
            with pytest.raises(QueryError, match=f"refused: {named}"):
                await asyncio.to_thread(client.ask, op, **fields)
            assert await asyncio.to_thread(client.streams) == ["a"]

    asyncio.run(scene())


@pytest.mark.parametrize("garbage", [b"", b"\xc1\xc1", msgpack.packb([1]), msgpack.packb(5)])
def test_garbage_on_the_query_port_is_answered(tmp_path, garbage):
    async def scene():
        async with running(Queries("tcp://127.0.0.1:*", store_handlers(tmp_path))) as port:
            with zmq.Context() as context, context.socket(zmq.REQ) as socket:
                socket.set(zmq.LINGER, 0)
                socket.connect(port.endpoint)
                socket.send(garbage)
                assert await asyncio.to_thread(socket.poll, int(1000 * WAIT_S))
                assert msgpack.unpackb(socket.recv())["ok"] is False

    asyncio.run(scene())


def test_no_service_is_told():
    with pytest.raises(QueryError, match="is the service running"):
        QueryClient("tcp://127.0.0.1:1", 0.05).streams()
    with Subscriber("tcp://127.0.0.1:1", timeout=0.01) as subscriber:
        assert list(subscriber) == []
        with pytest.raises(QueryError, match="query_endpoint"):
            _ = subscriber.queries


def test_subscriber_says_what_cannot_be():
    with pytest.raises(ValueError, match="overlay, alert"):
        Subscriber("tcp://127.0.0.1:1", topics=("statistic",))
    with pytest.raises(ValueError, match="cannot name a stream"):
        Subscriber("tcp://127.0.0.1:1", "a/b")


def test_garbage_on_the_results_port_is_skipped():
    with zmq.Context() as context, context.socket(zmq.XPUB) as port:
        port.set(zmq.LINGER, 0)
        port.bind("tcp://127.0.0.1:*")
        with Subscriber(port.get_string(zmq.LAST_ENDPOINT), topics=("statistics",)) as subscriber:
            assert port.poll(int(1000 * WAIT_S))
            port.send_multipart([b"statistics/a", b"garbage"])
            port.send_multipart(encode(statistics(3)))
            assert subscriber.receive(WAIT_S).frame == 3
            assert subscriber.unreadable == 1


def test_results_and_queries_stay_on_loopback(tmp_path):
    with pytest.raises(BindingError):
        Publishing("tcp://0.0.0.0:7702")
    with pytest.raises(BindingError):
        Queries("tcp://*:7703", store_handlers(tmp_path))
