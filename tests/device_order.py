"""Whether what streams do to one array is ordered, by vector clocks.

The double does everything at once; a device does not: of two streams neither waits for the other
but where it is told to. Each operation is given the time of its stream, which knows the times of
all that it has waited for (Fidge, Proc. 11th Australian Computer Science Conf., 56 (1988)); what
one stream fills and another reads, without having waited, is a race and raises.

All threads of the host count as one: they hand arrays on by means that are not looked at here.
"""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

Clock = defaultdict[int, int]


@dataclass
class Touched:
    """Who filled an array last, and who has read it since: stream and its time."""

    filled: tuple[int, int] = (0, 0)
    read: dict[int, int] = field(default_factory=dict)


class Order:
    """Times of streams, by their addresses, and what they have touched."""

    def __init__(self) -> None:
        self.host: Clock = defaultdict(int)
        self.streams: defaultdict[int, Clock] = defaultdict(lambda: defaultdict(int))
        self.touched: dict[int, Touched] = {}
        self.lock = threading.RLock()

    def touch(self, stream: int, reads: Iterable[np.ndarray], fills: Iterable[np.ndarray]) -> None:
        """Let a stream read and fill arrays; AssertionError where another may still be at it."""
        with self.lock:
            clock = self.streams[stream]
            join(clock, self.host)
            clock[stream] += 1
            for array in map(root, reads):
                seen = self._seen(array)
                check(clock, [seen.filled], stream, "reads what", "fills")
                seen.read[stream] = clock[stream]
            for array in map(root, fills):
                seen = self._seen(array)
                check(clock, [seen.filled], stream, "fills what", "fills")
                check(clock, seen.read.items(), stream, "fills what", "reads")
                seen.filled, seen.read = (stream, clock[stream]), {}

    def mark(self, stream: int) -> Clock:
        """Give the time of a stream, for an event."""
        with self.lock:
            return self.streams[stream].copy()

    def wait(self, stream: int, event: Clock) -> None:
        """Let a stream wait for an event."""
        with self.lock:
            join(self.streams[stream], event)

    def wait_here(self, event: Clock) -> None:
        """Let the host wait for an event."""
        with self.lock:
            join(self.host, event)

    def _seen(self, array: np.ndarray) -> Touched:
        key = id(array)
        if key not in self.touched:
            self.touched[key] = Touched()
            weakref.finalize(array, self.touched.pop, key, None)
        return self.touched[key]


def join(clock: Clock, other: Clock) -> None:
    for stream, time in other.items():
        clock[stream] = max(clock[stream], time)


def check(
    clock: Clock, touches: Iterable[tuple[int, int]], stream: int, does: str, did: str
) -> None:
    for other, time in touches:
        assert clock[other] >= time, (
            f"stream {stream:x} {does} stream {other:x} {did}, and has not waited for it"
        )


def root(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory of a view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
