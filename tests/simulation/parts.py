"""The parts of a simulated session: clock, network, disk, service and source.

Everything that decides is the real thing: the publisher's outbox and spool, the frame port's checks
and order, the messages. What is simulated is what they stand on, and the thin shells round them.
"""

from __future__ import annotations

import zlib
from collections import Counter, deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

import numpy as np

from latticewatch.client.epochs import continued
from latticewatch.client.frames import EndHeader, encode_frame, pack_header
from latticewatch.client.outbox import Outbox
from latticewatch.client.records import Entry
from latticewatch.client.replies import Ack, Ended, ErrorReply, SendAgain, parse_reply
from latticewatch.client.room import Gate, Stock
from latticewatch.client.spool import Spool
from latticewatch.receiving.deliveries import Arrival, Delivery, End, Gap, Refusal
from latticewatch.receiving.ingest import Ingest
from latticewatch.receiving.reorder import WINDOW, Position

STREAM, FLOOD = "s", "flood"

#: Of a source that has a spool besides: five frames.
MEMORY_BYTES = 5 * 4500


@dataclass
class Clock:
    """Stands for `time` in the frame port: one clock that runs evenly, and one that jumps."""

    now: float = 1000.0
    wall: float = 1.7e9

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.wall


@dataclass
class Connection:
    """What is on its way between source and service, both ways."""

    number: int
    up: deque[list[bytes]] = field(default_factory=deque)
    down: deque[bytes] = field(default_factory=deque)


class Network:
    """Connections; a lost one may still deliver what it had in its buffers, late."""

    def __init__(self) -> None:
        self.connections: dict[int, Connection] = {}
        self.current: Connection | None = None
        self._count = 0

    def connect(self) -> Connection:
        self._count += 1
        self.current = self.connections[self._count] = Connection(self._count)
        return self.current

    def lose(self, rng: Random) -> None:
        """Cut the connection: replies are gone, and of what went up some may still arrive."""
        if self.current is not None:
            self.current.down.clear()
            for _ in range(rng.randint(0, len(self.current.up))):
                self.current.up.pop()
        self.current = None

    def answer(self, peer: bytes, reply: bytes) -> None:
        """Send a reply down; into the void where the connection is gone."""
        if self.current is not None and self.current.number == int(peer):
            self.current.down.append(reply)


@dataclass(frozen=True)
class Row:
    """What the service has committed of one frame number; `crc` of the pixels where it counted."""

    kind: str
    frame: int
    epoch: int
    seq: int
    crc: int = 0


class Ledger:
    """A stream on the service's disk: what one transaction wrote is there as a whole, or not."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.ended: set[int] = set()

    def commit(self, deliveries: list[Delivery]) -> None:
        for one in deliveries:
            if isinstance(one, Gap):
                self.rows += [
                    Row("missing", one.frame + k, one.epoch, one.seq + k) for k in range(one.count)
                ]
            elif isinstance(one, End):
                self.ended.add(one.epoch)
            elif isinstance(one, Refusal):
                self.rows.append(Row("refused", one.frame, one.epoch, one.seq))
            else:
                crc = zlib.crc32(np.ascontiguousarray(one.image))
                self.rows.append(Row("frame", one.frame, one.epoch, one.seq, crc))

    def position(self) -> Position:
        """Where the stream stands, as `Store.position` tells it."""
        if not self.rows:
            return Position()
        epochs = list(dict.fromkeys(row.epoch for row in self.rows))
        epoch = epochs[-1]
        mine = [row for row in self.rows if row.epoch == epoch]
        return Position(
            epoch=epoch,
            seq=mine[-1].seq + 1,
            frame=len(self.rows),
            missing=tuple(
                (r.epoch, range(r.seq, r.seq + 1)) for r in self.rows if r.kind == "missing"
            ),
            ended=epoch in self.ended,
            closed=tuple(
                (e, max(r.seq for r in self.rows if r.epoch == e) + 1) for e in epochs[:-1]
            ),
            rejected=tuple(
                (r.epoch, r.seq, "dtype: x; y") for r in self.rows if r.kind == "refused"
            ),
        )


class _Socket:
    def __init__(self, network: Network) -> None:
        self._network = network

    async def send_multipart(self, parts: list[bytes]) -> None:
        self._network.answer(*parts)


def finished(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("the frame port waited for something")


class Service:
    """The frame port, a queue in the place of the pipeline, and the ledgers by stream."""

    def __init__(self, network: Network, in_hand: int) -> None:
        self._network, self._in_hand = network, in_hand
        self.ledgers = {STREAM: Ledger(), FLOOD: Ledger()}
        self.start()

    def start(self) -> None:
        """Begin as a new process does: with what the ledger holds."""
        self.queue: deque[Delivery] = deque()

        async def deliver(delivery: Delivery) -> None:
            self.queue.append(delivery)

        async def resume(stream: str) -> Position:
            return self.ledgers[stream].position()

        self._ingest = Ingest("tcp://127.0.0.1:7701", deliver, resume=resume, in_hand=self._in_hand)
        self._ingest._socket = _Socket(self._network)

    def receive(self, connection: int, parts: list[bytes]) -> None:
        peer = str(connection).encode()
        finished(self._ingest._take(peer, [memoryview(part) for part in parts]))

    def check_bounds(self) -> None:
        """See that no stream has more in hand than it may: nor what waits for an earlier frame."""
        held = Counter(one.stream for one in self.queue if not isinstance(one, Gap))
        assert max(held.values(), default=0) <= self._in_hand + WINDOW, f"in hand: {held}"

    def give_up(self) -> None:
        """Look at the clock: have frames waited for a missing one for too long?"""
        finished(self._ingest._give_up())

    def commit(self, count: int) -> None:
        """Commit some of the queue in one transaction, then answer the source."""
        batch = [self.queue.popleft() for _ in range(min(count, len(self.queue)))]
        for one in batch:
            self.ledgers[one.stream].commit([one])
        for one in batch:
            if isinstance(one, Arrival):
                finished(self._ingest.ack(one.stream, one.epoch, [one.seq]))
            elif isinstance(one, Refusal):
                finished(self._ingest.reject(one.stream, one.epoch, one.seq, one.error))
            elif isinstance(one, End):
                finished(self._ingest.ended(one.stream, one.epoch, one.seq))


@dataclass
class Disk:
    """Which part of each file a power cut would leave; `lazy`: synced now and then."""

    folder: Path
    chance: Random
    lazy: bool = False
    durable: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, bytes] = field(default_factory=dict)
    boots: int = 0

    @property
    def boot(self) -> bytes:
        return b"%d" % self.boots

    def sync(self, file: BinaryIO) -> None:
        name = str(file.name)
        if name.endswith(".numbers"):
            self.numbers[name] = Path(name).read_bytes()
        elif not self.lazy or self.chance.random() < 0.3:
            self.durable[name] = Path(name).stat().st_size

    def cut_power(self, rng: Random) -> None:
        """Take back what was not synced, or some of it."""
        self.boots += 1
        for path in self.folder.glob("*.numbers"):
            new = path.read_bytes()
            old = self.numbers.get(str(path), bytes(len(new)))
            sectors = [
                self.chance.choice((old, new))[at : at + 512] for at in range(0, len(new), 512)
            ]
            path.write_bytes(b"".join(sectors))
        for path in self.folder.glob("*.spool"):
            size, least = path.stat().st_size, self.durable.get(str(path), 0)
            if least > size:
                least = 0  # that was an earlier file of this name
            kept = rng.randint(least, size)
            if kept == 0:
                path.unlink()
            else:
                with path.open("r+b") as file:
                    file.truncate(kept)

    def tear(self, rng: Random) -> None:
        """Leave half a record at the end, of a write that a kill has interrupted."""
        for path in list(self.folder.glob("*.spool"))[-1:]:
            with path.open("ab") as file:
                file.write(rng.randbytes(rng.randint(1, 40)))


class Source:
    """A publisher: its outbox and spool; what it sends and what it takes in."""

    def __init__(
        self,
        network: Network,
        disk: Disk | None,
        rng: Random,
        room_bytes: int,
        every: int,
        window: int,
    ) -> None:
        self._window = window
        self._network, self._disk, self._rng = network, disk, rng
        self._room_bytes = room_bytes
        self._gate = Gate(STREAM, "thin", every)
        self.left_out: set[tuple[int, int]] = set()
        self.given: dict[tuple[int, int], tuple[str, int]] = {}  # kind and checksum of each frame
        self.acked: set[tuple[int, int]] = set()
        self.told: set[tuple[int, int]] = set()  # that a frame was refused
        self.lost: set[tuple[int, int]] = set()  # with a process that was killed
        self.ended: set[int] = set()
        self.start()

    def start(self) -> None:
        """Begin as a new process does: with what the spool holds."""
        self.spool = None
        if self._disk is not None:
            disk = self._disk
            self.spool = Spool(
                disk.folder, STREAM, self._room_bytes, 20_000, sync=disk.sync, boot=disk.boot
            )
        self.outbox = Outbox(self._window, MEMORY_BYTES, self.spool)
        last = self.spool.last if self.spool else None
        doubtful = self.spool is not None and self.spool.doubtful
        known = self.spool.numbers.known if self.spool else None
        self.epoch, self.next_seq = continued(last, None, doubtful=doubtful, known=known)
        if last is None:
            self.epoch = self._rng.randrange(2**40)
        self.closed = False

    def hand_over(self, *, good: bool = True, skip: int = 0) -> None:
        """Give it a frame, or one whose type changes in mid-epoch, which the service refuses."""
        seq = self.next_seq + skip
        dtype = np.uint8 if good else np.int16
        image = np.frombuffer(self._rng.randbytes(64 * 64 * np.dtype(dtype).itemsize), dtype)
        header, buffer = encode_frame(
            image.reshape(64, 64), stream=STREAM, epoch=self.epoch, seq=seq, time_s=0.0
        )
        self.next_seq = seq + 1
        assert (self.epoch, seq) not in self.left_out | self.given.keys(), f"{seq} is given twice"
        if not self._gate.takes(self._stock(), len(header) + len(buffer)):
            self.left_out.add((self.epoch, seq))
            self.outbox.leave_out(self.epoch, seq)
            return
        self.given[self.epoch, seq] = ("frame" if good else "bad", zlib.crc32(buffer))
        self.outbox.put(Entry(self.epoch, seq, header, bytes(buffer)))

    def _stock(self) -> Stock:
        if self.spool is None:
            return Stock(self._room_bytes, self.outbox.memory_used, 0)
        held, spool = (MEMORY_BYTES, self.outbox.memory_used, 0), self.spool
        return Stock(*held, spool.limit_bytes, spool.used_bytes, spool.empty)

    def end(self) -> None:
        header = pack_header(EndHeader(STREAM, self.epoch, self.next_seq))
        self.given[self.epoch, self.next_seq] = ("end", 0)
        self.outbox.put(Entry(self.epoch, self.next_seq, header, b""))
        self.closed = True

    def transmit(self) -> None:
        connection = self._network.current
        if connection is None:
            connection = self._network.connect()
            self.outbox.rewind()
        while (entry := self.outbox.take()) is not None:
            connection.up.append([entry.header, entry.buffer] if entry.buffer else [entry.header])

    def receive(self, data: bytes) -> None:
        reply = parse_reply(data)
        if isinstance(reply, Ack):
            for seq in reply.seqs:
                self.outbox.settle((reply.epoch, seq))
                self.acked.add((reply.epoch, seq))
        elif isinstance(reply, Ended):
            for key in self.outbox.end_keys(reply.epoch):
                self.outbox.settle(key)
            self.ended.add(reply.epoch)
        elif isinstance(reply, SendAgain):
            self.outbox.again((reply.epoch, reply.seq))
        elif isinstance(reply, ErrorReply) and reply.epoch is not None and reply.seq is not None:
            self.outbox.settle((reply.epoch, reply.seq))
            self.told.add((reply.epoch, reply.seq))

    def stop(self) -> None:
        """End in order: what only memory holds goes to the spool."""
        self.outbox.save()
        self._leave()

    def kill(self, *, power_cut: bool) -> None:
        """End at once; what was written half, or not brought to the disk, may be gone."""
        self._leave()
        if self._disk is not None:
            if power_cut:
                self._disk.cut_power(self._rng)
            else:
                self._disk.tear(self._rng)

    def _leave(self) -> None:
        if self.spool is not None:
            self.spool.close()

    def note_losses(self) -> None:
        """After a restart: what is neither settled nor in the spool went with the old process."""
        held = {entry.key for entry in _peeked(self.spool)} if self.spool else set()
        settled = self.acked | self.told
        self.lost |= {key for key in self.given if key not in settled and key not in held}


class Flood:
    """A sender that keeps to no window and hears no answer."""

    def __init__(self) -> None:
        self.sent = 0

    def frame(self) -> list[bytes]:
        """Give its next frame; it never sends one again."""
        image = np.full((64, 64), self.sent % 250, np.uint8)
        parts = encode_frame(image, stream=FLOOD, epoch=1, seq=self.sent, time_s=0.0)
        self.sent += 1
        return list(parts)


def _peeked(spool: Spool) -> list[Entry]:
    """All entries of a spool that was just opened, which then stands at its beginning again."""
    entries = []
    while (entry := spool.read()) is not None:
        entries.append(entry)
    for segment in spool._segments.values():
        segment.position = 8
    spool.unread = len(entries)
    return entries
