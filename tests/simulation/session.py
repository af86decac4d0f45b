"""One simulated session by its seed: what may go wrong does, and what was promised is checked.

python tests/simulation/session.py SEED [--trace]
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from unittest import mock

from parts import (
    FLOOD,
    STREAM,
    Clock,
    Disk,
    Flood,
    Ledger,
    Network,
    Row,
    Service,
    Source,
)

from latticewatch.client import numbers
from latticewatch.client.room import MOST_IN_FLIGHT
from latticewatch.receiving import ingest
from latticewatch.receiving.reorder import WINDOW

#: Things that happen in one session, and the most that may be needed afterwards to settle all.
STEPS, SETTLING = 120, 4000


class BrokenPromiseError(AssertionError):
    """Names the seed and how to run it again."""


class Session:
    """Source, network and service, and a seed that says what happens to them."""

    def __init__(
        self, seed: int, folder: Path, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.rng = Random(seed)
        self._say = say
        self.clock, self.network = Clock(), Network()
        disk = Disk(folder, Random(seed ^ 0xD15C)) if self.rng.random() < 0.6 else None
        # by numbers of their own, so that what else happens stays the same; without: room for all
        room = Random(~seed)
        room_bytes = room.choice([10**9, 10**9, room.randint(4, 30) * 4500])
        every = room.randint(1, 6)
        if disk is not None and room.random() < 0.5:
            disk.lazy = True
        # what a source has on the wire is within what the service has in hand, or far beyond it
        in_hand, window = room.choice([32, 32, room.randint(1, 15)]), room.choice([16, 16, 40, 64])
        self.service = Service(self.network, in_hand)
        self.source = Source(self.network, disk, self.rng, room_bytes, every, window)
        self.flood, self.flooded = Flood(), room.random() < 0.3
        self.others = room
        # how rough this session is: nothing, a little, a lot
        self.rough = rough = self.rng.choice([0.0, 0.3, 1.0, 3.0])
        self.events: list[tuple[float, Callable[[], None]]] = [
            (8.0, self.hand_over),
            (8.0, self.source_transmits),
            (12.0, self.arrive_above),
            (12.0, self.arrive_below),
            (8.0, self.commit),
            (2.0, self.pass_time),
            (0.3 * rough, self.lose_connection),
            (0.5 * rough, self.drop),
            (0.5 * rough, self.repeat),
            (0.5 * rough, self.overtake),
            (0.2 * rough, self.crash_service),
            (0.15 * rough, self.kill_source),
            (0.1 * rough, self.restart_source),
            (0.2 * rough, self.jump_clock),
            (0.1 * rough, self.end_epoch),
        ]

    @property
    def ledger(self) -> Ledger:
        """What is committed of the source's stream."""
        return self.service.ledgers[STREAM]

    def run(self) -> None:
        # few numbers are reserved at a time, so that they run out often
        with mock.patch.object(ingest, "time", self.clock), mock.patch.object(numbers, "AHEAD", 8):
            weights = [weight for weight, _ in self.events]
            for _ in range(STEPS):
                (event,) = self.rng.choices([do for _, do in self.events], weights)
                self._say(event.__name__)
                event()
                if self.flooded and self.others.random() < 0.1:
                    self.overflow()
                self.check_ledger()
            self.settle()
            self.check_ledger()
            self.check_promises()
            self.check_flood()

    # what happens

    def hand_over(self) -> None:
        if self.source.closed:
            return
        good = self.rng.random() > 0.03 or self.source.next_seq == 0
        skip = self.rng.choice([0] * 30 + [1, 3])
        self.source.hand_over(good=good, skip=skip)

    def source_transmits(self) -> None:
        self.source.transmit()

    def arrive_above(self) -> None:
        full = [c for c in self.network.connections.values() if c.up]
        if full:
            connection = self.rng.choice(full)
            self.service.receive(connection.number, connection.up.popleft())

    def arrive_below(self) -> None:
        connection = self.network.current
        if connection is not None and connection.down:
            self.source.receive(connection.down.popleft())

    def commit(self) -> None:
        self.service.commit(self.rng.randint(1, 8))

    def pass_time(self) -> None:
        passed = self.rng.uniform(0.0, 4.0)
        self.clock.now += passed
        self.clock.wall += passed
        self.service.give_up()

    def jump_clock(self) -> None:
        self.clock.wall += self.rng.uniform(-1e5, 1e5)

    def lose_connection(self) -> None:
        self.network.lose(self.rng)

    def _busy(self) -> list:
        return [c for c in self.network.connections.values() if c.up]

    def drop(self) -> None:
        """Lose one message: ZeroMQ does so when a peer's queue is torn down."""
        if self._busy():
            connection = self.rng.choice(self._busy())
            del connection.up[self.rng.randrange(len(connection.up))]

    def repeat(self) -> None:
        if self._busy():
            up = self.rng.choice(self._busy()).up
            up.append(up[self.rng.randrange(len(up))])

    def overtake(self) -> None:
        if self._busy():
            up = self.rng.choice(self._busy()).up
            up.rotate(self.rng.randint(-3, 3))

    def crash_service(self) -> None:
        """Kill it: what is not committed is gone, and so are all connections."""
        self.network.lose(self.rng)
        for connection in self.network.connections.values():
            connection.up.clear()
        self.service.start()

    def kill_source(self) -> None:
        self.network.lose(self.rng)
        self.source.kill(power_cut=self.rng.random() < 0.5)
        self.source.start()
        self.source.note_losses()

    def restart_source(self) -> None:
        self.network.lose(self.rng)
        self.source.stop()
        self.source.start()
        self.source.note_losses()

    def end_epoch(self) -> None:
        if not self.source.closed and self.source.next_seq:
            self.source.end()

    def overflow(self) -> None:
        """Another sender does not wait for answers."""
        for _ in range(20):
            self.service.receive(0, self.flood.frame())

    def settle(self) -> None:
        """Nothing goes wrong any more: everything that is held comes to an end."""
        for _ in range(SETTLING):
            if not len(self.source.outbox) and not self.service.queue and not self._busy():
                return
            self.source.transmit()
            while self._busy():
                self.arrive_above()
            self.service.commit(8)
            self.clock.now += 1.0
            self.service.give_up()
            while self.network.current is not None and self.network.current.down:
                self.arrive_below()
            if self.source.outbox.in_flight and not self.service.queue:
                self.network.lose(self.rng)  # the publisher's own patience ends
        raise AssertionError(f"{len(self.source.outbox)} messages never came to an end")

    # what was promised

    def check_ledger(self) -> None:
        """Every number of the session once and in order; every frame of an epoch at most once."""
        self.service.check_bounds()
        for ledger in self.service.ledgers.values():
            self._check_rows(ledger.rows)

    def _check_rows(self, rows: list[Row]) -> None:
        assert [row.frame for row in rows] == list(range(len(rows))), "frame numbers do not follow"
        twice = [key for key, n in Counter((r.epoch, r.seq) for r in rows).items() if n > 1]
        assert not twice, f"counted twice: {twice}"
        for before, after in pairwise(rows):
            follows = after.epoch != before.epoch or after.seq == before.seq + 1
            assert follows, f"{after} does not follow {before}"

    def check_flood(self) -> None:
        """A sender beyond its window is heard again once there is room."""
        if not self.flood.sent:
            return
        before = sum(row.kind == "frame" for row in self.service.ledgers[FLOOD].rows)
        for _ in range(MOST_IN_FLIGHT + WINDOW + 1):  # given up once later ones wait
            self.service.receive(0, self.flood.frame())
        self.service.commit(len(self.service.queue))
        after = sum(row.kind == "frame" for row in self.service.ledgers[FLOOD].rows)
        assert after > before, "nothing of the flood is heard any more"

    def check_promises(self) -> None:
        source = self.source
        if not self.rough:
            bad = {key for key, (kind, _) in source.given.items() if kind == "bad"}
            assert source.told <= bad, f"good frames were refused: {source.told - bad}"
        rows = {(row.epoch, row.seq): row for row in self.ledger.rows}
        for key in source.acked:
            assert key in rows, f"{key} was acknowledged and is not there"
            assert rows[key].kind == "frame", f"{key} was acknowledged and is {rows[key].kind}"
        for key in source.left_out:
            # passed over by a later frame, or by the end, it is known to be missing
            assert key not in rows or rows[key].kind == "missing", f"{key} is {rows[key].kind}"
            last = max((seq for epoch, seq in rows if epoch == key[0]), default=-1)
            assert key in rows or key[1] > last, f"{key} was left out and is not missing"
        for key, (kind, crc) in source.given.items():
            row = rows.get(key)
            if kind == "end":
                assert key in source.lost or key[0] in source.ended | self.ledger.ended, key
                continue
            if row is not None and row.kind == "frame":
                assert row.crc == crc, f"{key} was counted with the pixels of another frame"
            if key not in source.lost:
                assert key in source.acked | source.told, f"{key} was never answered"
            if key in source.told and key not in source.acked:
                assert row is None or row.kind in ("refused", "missing"), (
                    f"{key} was refused: {row}"
                )


def run(seed: int, say: Callable[[str], None] = lambda _: None) -> None:
    """Run one session; raises BrokenPromiseError that names the seed."""
    with tempfile.TemporaryDirectory(prefix="latticewatch-") as folder:
        session = Session(seed, Path(folder), say)
        try:
            session.run()
        except Exception as error:
            raise BrokenPromiseError(
                f"seed {seed}: {error!r}; again: python tests/simulation/session.py {seed} --trace"
            ) from error
        finally:
            session.source._leave()


if __name__ == "__main__":
    run(int(sys.argv[1]), print if "--trace" in sys.argv else lambda _: None)
