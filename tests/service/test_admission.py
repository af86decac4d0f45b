"""Who is let in, through real sockets: strangers, revoked and other keys get nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import numpy as np
import pytest
import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from latticewatch.client.asking import QueryClient
from latticewatch.client.frames import encode_frame
from latticewatch.client.keys import Keys, read_public
from latticewatch.client.messages import Health
from latticewatch.client.publisher import Publisher
from latticewatch.client.subscriber import Subscriber
from latticewatch.client.wire import pack
from latticewatch.publishing import Publishing
from latticewatch.queries import Queries
from latticewatch.receiving.deliveries import Arrival
from latticewatch.receiving.ingest import Ingest
from latticewatch.security import Admission, Keyring
from latticewatch.security import admission as admissions

ANY = "tcp://127.0.0.1:*"
TIMEOUT_S = 20.0

REFUSALS = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_DISCONNECTED
)


@pytest.fixture
def keyring(tmp_path):
    keyring = Keyring(tmp_path / "keys")
    keyring.new("service")
    return keyring


@pytest.fixture(autouse=True)
def look_at_every_message(monkeypatch):
    monkeypatch.setattr(admissions, "LOOK_EVERY_S", 0.0)


def peer(keyring, name, *rights):
    public, _ = keyring.new(name)
    keyring.allow(name, read_public(public), rights)
    return Keys.load(public.parent)


async def outcome(endpoint, kind, keys, parts):
    """Send parts through a bare socket; the first event that tells how the handshake went."""
    context = zmq.asyncio.Context()
    try:
        socket = context.socket(kind)
        socket.set(zmq.LINGER, 0)
        if keys is not None:
            keys.apply(socket)
        monitor = socket.get_monitor_socket(REFUSALS | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        socket.connect(endpoint)
        if parts:
            await socket.send_multipart(parts)
        message = await asyncio.wait_for(recv_monitor_message(monitor), TIMEOUT_S)
        socket.disable_monitor()
        return message["event"]
    finally:
        context.destroy(linger=0)


@contextlib.asynccontextmanager
async def running(port):
    """A port that serves in the background."""
    async with port:
        task = asyncio.ensure_future(port.run())
        try:
            yield port
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def frame_parts(seq=0):
    image = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    header, buffer = encode_frame(image, stream="s", epoch=1, seq=seq, time_s=0.0)
    return [header, buffer]


class Taken:
    """Deliveries of an ingest, each acknowledged; `arrived` can be awaited."""

    def __init__(self):
        self.seqs, self.arrived, self.ingest = [], asyncio.Event(), None

    async def __call__(self, delivery):
        if isinstance(delivery, Arrival):
            self.seqs.append(delivery.seq)
            self.arrived.set()
            await self.ingest.ack(delivery.stream, delivery.epoch, [delivery.seq])


def ingest_of(keyring):
    taken = Taken()
    taken.ingest = Ingest(ANY, taken, admission=Admission(keyring, "publish"))
    return taken.ingest, taken


@pytest.mark.parametrize("who", ["nobody", "stranger", "revoked", "subscriber", "impostor"])
def test_frames_of_those_who_may_not_publish_never_arrive(keyring, tmp_path, who):
    allowed = peer(keyring, "titan", "publish")
    revoked = peer(keyring, "old", "publish")
    keyring.revoke("old")
    other = Keyring(tmp_path / "other")
    other.new("service")
    who = {
        "nobody": None,
        "stranger": Keys.load(keyring.new("stranger")[0].parent),
        "revoked": revoked,
        "subscriber": peer(keyring, "anna", "subscribe", "control"),
        "impostor": Keys(allowed.public, allowed.secret, other.pair()[0]),
    }[who]

    async def scenario():
        ingest, taken = ingest_of(keyring)
        async with running(ingest):
            event = await outcome(ingest.endpoint, zmq.DEALER, who, frame_parts())
            assert event & REFUSALS
            # one who may comes after: all that was before it has been dealt with
            assert not await outcome(ingest.endpoint, zmq.DEALER, allowed, None) & REFUSALS
            assert taken.seqs == []
            assert not ingest.counters.received
            assert not ingest.counters.rejected

    asyncio.run(scenario())


def test_an_allowed_publisher_is_heard_and_answered(keyring):
    keys = peer(keyring, "titan", "publish")

    async def scenario():
        ingest, taken = ingest_of(keyring)
        async with running(ingest):
            image = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
            with Publisher(ingest.endpoint, "s", keys=keys) as publisher:
                publisher.send(image)
                assert await asyncio.to_thread(publisher.flush, TIMEOUT_S)
            assert taken.seqs == [0]

    asyncio.run(scenario())


def test_a_key_that_is_revoked_is_silenced_at_once(keyring):
    keys = peer(keyring, "titan", "publish")

    async def scenario():
        ingest, taken = ingest_of(keyring)
        denied = asyncio.Event()
        ingest.admission._on_denied = lambda _: denied.set()
        async with running(ingest):
            context = zmq.asyncio.Context()
            socket = context.socket(zmq.DEALER)
            try:
                socket.set(zmq.LINGER, 0)
                keys.apply(socket)
                socket.connect(ingest.endpoint)
                await socket.send_multipart(frame_parts(0))
                await asyncio.wait_for(taken.arrived.wait(), TIMEOUT_S)
                keyring.revoke("titan")
                await socket.send_multipart(frame_parts(1))
                await asyncio.wait_for(denied.wait(), TIMEOUT_S)
            finally:
                context.destroy(linger=0)
        assert taken.seqs == [0]

    asyncio.run(scenario())


def test_a_publisher_that_is_refused_says_so_and_goes_on_when_it_is_allowed(keyring, caplog):
    public, _ = keyring.new("late")
    keys = Keys.load(public.parent)
    caplog.set_level(logging.WARNING, "latticewatch")

    async def scenario():
        ingest, taken = ingest_of(keyring)
        refused = asyncio.Event()
        loop = asyncio.get_running_loop()
        ingest.admission._on_denied = lambda _: loop.call_soon_threadsafe(refused.set)
        async with running(ingest):
            with Publisher(ingest.endpoint, "s", keys=keys) as publisher:
                publisher.send(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))
                await asyncio.wait_for(refused.wait(), TIMEOUT_S)
                keyring.allow("late", read_public(public), ["publish"])
                assert await asyncio.to_thread(publisher.flush, TIMEOUT_S)
        assert taken.seqs == [0]

    asyncio.run(scenario())
    assert "does not let this source in" in caplog.text
    assert "a stranger asked to publish" in caplog.text
    assert keys.secret.decode() not in caplog.text


def test_results_go_to_those_who_may_subscribe_and_end_when_they_no_longer_may(keyring):
    anna, boris = peer(keyring, "anna", "subscribe"), peer(keyring, "boris", "subscribe")
    publisher_only = peer(keyring, "titan", "publish")

    async def scenario():
        port = Publishing(ANY, admission=Admission(keyring, "subscribe"))
        reopened = asyncio.Event()
        original = port._reopen

        async def reopen():
            await original()
            reopened.set()

        port._reopen = reopen
        async with running(port):
            await port.publish(Health(state="ok", values={}))
            assert await outcome(port.endpoint, zmq.SUB, publisher_only, None) & REFUSALS
            topics = ("health",)
            with (
                Subscriber(port.endpoint, topics=topics, keys=anna) as first,
                Subscriber(port.endpoint, topics=topics, keys=boris) as second,
            ):
                for subscriber in (first, second):
                    await asyncio.to_thread(subscriber.receive, TIMEOUT_S)
                keyring.revoke("anna")
                await asyncio.wait_for(reopened.wait(), TIMEOUT_S)
                await port.publish(Health(state="degraded", values={}))
                # who still may is back by itself, with what it missed
                message = await asyncio.to_thread(second.receive, TIMEOUT_S)
                while message.state != "degraded":
                    message = await asyncio.to_thread(second.receive, TIMEOUT_S)
                heard = set()
                with contextlib.suppress(TimeoutError):
                    while True:
                        heard.add(first.receive(0.0).state)
                assert heard <= {"ok"}

    asyncio.run(scenario())


def test_queries_are_answered_to_those_who_may_ask(keyring):
    allowed, stranger = peer(keyring, "anna", "control"), peer(keyring, "eve", "subscribe")

    async def scenario():
        port = Queries(
            ANY, {"streams": lambda _: {"streams": ["a"]}}, Admission(keyring, "control")
        )
        async with running(port):
            client = QueryClient(port.endpoint, TIMEOUT_S, allowed)
            assert await asyncio.to_thread(client.streams) == ["a"]
            asked = [b"", pack({"op": "streams"})]
            assert await outcome(port.endpoint, zmq.DEALER, stranger, asked) & REFUSALS

    asyncio.run(scenario())


def test_a_damaged_key_file_shuts_nobody_out(keyring, caplog):
    keys = peer(keyring, "titan", "publish")
    admission = Admission(keyring, "publish")
    (keyring.folder / "publish" / "bad.key").write_text("x")
    assert admission.callback("publish", keys.public)
    assert "stay as they were" in caplog.text
    (keyring.folder / "publish" / "bad.key").unlink()
    keyring.revoke("titan")
    assert not admission.callback("publish", keys.public)
    assert admission.denied == 1
