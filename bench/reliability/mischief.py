"""Microscopes that do everything wrong, on streams of their own, as fast as they can."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

import msgpack
import numpy as np
import zmq

from latticewatch.sources.simulated import simulated_microscope
from reliability.movie import CRYSTAL

#: Waiting for room on the wire, ms: the service holds back whoever sends too fast.
ROOM_MS = 20

#: Side of a flood's frames, and how many of them go round.
FLOOD_PX, FLOOD_FRAMES = 192, 4

Parts = list[bytes]


def _header(kind: str, seq: int, **fields: object) -> bytes:
    plain = {"version": 1, "stream": kind, "epoch": 1, "seq": seq, "time_s": float(seq)}
    return msgpack.packb({**plain, "shape": [64, 64], "dtype": "float32", **fields})


def garbage(rng: Random) -> Iterator[Parts]:
    """Bytes that are no header, headers that are no map, headers without sense, too many parts."""
    while True:
        yield [rng.randbytes(rng.randint(0, 400))]
        yield [rng.randbytes(64), rng.randbytes(1000)]
        yield [msgpack.packb(rng.choice([1, "x", [1, 2], None])), b""]
        yield [_header("garbage", 0, version=7), b"\0" * 16384]
        yield [_header("garbage", 2**63 - 1, stream="../run"), b""]
        yield [b"GET / HTTP/1.1\r\n\r\n"] * rng.randint(3, 9)


def misshapen(rng: Random) -> Iterator[Parts]:
    """Frames shorter than they say, of other shapes and types than the last, and too large."""
    for seq in itertools.count():
        yield [_header("misshapen", seq), rng.randbytes(rng.randint(0, 16384))]
        yield [_header("misshapen", seq, shape=[2**40, 2**40]), b""]
        yield [_header("misshapen", seq, shape=[80, 64], dtype="uint8"), bytes(80 * 64)]
        yield [_header("misshapen", seq, dtype="object"), bytes(64 * 64)]


def unusable(rng: Random) -> Iterator[Parts]:
    """Frames that are whole and hold NaN, nothing, or noise without a crystal."""
    noise = np.random.default_rng(rng.randrange(2**32))
    for seq in itertools.count():
        image = noise.normal(size=(64, 64)).astype("<f4")
        if seq % 3 == 0:
            image[:] = np.nan
        elif seq % 3 == 1:
            image[:] = 7.0
        yield [_header("unusable", seq), image.tobytes()]


def flood(rng: Random) -> Iterator[Parts]:
    """Good frames, four times the pixels of the neighbour's, without regard to what is answered."""
    microscope = simulated_microscope(CRYSTAL, FLOOD_PX, rng.randrange(2**32))
    images = [np.asarray(frame.image) for frame in microscope.frames(FLOOD_FRAMES)]
    for seq, image in enumerate(itertools.cycle(images)):
        yield [
            _header("flood", seq, shape=list(image.shape), dtype=image.dtype.name),
            image.tobytes(),
        ]


KINDS: dict[str, Callable[[Random], Iterator[Parts]]] = {
    "garbage": garbage,
    "misshapen": misshapen,
    "unusable": unusable,
    "flood": flood,
}


class Mischief:
    """Sends all of it from a thread while it is entered, without waiting for answers.

    Parameters
    ----------
    endpoint
        The service's frame port.
    seed
        Of what is sent.
    kinds
        Names out of `KINDS`.
    """

    def __init__(self, endpoint: str, seed: int, kinds: tuple[str, ...] = tuple(KINDS)) -> None:
        self.sent: Counter[str] = Counter()
        self.answers = 0
        self._endpoint = endpoint
        self._kinds = kinds
        self._rng = Random(seed)  # noqa: S311 - no secrets
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mischief")

    def __enter__(self) -> Mischief:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with zmq.Context() as context:
            sockets = {kind: context.socket(zmq.DEALER) for kind in self._kinds}
            parts = {kind: KINDS[kind](self._rng) for kind in self._kinds}
            for socket in sockets.values():
                socket.set(zmq.LINGER, 0)
                socket.connect(self._endpoint)
            while not self._stop.is_set():
                for kind, socket in sockets.items():
                    self._send(socket, kind, next(parts[kind]))
            for socket in sockets.values():
                socket.close()

    def _send(self, socket: zmq.Socket[bytes], kind: str, parts: Parts) -> None:
        if socket.poll(ROOM_MS, zmq.POLLOUT):
            socket.send_multipart(parts, zmq.NOBLOCK)
            self.sent[kind] += 1
        while socket.poll(0):
            socket.recv_multipart()
            self.answers += 1
