"""Garbage: mutated messages against the decoders and a live service, and port scanners' greetings.

    python bench/garbage.py [--messages 1000000] [--seed 0]

Nothing may crash, the service's memory may not grow by more than 5 % after a tenth of the messages,
and the results of good frames that come meanwhile must be those of a quiet service. Each stream
takes memory, and a service has 16 at most: as many are opened before the garbage begins, so that
what grows then is what the garbage leaves.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import socket as sockets
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgpack
import numpy as np
import zmq

from latticewatch.client import messages
from latticewatch.client.asking import QueryClient
from latticewatch.client.errors import FrameError, MessageError
from latticewatch.client.frames import (
    EndHeader,
    FrameHeader,
    encode_frame,
    frame_array,
    pack_header,
    parse_message,
)
from latticewatch.client.publisher import Publisher
from latticewatch.client.replies import Ack, Ended, ErrorReply, pack_reply, parse_reply
from latticewatch.client.table import DefectTable
from latticewatch.client.wire import pack, unpack
from latticewatch.config import StreamLimits
from latticewatch.processes import running_service
from latticewatch.queries import Queries, store_handlers
from latticewatch_models.microscope import Microscope

Parts = list[bytes]

#: Heads of msgpack values that claim to be vast, or that end early.
HEADS = [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc1",
         b"\xdb\x7f\xff\xff\xff", b"\xcf" + b"\xff" * 8, b"\xcb\x7f\xf8" + bytes(6),
         b"\xc9\xff\xff\xff\xff\x01", b"\x91" * 600, b"\x81\xa1a" * 600]  # fmt: skip

#: What port scanners and strayed clients say first.
GREETINGS = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    bytes.fromhex("16030100c8010000c40303") + bytes(range(189)),  # a TLS client's hello
    b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",  # RDP
    b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48),  # ZMTP, and then nothing
    b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48) + b"\x06" + b"\x7f" + b"\xff" * 7,
    b"\n", b"\0" * 64, b"",
]  # fmt: skip

#: The good frames that come meanwhile, and that all sides of a stream of garbage are small.
GOOD, SIDE = 6, 64

#: Memory is read after each of so many parts of the messages; it may grow by so much after the
#: first.
PARTS, GROWTH = 10, 0.05


def corpus() -> dict[str, list[Parts]]:
    """Whole messages, by who reads them."""
    image = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    told = {"beam": {"kV": 60.0, "apertures": [1, 2.5, None]}, "operator": "x" * 40}
    frames = [
        list(encode_frame(image.astype(dtype), stream=f"g{k}", epoch=k, seq=k, metadata=told))
        for k, dtype in enumerate(("uint8", "uint16", "float32"))
    ]
    place = {"stream": "g", "epoch": 1, "frame": 3, "time_s": 0.5}
    table = DefectTable(**{
        name: ["VS"] * 3 if name in ("species", "state") else np.arange(3)
        for name in DefectTable.empty().to_dict()
    })  # fmt: skip
    results = [
        messages.Defects(**place, table=table, timings_ms={"segment": 1.0}),
        messages.Statistics(**place, data={"populations": {"VS": {"now": 3.0}}, "list": [1, None]}),
        messages.Overlay(
            **place, image=image, frame_shape=(SIDE, SIDE), points=np.zeros((2, 2), np.float32),
            labels=["a", "b"], tracks=np.arange(2),
        ),
        messages.Alert(**place, rule="r", text="t", values={"v": 1}),
        messages.Health(values={"streams": {"g": 1}}),
    ]  # fmt: skip
    replies = [
        Ack("g", 1, (1, 2, 3)), Ended("g", 1), ErrorReply("seq", "late", "send in order", "g", 1, 2)
    ]  # fmt: skip
    queries = [
        {"op": op, "stream": "a", "first": 0, "last": 1}
        for op in ("streams", "snapshot", "defects", "frames", "checks", "alerts", "since")
    ]
    return {
        "frames": [*frames, [pack_header(EndHeader("g1", 1, 3))]],
        "results": [messages.encode(message) for message in results],
        "replies": [[pack_reply(reply)] for reply in replies],
        "queries": [[pack(query)] for query in queries],
    }


def mutated(rng: random.Random, parts: Parts) -> Parts:
    """One to four changes to a message."""
    parts = list(parts)
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.1:
            _mutate_parts(rng, parts)
        if parts:
            # the first part that is a header is where the meaning is
            k = rng.randrange(len(parts)) if rng.random() < 0.3 else min(len(parts) - 1, 1)
            k = 0 if rng.random() < 0.5 else k
            parts[k] = _mutate_bytes(rng, parts[k])
    return parts or [b""]


def _mutate_parts(rng: random.Random, parts: Parts) -> None:
    k = rng.randrange(len(parts)) if parts else 0
    kind = rng.randrange(3)
    if kind == 0 and parts:
        del parts[k]
    elif kind == 1 and parts:
        parts.insert(k, parts[k])
    else:
        parts.append(rng.randbytes(rng.randint(0, 40)))


def _mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    end = min(len(data), at + rng.choice([1, 1, 1, 2, 4, 16]))
    kind = rng.randrange(7)
    if kind == 0 and data:
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + rng.randbytes(end - at) + data[end:]
    if kind == 2:
        return data[:at] + data[end:]
    if kind == 3:
        return data[:at] + rng.randbytes(rng.randint(1, 8)) + data[at:]
    if kind == 4:
        return data[:at]
    if kind == 5:
        return data[:at] + rng.choice(HEADS) + data[end:]
    return data[:at] + data[at:end] * rng.randint(2, 9) + data[end:]


def mutations(count: int, seed: int, *readers: str) -> Iterator[tuple[str, Parts]]:
    """Mutated messages and who reads them."""
    rng, whole = random.Random(seed), corpus()  # noqa: S311 - no secret
    for _ in range(count):
        reader = rng.choice(readers)
        yield reader, mutated(rng, rng.choice(whole[reader]))


def against_decoders(count: int, seed: int, data: Path) -> Counter[str]:
    """Let every decoder read; raises what none may raise. Counts what was read and refused."""
    answer = Queries("tcp://127.0.0.1:*", store_handlers(data))._answer
    seen: Counter[str] = Counter()
    for reader, parts in mutations(count, seed, "frames", "results", "replies", "queries"):
        try:
            if reader == "frames":
                header = parse_message(parts[0])
                if isinstance(header, FrameHeader):
                    frame_array(header, parts[1] if len(parts) > 1 else b"")
            elif reader == "results":
                messages.decode(parts)
            elif reader == "replies":
                parse_reply(parts[-1])
            else:
                seen["read" if unpack(answer(parts[-1]))["ok"] else "refused"] += 1
                continue
        except (FrameError, MessageError):
            seen["refused"] += 1
        else:
            seen["read"] += 1
    return seen


@dataclass(frozen=True)
class Live:
    """What came of garbage against a live service."""

    messages: int
    answers: int
    greetings: int
    undisturbed: bool
    memory_bytes: list[int]
    """Resident before the messages, and after each tenth of them."""

    @property
    def growth(self) -> float:
        """Most that memory has grown by after the first tenth, as a share."""
        _, first, *later = self.memory_bytes
        return max(later) / first - 1


def against_ports(count: int, seed: int, data: Path, fill: bool = False) -> Live:
    """Send garbage to every port of a service while good frames come; raises if it ends.

    With `fill` the service has all the streams that it takes before the garbage begins.
    """
    with running_service(data) as (service, ports), _context() as context:
        quiet = _good(ports, "quiet", 0, GOOD)
        sources = {name: _dealer(context, ports[name]) for name in ("frames", "queries")}
        stranger = _stranger(context, ports["results"])
        if fill:
            _open_streams(sources["frames"], StreamLimits().streams - len(("quiet", "amid")))
        rng, answers, greetings = random.Random(~seed), 0, 0  # noqa: S311
        memory = []
        each = max(1, count // GOOD)
        for k, (reader, parts) in enumerate(mutations(count, seed, "frames", "frames", "queries")):
            if k % each == 0 and k // each < GOOD:
                _good(ports, "amid", k // each, k // each + 1)
                greetings += sum(_greet(rng, address) for address in ports.values())
            if k % 50 == 0:
                with contextlib.suppress(zmq.Again):
                    stranger.send_multipart([b"\x01" + rng.randbytes(3), *parts[:2]], zmq.NOBLOCK)
                    stranger.send(rng.randbytes(9), zmq.NOBLOCK)
            if k == count * len(memory) // PARTS:
                memory.append(_resident(service.pid))
                # ZeroMQ keeps what a connection subscribes to for as long as that lasts
                stranger.close()
                stranger = _stranger(context, ports["results"])
            source = sources[reader]
            answers += _drained(source)
            while not source.poll(10_000, zmq.POLLOUT):
                _check(service.poll() is None, "the service ended")
                answers += _drained(source)
            source.send_multipart(parts)
        answers += _last_word(sources)
        amid = _good(ports, "amid", count // each if count < GOOD else GOOD, GOOD)
        _check(service.poll() is None, "the service ended")
        memory.append(_resident(service.pid))
        return Live(count, answers, greetings, amid == quiet, memory)


@contextlib.contextmanager
def _context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context = zmq.Context()
    try:
        yield context
    finally:
        context.destroy(linger=0)


def _good(ports: dict[str, str], stream: str, first: int, last: int) -> DefectTable:
    """Have good frames counted; gives all defects of the stream."""
    with Publisher(ports["frames"], stream, first + 1) as publisher:
        for k, frame in enumerate(Microscope(shape=(128, 128), seed=6).frames(last)):
            if k >= first:
                publisher.send(frame.image, seq=k - first, time_s=frame.time_s, **frame.header)
        _check(publisher.flush(120), f"{stream} got no answer")
        _check(publisher.stats.rejected == 0, str(publisher.errors))
    return QueryClient(ports["queries"], 60).defects(stream)


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RuntimeError(otherwise)


def _dealer(context: zmq.Context[zmq.Socket[bytes]], address: str) -> zmq.Socket[bytes]:
    source = context.socket(zmq.DEALER)
    source.set(zmq.LINGER, 0)
    source.connect(address)
    return source


def _open_streams(source: zmq.Socket[bytes], count: int) -> None:
    """Send one good frame on each of so many streams, the corpus's own and others alike."""
    image = np.asarray(next(iter(Microscope(shape=(SIDE, SIDE), seed=6).frames(1))).image)
    names = [f"{letter}{k}" for letter in "gfecowabd" for k in range(3)][:count]
    for name in names:
        source.send_multipart(list(encode_frame(image, stream=name, epoch=1, seq=0)))
        _check(bool(source.poll(60_000)), f"{name} got no answer")
        source.recv_multipart()


def _stranger(context: zmq.Context[zmq.Socket[bytes]], address: str) -> zmq.Socket[bytes]:
    stranger = context.socket(zmq.XSUB)
    stranger.set(zmq.LINGER, 0)
    stranger.connect(address)
    return stranger


def _drained(source: zmq.Socket[bytes]) -> int:
    count = 0
    with contextlib.suppress(zmq.Again):
        while True:
            source.recv_multipart(zmq.NOBLOCK)
            count += 1
    return count


def _last_word(sources: dict[str, zmq.Socket[bytes]]) -> int:
    """Wait until everything before was read: a source's messages are read in order."""
    last = msgpack.packb({"version": 1, "stream": "last-word"}), pack({"op": "last-word"})
    count = 0
    for source, word in zip(sources.values(), last, strict=True):
        source.send(word)
        while True:
            _check(bool(source.poll(120_000)), "no answer to the last word")
            count += 1
            if b"last-word" in source.recv_multipart()[-1]:
                break
    return count


def _greet(rng: random.Random, address: str) -> int:
    """Say each greeting, and something random, on a bare TCP connection."""
    host, port = address.split("://")[1].split("/", maxsplit=1)[0].rsplit(":", 1)
    said = [*GREETINGS, rng.randbytes(200)]
    for greeting in said:
        with (
            sockets.create_connection((host, int(port)), 10) as connection,
            contextlib.suppress(OSError),
        ):
            connection.sendall(greeting)
    return len(said)


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) if os.name == "posix" else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="latticewatch-") as folder:
        began = time.monotonic()
        live = against_ports(options.messages, options.seed, Path(folder), fill=True)
        between = time.monotonic()
        print(f"live: {live.messages} messages, {live.answers} answers, {live.greetings} greetings "
              f"in {between - began:.0f} s; good frames undisturbed: {live.undisturbed}\n\n"
              "| messages | resident, MB | since the first tenth |\n|---|---|---|")  # fmt: skip
        for part, memory in enumerate(live.memory_bytes):
            since = f"{memory / live.memory_bytes[1] - 1:+.1%}" if part else ""
            print(f"| {live.messages * part // PARTS:,} | {memory / 1e6:.1f} | {since} |")
        print()
        seen = against_decoders(options.messages, options.seed, Path(folder))
        print(f"decoders: {options.messages} messages, {seen['refused']} refused, "
              f"{seen['read']} read in {time.monotonic() - between:.0f} s")  # fmt: skip
    if not live.undisturbed or live.growth > GROWTH:
        raise SystemExit("broken: see above")


if __name__ == "__main__":
    main()
