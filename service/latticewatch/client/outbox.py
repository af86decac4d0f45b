"""What the publisher holds until it is acknowledged: a queue, a window, a spool. No sockets."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from latticewatch.client.records import Entry
from latticewatch.client.spool import Spool

Key = tuple[int, int]


class Outbox:
    """Messages in order, first to last: in flight, waiting in memory, waiting in the spool.

    Parameters
    ----------
    window
        Most messages that are sent and not settled.
    memory_bytes
        Bytes kept in memory; what comes beyond goes to the spool, if there is one.
    spool
        Where the overflow goes; what it holds from an earlier process is sent first.
    """

    def __init__(self, window: int, memory_bytes: int, spool: Spool | None = None) -> None:
        self.spool = spool
        self.memory_used = 0
        self.resent = 0
        self.spooled = 0
        self._window = window
        self._memory_bytes = memory_bytes
        self._flight: OrderedDict[Key, Entry] = OrderedDict()
        self._waiting: OrderedDict[Key, Entry] = OrderedDict()

    def __len__(self) -> int:
        unread = self.spool.unread if self.spool else 0
        return len(self._flight) + len(self._waiting) + unread

    @property
    def in_flight(self) -> int:
        """Messages that are sent and not settled."""
        return len(self._flight)

    def put(self, entry: Entry) -> None:
        """Add a message at the end; raises OSError where the spool's disk does not take it."""
        full = self.memory_used + entry.nbytes > self._memory_bytes
        # Once there is a spool everything goes through it until it is empty: what only memory holds
        # then always comes before what the disk holds, and `save` can put it in front.
        if self.spool is not None and (full or not self.spool.empty):
            self.spool.append(entry)
            self.spooled += 1
        else:
            self._waiting[entry.key] = entry
            self.memory_used += entry.nbytes

    def take(self) -> Entry | None:
        """Return the next message to send, which is in flight from now on; None if none may go."""
        if len(self._flight) >= self._window:
            return None
        self._refill()
        if not self._waiting:
            return None
        key, entry = self._waiting.popitem(last=False)
        self.resent += entry.attempts > 0
        self._flight[key] = replace(entry, attempts=entry.attempts + 1)
        return self._flight[key]

    def settle(self, key: Key) -> Entry | None:
        """Forget a message that was acknowledged or rejected; None if it was not held."""
        entry = self._flight.pop(key, None) or self._waiting.pop(key, None)
        if entry is not None:
            self.memory_used -= entry.nbytes
            if self.spool is not None:
                self.spool.settle(entry)
        return entry

    def end_keys(self, epoch: int) -> list[Key]:
        """Keys of the end messages of an epoch that are in flight."""
        return [key for key, entry in self._flight.items() if key[0] == epoch and not entry.buffer]

    def rewind(self) -> None:
        """Put all that is in flight back to the front, in order: the connection was lost."""
        while self._flight:
            key, entry = self._flight.popitem(last=True)
            self._waiting[key] = entry
            self._waiting.move_to_end(key, last=False)

    def save(self) -> int:
        """Write what only memory holds to the spool, at the end; return how many are left behind.

        Without a spool nothing is written and the number says what is lost.
        """
        self.rewind()
        if self.spool is not None:
            self.spool.put_in_front([e for e in self._waiting.values() if e.segment is None])
        return len(self)

    def _refill(self) -> None:
        """Read from the spool until memory is full; at least one, whatever its size."""
        while self.spool is not None and self.spool.unread:
            if self._waiting and self.memory_used >= self._memory_bytes:
                return
            entry = self.spool.read()
            if entry is None:
                return
            self._waiting[entry.key] = entry
            self.memory_used += entry.nbytes
