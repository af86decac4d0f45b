"""Everything that a source may get wrong, against a live service: an answer each, and no harm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgpack
import numpy as np
import pytest
import zmq

from latticewatch.client.frames import encode_frame
from latticewatch.client.replies import Ack, ErrorReply, Reply, parse_reply
from latticewatch.processes import running_service
from latticewatch_models.microscope import Microscope

SIDE = 128


@pytest.fixture(scope="module")
def frames_port(tmp_path_factory) -> Iterator[str]:
    with running_service(tmp_path_factory.mktemp("data")) as (service, ports):
        yield ports["frames"]
        assert service.poll() is None, "the service ended"


class Source:
    """A foreign source: bare pyzmq, header and buffer as they are given."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set(zmq.LINGER, 0)
        self._socket.connect(endpoint)

    def ask(self, *parts: bytes) -> Reply:
        self._socket.send_multipart(parts)
        assert self._socket.poll(20_000), "no answer"
        return parse_reply(self._socket.recv())

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture
def source(frames_port) -> Iterator[Source]:
    with contextlib.closing(Source(frames_port)) as source:
        yield source


def crystal(seq: int = 0) -> np.ndarray:
    return next(iter(Microscope(shape=(SIDE, SIDE), seed=seq))).image


def header(stream: str, **changes: object) -> dict:
    fields = {
        "version": 1,
        "stream": stream,
        "epoch": 1,
        "seq": 0,
        "shape": [SIDE, SIDE],
        "dtype": "uint16",
        "time_s": 0.0,
    }
    fields.update(changes)
    return fields


def good(stream: str, seq: int) -> tuple[bytes, bytes]:
    return encode_frame(crystal(seq), stream=stream, epoch=1, seq=seq, time_s=float(seq))


def assert_serving(source: Source, stream: str, seq: int) -> None:
    assert source.ask(*good(stream, seq)) == Ack(stream, 1, (seq,))


BUFFER = crystal().tobytes()

BAD_MESSAGES = {
    "wrong length": (msgpack.packb(header("length")), BUFFER[:-2], "buffer"),
    "unknown dtype": (msgpack.packb(header("dtype", dtype="complex64")), BUFFER, "dtype"),
    "one-dimensional": (msgpack.packb(header("flat", shape=[SIDE * SIDE])), BUFFER, "shape"),
    "20,000 x 20,000": (msgpack.packb(header("vast", shape=[20_000] * 2)), BUFFER, "shape"),
    "truncated msgpack": (msgpack.packb(header("torn"))[:-5], BUFFER, "header"),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_a_bad_message_is_answered_with_the_field_at_fault(source, name):
    packed, buffer, field = BAD_MESSAGES[name]
    reply = source.ask(packed, buffer)
    assert isinstance(reply, ErrorReply)
    assert reply.field == field
    assert reply.reason
    assert reply.mend
    assert_serving(source, f"after-{field}-{name[:1]}", 0)


def ramp() -> np.ndarray:
    return np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.float32)


def noise() -> np.ndarray:
    return np.random.default_rng(3).poisson(9, (SIDE, SIDE)).astype(np.uint16)


def with_nan() -> np.ndarray:
    image = crystal().astype(np.float32)
    image[5, 7] = np.nan
    return image


@pytest.mark.parametrize(
    ("name", "make", "cause"),
    [
        ("nan", with_nan, "NaN"),
        ("constant", lambda: np.full((SIDE, SIDE), 7, np.uint16), "constant"),
        ("ramp", ramp, "lattice"),
        (
            "noise",
            lambda: np.random.default_rng(3).poisson(9, (SIDE, SIDE)).astype("u2"),
            "lattice",
        ),
    ],
)
def test_a_frame_without_usable_content_is_refused_for_good(source, name, make, cause):
    parts = encode_frame(make(), stream=name, epoch=1, seq=0, time_s=0.0)
    reply = source.ask(*parts)
    assert isinstance(reply, ErrorReply)
    assert (reply.field, reply.stream, reply.seq) == ("frame", name, 0)
    assert cause in reply.reason
    assert reply.mend
    assert source.ask(*parts) == reply, "a resend gets the same answer"


def test_a_shape_that_changes_within_a_stream_is_refused(source):
    assert_serving(source, "changing", 0)
    smaller = crystal(1)[:-16, :-16]
    reply = source.ask(*encode_frame(smaller, stream="changing", epoch=1, seq=1, time_s=1.0))
    assert isinstance(reply, ErrorReply)
    assert reply.field == "shape"
    assert_serving(source, "changing", 2)
