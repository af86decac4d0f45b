"""What CuPy's double counts, and what it captures to do once more, in the same arrays."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

#: What this thread's stream captures: functions that do it once more, in place.
tape = threading.local()


def capturing() -> bool:
    return getattr(tape, "notes", None) is not None


def refuse(what: str) -> None:
    if capturing():
        raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {what}")


def begin() -> None:
    """Note from now on what this thread's operations are."""
    tape.notes = []


def end() -> list[Callable[[], Any]]:
    """Give what was noted, and note no more."""
    notes, tape.notes = tape.notes, None
    return notes


def aside() -> list[Callable[[], Any]] | None:
    """Note nothing for now, since another stream is asked; what was noted is to be taken `back`."""
    notes, tape.notes = getattr(tape, "notes", None), None
    return notes


def back(notes: list[Callable[[], Any]] | None) -> None:
    """Go on noting what the stream that captures is asked for."""
    tape.notes = notes


def note(again: Callable[[], Any]) -> None:
    if capturing():
        tape.notes.append(again)


def computed(compute: Callable[[], Any]) -> Any:
    """Compute; where that is captured, note how to fill the same arrays once more."""
    made = compute()
    if not capturing():
        return made
    made = tuple(map(np.asarray, made)) if isinstance(made, tuple) else np.asarray(made)
    note(lambda: fill(made, compute()))
    return made


def fill(made: Any, anew: Any) -> None:
    for array, values in (
        zip(made, anew, strict=True) if isinstance(made, tuple) else [(made, anew)]
    ):
        array[...] = values


class Memory:
    """Arrays that own memory of a kind, by its address."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.owners: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()

    def add(self, owner: np.ndarray) -> None:
        self.owners[owner.ctypes.data] = owner

    def at(self, address: int, size: int) -> np.ndarray:
        """Bytes at an address, which stay for as long as they are held."""
        rest = self._rest(address)
        assert size <= len(rest), f"a copy needs {self.kind} memory"
        return rest[:size]

    def beyond(self, address: int, kind: Any) -> np.ndarray:
        """All from an address on, as numbers of a kind."""
        rest = self._rest(address)
        return rest[: len(rest) // np.dtype(kind).itemsize * np.dtype(kind).itemsize].view(kind)

    def _rest(self, address: int) -> np.ndarray:
        start = address
        if address not in self.owners:
            start = max((place for place in list(self.owners) if place < address), default=0)
        owner = self.owners.get(start)
        inside = owner is not None and address < start + max(owner.nbytes, 1)
        assert inside, f"a copy needs {self.kind} memory"
        return owner.ravel(order="K").view(np.uint8)[address - start :]


#: Page-locked memory that is in use: CUDA would wait for a crossing that begins or ends elsewhere.
page_locked = Memory("page-locked")


def empty_pinned(size: int, kind: Any) -> np.ndarray:
    buffer = np.empty(size, kind)
    page_locked.add(buffer)
    return buffer


#: What this thread has asked for and not waited for: it lands at the next wait.
flight = threading.local()


def on_the_way(landing: Callable[[], None]) -> None:
    if not hasattr(flight, "landings"):
        flight.landings = []
    flight.landings.append(landing)


def going_up(values: np.ndarray) -> None:
    """Page-locked memory that is being read: until the next wait nobody may write to it."""
    before = values.copy()

    def landed() -> None:
        same = values.tobytes() == before.tobytes()
        assert same, "page-locked memory was written over while it was on its way up"

    on_the_way(landed)


def going_down(values: np.ndarray, out: np.ndarray) -> None:
    """Page-locked memory that is being filled: until the next wait it holds nothing of worth."""
    there = values.copy()
    out[...] = 0xA5

    def landed() -> None:
        out[...] = there

    on_the_way(landed)


def land() -> None:
    landings, flight.landings = getattr(flight, "landings", []), []
    for landed in landings:
        landed()


class MemoryPool:
    """Memory of its own."""

    def malloc(self, size: int) -> None:
        raise NotImplementedError


@contextmanager
def using_allocator(allocator: Any) -> Iterator[None]:
    yield


class Graph:
    """Work that was captured."""

    def __init__(self, notes: list[Callable[[], Any]], launched: Callable[[], None]) -> None:
        self.notes, self.launched = notes, launched

    def launch(self) -> None:
        self.launched()
        for again in self.notes:
            again()


#: What launches nothing: views, and memory that nothing is written to.
NO_LAUNCH = frozenset(
    ("broadcast_to", "empty", "empty_like", "ravel", "reshape", "squeeze", "swapaxes", "transpose",
     "view")
)  # fmt: skip


class Traffic:
    """Crossings between host and device, how often and how many bytes, and operations.

    `told` hears of each: "up", "down" or "operation", its name, and the bytes that cross.
    """

    def __init__(self, told: Callable[[str, str, int], None] = lambda *_: None) -> None:
        self.up, self.down, self.bytes_up, self.bytes_down, self.operations = 0, 0, 0, 0, 0
        self.told, self.on_the_way = told, False

    def count_up(self, values: np.ndarray) -> None:
        refuse("a crossing up")
        self.moved_up(values)

    def moved_up(self, values: np.ndarray) -> None:
        """Count a crossing that may be part of what is captured."""
        self.up += 1
        self.bytes_up += values.nbytes
        self.told("up", "", values.nbytes)

    def count_down(self, values: np.ndarray) -> None:
        refuse("a crossing down")
        self.down += 1
        self.bytes_down += values.nbytes
        self.told("down", "", values.nbytes)

    def begin_down(self, values: np.ndarray) -> None:
        """Count bytes that are on their way; the stream is waited for afterwards."""
        self.on_the_way = True
        self.bytes_down += values.nbytes
        self.told("bytes", "", values.nbytes)

    def waited(self) -> None:
        """Count a look where bytes were on their way, which land."""
        land()
        if self.on_the_way:
            self.on_the_way, self.down = False, self.down + 1
            self.told("down", "", 0)

    def count_operation(self, name: str, before: Any = None, after: Any = None) -> None:
        """Count what is no view, and did not hand back what it was given."""
        if name not in NO_LAUNCH and (after is None or after is not before):
            self.operations += 1
            self.told("operation", name, 0)
