"""The frame port at the level of the socket: bad input of every kind, order, repetitions."""

from __future__ import annotations

import asyncio
import contextlib

import msgpack
import numpy as np
import pytest
import zmq
import zmq.asyncio

from latticewatch.binding import BindingError, check_binding
from latticewatch.client.errors import FrameError
from latticewatch.client.frames import EndHeader, encode_frame, pack_header
from latticewatch.client.replies import Ack, Ended, ErrorReply, SendAgain, parse_reply
from latticewatch.receiving.deliveries import Arrival, End, Gap, Refusal, StreamUnavailableError
from latticewatch.receiving.ingest import Ingest
from latticewatch.receiving.reorder import Position

WAIT_S = 20.0


class Source:
    """A sender that may send anything."""

    def __init__(self, endpoint):
        self.context = zmq.asyncio.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.set(zmq.LINGER, 0)
        self.socket.connect(endpoint)

    async def raw(self, *parts):
        await self.socket.send_multipart(parts)

    async def send(self, seq, *, epoch=1, stream="a", shape=(64, 64), dtype="uint8", changes=()):
        """Send a frame whose header is right but for `changes`."""
        frame = np.full(shape, seq % 100, dtype)
        header, buffer = encode_frame(frame, stream=stream, epoch=epoch, seq=seq, time_s=0.5 * seq)
        if changes:
            header = msgpack.packb({**msgpack.unpackb(header), **dict(changes)})
        await self.raw(header, buffer)

    async def end(self, seq, *, epoch=1, stream="a"):
        await self.raw(pack_header(EndHeader(stream, epoch, seq)))

    async def reply(self, wait_s=WAIT_S):
        if not await self.socket.poll(int(1000 * wait_s)):
            raise TimeoutError
        return parse_reply(await self.socket.recv())


@contextlib.asynccontextmanager
async def port(**options):
    """A frame port that runs, the queue behind it, and a source in front of it."""
    queue = options.pop("queue", None) or asyncio.Queue()
    async with Ingest("tcp://127.0.0.1:*", queue.put, **options) as ingest:
        task = asyncio.create_task(ingest.run())
        source = Source(ingest.endpoint)
        try:
            yield ingest, queue, source
        finally:
            source.context.destroy(linger=0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def get(queue):
    return await asyncio.wait_for(queue.get(), WAIT_S)


def run(test):
    """Run a coroutine function as a test."""

    def wrapped():
        asyncio.run(test())

    wrapped.__name__ = test.__name__
    return wrapped


@run
async def test_frames_are_handed_on_and_acknowledged():
    async with port() as (ingest, queue, source):
        await source.send(0, changes={"pixel_size_nm": 0.03})
        arrival = await get(queue)
        assert isinstance(arrival, Arrival)
        assert (arrival.stream, arrival.frame, arrival.epoch, arrival.seq) == ("a", 0, 1, 0)
        assert arrival.header.pixel_size_nm == 0.03
        np.testing.assert_array_equal(arrival.image, np.zeros((64, 64), np.uint8))
        await ingest.ack("a", 1, [0])
        assert await source.reply() == Ack("a", 1, (0,))
        assert ingest.counters.received["a"] == 1


@run
async def test_repetitions_are_answered_once_committed_and_never_handed_on_twice():
    async with port() as (ingest, queue, source):
        await source.send(0)
        await source.send(0)
        await source.send(1)
        assert [(await get(queue)).seq for _ in range(2)] == [0, 1]
        await ingest.ack("a", 1, [0])
        assert await source.reply() == Ack("a", 1, (0,))
        await source.send(0)
        assert await source.reply() == Ack("a", 1, (0,))
        assert queue.empty()
        assert ingest.counters.duplicate["a"] == 2


@run
async def test_frames_are_put_into_order():
    async with port() as (_, queue, source):
        for seq in (2, 0, 3, 1):
            await source.send(seq)
        assert [(await get(queue)).seq for _ in range(4)] == [0, 1, 2, 3]


@run
async def test_gap_is_told_after_a_while_when_too_few_follow():
    async with port(gap_timeout_s=0.05) as (ingest, queue, source):
        await source.send(0)
        await source.send(3)
        assert (await get(queue)).seq == 0
        assert await get(queue) == Gap("a", 1, 1, 1, 2)
        assert (await get(queue)).frame == 3
        assert ingest.counters.missing["a"] == 2
        await source.send(1)
        late = await source.reply()
        assert (late.field, late.seq) == ("seq", 1)


@run
async def test_end_comes_after_the_frames_and_is_answered():
    async with port() as (ingest, queue, source):
        await source.send(0)
        await source.end(2)
        assert (await get(queue)).seq == 0
        assert await get(queue) == Gap("a", 1, 1, 1, 1)
        assert await get(queue) == End("a", 2, 1, 2)
        await ingest.ended("a", 1, 2)
        assert await source.reply() == Ended("a", 1)
        await source.end(2)
        assert await source.reply() == Ended("a", 1)


HEADERS = {
    "dtype": {"dtype": "float16"},
    "shape": {"shape": [4096]},
    "shape ": {"shape": [20_000, 20_000]},
    "buffer": {"shape": [64, 65]},
    "rows": {"rows": 80},
    "row_start": {"row_start": 64},
    "time_s": {"time_s": float("nan")},
    "pixel_size_nm": {"pixel_size_nm": -1.0},
    "version": {"version": 2},
}


@pytest.mark.parametrize("field", HEADERS)
def test_bad_header_is_named_and_keeps_its_place(field):
    async def scene():
        async with port() as (ingest, queue, source):
            await source.send(0)
            await source.send(1, changes=HEADERS[field])
            await source.send(2)
            assert (await get(queue)).seq == 0
            refusal = await get(queue)
            assert isinstance(refusal, Refusal)
            assert (refusal.frame, refusal.error.field) == (1, field.strip())
            assert (await get(queue)).frame == 2
            await ingest.reject("a", 1, 1, refusal.error)
            reply = await source.reply()
            assert isinstance(reply, ErrorReply)
            assert (reply.field, reply.epoch, reply.seq) == (field.strip(), 1, 1)
            await source.send(1, changes=HEADERS[field])
            assert await source.reply() == reply
            assert ingest.counters.rejected[field.strip()] == 1
            assert ingest.counters.received["a"] == 2

    asyncio.run(scene())


GARBAGE = {
    "truncated": (msgpack.packb({"version": 1, "stream": "a"})[:-1], b"\0" * 4096),
    "no map": (msgpack.packb([1, 2, 3]), b""),
    "empty": (b"",),
    "greeting": (b"GET / HTTP/1.1\r\n\r\n",),
    "many parts": (b"a", b"b", b"c"),
    "huge header": (b"\xc1" * 100_000, b""),
    "no identity": (msgpack.packb({"version": 1}), b""),
    "negative seq": (
        msgpack.packb(
            {"version": 1, "stream": "a", "epoch": 1, "seq": -1, "shape": [64, 64],
             "dtype": "uint8", "time_s": 0.0}
        ),
        b"\0" * 4096,
    ),
    "path": (msgpack.packb({"version": 1, "type": "end", "stream": "../x", "epoch": 1, "seq": 0}),),
}  # fmt: skip


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_answered_and_good_frames_pass(kind):
    async def scene():
        async with port() as (ingest, queue, source):
            await source.send(0)
            await source.raw(*GARBAGE[kind])
            await source.send(1)
            assert [(await get(queue)).seq for _ in range(2)] == [0, 1]
            reply = await source.reply()
            assert isinstance(reply, ErrorReply)
            assert reply.field in ("header", "stream", "seq")
            assert sum(ingest.counters.rejected.values()) == 1

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("field", "change"), [("shape", {"shape": (64, 80)}), ("dtype", {"dtype": "uint16"})]
)
def test_a_format_that_changes_within_an_epoch_is_refused(field, change):
    async def scene():
        async with port() as (_, queue, source):
            await source.send(0)
            await source.send(1, **change)
            await source.send(0, epoch=2, **change)
            assert isinstance(await get(queue), Arrival)
            assert (await get(queue)).error.field == field
            assert isinstance(await get(queue), Arrival)

    asyncio.run(scene())


@run
async def test_content_that_the_pipeline_refuses_is_answered():
    """NaN, a constant frame and one without a lattice are found by the analysis, not the port."""
    async with port() as (ingest, queue, source):
        await source.send(0)
        arrival = await get(queue)
        error = FrameError("frame", "constant", "check the detector")
        await ingest.reject("a", arrival.epoch, arrival.seq, error)
        reply = await source.reply()
        assert (reply.field, reply.reason, reply.seq) == ("frame", "constant", 0)
        await source.send(1)
        assert (await get(queue)).seq == 1


@run
async def test_nothing_is_read_while_the_pipeline_is_full():
    async with port(queue=asyncio.Queue(1)) as (ingest, queue, source):
        for seq in range(6):
            await source.send(seq)
        first = await get(queue)
        await source.raw(b"garbage")
        with pytest.raises(TimeoutError):
            await source.reply(0.2)
        # one waits in the queue, one in the port's hand; the rest is not read
        assert ingest.counters.received["a"] <= 3
        assert [first.seq, *[(await get(queue)).seq for _ in range(5)]] == [0, 1, 2, 3, 4, 5]
        assert (await source.reply()).field == "header"


@run
async def test_streams_are_independent():
    async with port() as (_, queue, source):
        await source.send(1, stream="slow")
        await source.send(0, stream="quick")
        assert (await get(queue)).stream == "quick"
        await source.send(0, stream="slow")
        assert [(await get(queue)).frame for _ in range(2)] == [0, 1]


@run
async def test_number_of_streams_is_bounded():
    async with port(max_streams=1) as (_, queue, source):
        await source.send(0, stream="a")
        await source.send(0, stream="b")
        assert (await get(queue)).stream == "a"
        assert (await source.reply()).field == "stream"


@run
async def test_resumes_where_the_store_stands():
    async def resume(stream):
        assert stream == "a"
        return Position(epoch=1, seq=2, frame=5)

    async with port(resume=resume) as (_, queue, source):
        await source.send(1)
        assert await source.reply() == Ack("a", 1, (1,))
        await source.send(2)
        assert (await get(queue)).frame == 5


@run
async def test_answers_go_to_the_latest_connection_of_an_epoch():
    async with port() as (ingest, queue, source):
        await source.send(0)
        await get(queue)
        again = Source(ingest.endpoint)
        await again.send(1)
        await get(queue)
        await ingest.ack("a", 1, [0, 1])
        assert await again.reply() == Ack("a", 1, (0, 1))
        again.context.destroy(linger=0)


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://0.0.0.0:7701", "tcp://*:7701", "tcp://192.168.1.5:7701", "tcp://[::]:7701",
     "tcp://example.org:7701"],
)  # fmt: skip
def test_other_addresses_need_keys(endpoint):
    with pytest.raises(BindingError, match="keys"):
        Ingest(endpoint, asyncio.Queue().put)
    assert check_binding(endpoint, keys=True) == endpoint


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://127.0.0.1:7701", "tcp://127.0.0.1:*", "tcp://localhost:7701", "tcp://[::1]:7701",
     "ipc:///run/lattice"],
)  # fmt: skip
def test_loopback_needs_none(endpoint):
    assert check_binding(endpoint) == endpoint


@pytest.mark.parametrize("endpoint", ["", "7701", "tcp://7701", "http://127.0.0.1:1", "ipc://"])
def test_what_is_no_address_is_told(endpoint):
    with pytest.raises(BindingError, match="no address"):
        check_binding(endpoint)


class Locked:
    """A session that cannot be opened until it is let go."""

    def __init__(self):
        self.held = True

    async def resume(self, stream):
        if self.held:
            raise StreamUnavailableError(stream, "held by another")
        return Position()


@run
async def test_what_came_before_the_session_was_open_is_asked_for_with_the_first_that_follows():
    lock = Locked()
    async with port(resume=lock.resume) as (ingest, queue, source):
        for seq in range(3):
            await source.send(seq)
        await source.raw(b"barrier")
        await source.reply()
        lock.held = False
        await source.send(3)
        assert await source.reply() == SendAgain("a", 1, 0)
        for seq in range(4):
            await source.send(seq)
        assert [(await get(queue)).seq for _ in range(4)] == [0, 1, 2, 3]
        assert ingest.counters.asked_again["a"] == 1


@run
async def test_an_end_does_not_give_up_what_came_before_the_session_was_open():
    lock = Locked()
    async with port(resume=lock.resume) as (_, queue, source):
        await source.send(0)
        await source.raw(b"barrier")
        await source.reply()
        lock.held = False
        await source.end(1)
        assert await source.reply() == SendAgain("a", 1, 0)
        await source.send(0)
        await source.end(1)
        assert (await get(queue)).seq == 0
        assert await get(queue) == End("a", 1, 1, 1)


@run
async def test_rows_make_a_frame_and_a_bad_block_refuses_it():
    async with port() as (ingest, queue, source):
        image = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)

        async def block(seq, start, stop, **changes):
            header, _ = encode_frame(image, stream="a", epoch=1, seq=seq, time_s=0.5 * seq)
            fields = {
                **msgpack.unpackb(header),
                "row_start": start,
                "rows": stop - start,
                **changes,
            }
            await source.raw(msgpack.packb(fields), image[start:stop].tobytes())

        await block(0, 32, 64)
        await block(0, 0, 32)
        arrival = await get(queue)
        np.testing.assert_array_equal(arrival.image, image)
        assert (arrival.header.row_start, arrival.header.rows) == (None, None)
        await block(1, 0, 32)
        await block(1, 32, 64, rows=33)
        refusal = await get(queue)
        assert (refusal.seq, refusal.error.field) == (1, "rows")
        await block(2, 0, 32, rows=16)
        refusal = await get(queue)
        assert (refusal.seq, refusal.error.field) == (2, "buffer")
        assert ingest.counters.received["a"] == 1
