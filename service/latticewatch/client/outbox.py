"""What the publisher holds until it is acknowledged: a queue, a window, a spool. No sockets."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, replace

from latticewatch.client.records import Entry
from latticewatch.client.spool import Spool

Key = tuple[int, int]


@dataclass(frozen=True)
class Block:
    """Some rows of a frame that is being acquired, as they go on the wire."""

    epoch: int
    seq: int
    header: bytes
    buffer: bytes

    @property
    def key(self) -> Key:
        """Epoch and sequence number of the frame."""
        return self.epoch, self.seq

    @property
    def nbytes(self) -> int:
        """Length of header and buffer."""
        return len(self.header) + len(self.buffer)


class Outbox:
    """Messages in order, first to last: in flight, waiting in memory, waiting in the spool.

    Rows of a frame that is being acquired go out ahead of it, if nothing stands before them. A
    frame all of whose rows went out over the same connection is in flight as soon as it is put, and
    is only sent whole if it must be sent again.

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
        self._last: Entry | None = None
        self._blocks: deque[Block] = deque()
        self._acquired: Key | None = None
        self._rows_go = False

    def __len__(self) -> int:
        unread = self.spool.unread if self.spool else 0
        return len(self._flight) + len(self._waiting) + unread

    @property
    def in_flight(self) -> int:
        """Messages that are sent and not settled."""
        return len(self._flight)

    def put_rows(self, block: Block, *, connected: bool) -> bool:
        """Take rows of the frame that comes next; False where it will go whole instead.

        Rows are never kept: what stands before them, or a lost connection, makes an end of them.
        """
        self._note(block.epoch, block.seq)
        if block.key != self._acquired:
            self._acquired = block.key
            behind = bool(self._waiting) or (self.spool is not None and not self.spool.empty)
            self._rows_go = len(self._flight) < self._window and not behind
        self._rows_go = self._rows_go and connected
        if self._rows_go:
            self._blocks.append(block)
        return self._rows_go

    def take_rows(self) -> Block | None:
        """Return the next rows to send, or None."""
        return self._blocks.popleft() if self._blocks else None

    def put(self, entry: Entry) -> None:
        """Add a message at the end; raises OSError where the spool's disk does not take it."""
        self._note(entry.epoch, entry.seq, end=not entry.buffer)
        self._last = entry
        full = self.memory_used + entry.nbytes > self._memory_bytes
        # Once there is a spool everything goes through it until it is empty: what only memory holds
        # then always comes before what the disk holds, and `save` can put it in front.
        if self.spool is not None and (full or not self.spool.empty):
            self.spool.append(entry)
            self.spooled += 1
        elif entry.in_rows and self._rows_go and entry.key == self._acquired:
            self._flight[entry.key] = replace(entry, attempts=1)
            self.memory_used += entry.nbytes
        else:
            self._waiting[entry.key] = entry
            self.memory_used += entry.nbytes

    def leave_out(self, epoch: int, seq: int) -> None:
        """Note the number of a frame that is not kept, so that it is given to no other."""
        self._note(epoch, seq)

    def _note(self, epoch: int, seq: int, *, end: bool = False) -> None:
        if self.spool is None:
            return
        if end:
            self.spool.numbers.end(epoch)
        else:
            self.spool.numbers.give(epoch, seq)

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
        if entry is None and key == self._acquired:
            self._stop_rows()  # it was answered before it was complete: sent whole, it is again
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
        self._go_back(None)

    def again(self, key: Key) -> None:
        """Send a frame again, whole, and all that was sent after it, in order.

        The frame that is being acquired will go whole, too, so that the order is kept.
        """
        if key in self._flight:
            self._go_back(key)
        elif key == self._acquired:
            self._stop_rows()

    def _go_back(self, first: Key | None) -> None:
        key: Key | None = None
        while self._flight and (key is None or key != first):
            key, entry = self._flight.popitem(last=True)
            self._waiting[key] = entry
            self._waiting.move_to_end(key, last=False)
        self._stop_rows()

    def _stop_rows(self) -> None:
        """Let the frame that is being acquired go whole; rows of one in flight are all it has."""
        self._rows_go = False
        self._blocks = deque(block for block in self._blocks if block.key in self._flight)

    def save(self) -> int:
        """Write what only memory holds to the spool, at the end; return how many are left behind.

        Without a spool nothing is written and the number says what is lost.
        """
        self.rewind()
        if self.spool is not None:
            self.spool.put_in_front(self._unsaved(self.spool))
        return len(self)

    def _unsaved(self, spool: Spool) -> list[Entry]:
        """Give what only memory holds, and the last message, be it settled.

        The next process goes on after the last number that it finds in the spool. Were that one
        left unsettled before others that are settled, it would give their numbers again.
        """
        held = [entry for entry in self._waiting.values() if entry.segment is None]
        last = self._last
        if held and spool.empty and last is not None and last.key != held[-1].key:
            held.append(last)
        return held

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
