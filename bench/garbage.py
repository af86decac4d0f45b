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
from garbled import SIDE, mutations

from latticewatch.client import messages
from latticewatch.client.asking import QueryClient
from latticewatch.client.errors import FrameError, MessageError
from latticewatch.client.frames import (
    FrameHeader,
    encode_frame,
    frame_array,
    parse_message,
)
from latticewatch.client.publisher import Publisher
from latticewatch.client.replies import parse_reply
from latticewatch.client.table import DefectTable
from latticewatch.client.wire import pack, unpack
from latticewatch.config import StreamLimits
from latticewatch.processes import running_service
from latticewatch.queries import Queries, store_handlers
from latticewatch_models.microscope import Microscope

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

#: The good frames that come meanwhile.
GOOD = 6

#: Messages for which a stranger at the results port stays. ZeroMQ keeps what a connection
#: subscribes to, some 2 kB each, for as long as that lasts: with one that stays for 100,000
#: messages, and so 2,000 subscriptions, memory grows by 6 to 9 % and then no more; without a
#: stranger by 2.5 %.
STAY = 1_000

#: Memory is read after each of so many parts of the messages; it may grow by so much after the
#: first.
PARTS, GROWTH = 10, 0.05


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
            if k % STAY == 0:
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
