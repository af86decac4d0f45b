"""Frames of one stream into order: once each, gaps declared, frame numbers given. No I/O."""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from latticewatch.receiving.gaps import Gaps

T = TypeVar("T")

#: Later frames that wait before a missing one is given up. TCP keeps order, so only a resend over a
#: second connection can overtake; must stay below a publisher's window (16) or both would wait.
WINDOW = 8

#: Largest step forward that is taken for a gap rather than for nonsense: a day at one frame a
#: second.
MAX_JUMP = 86_400

#: Closed epochs that are remembered, to tell a late resend from a new frame.
REMEMBERED = 1024


class Verdict(enum.Enum):
    """What became of a pushed frame."""

    FRESH = "fresh"
    IN_HAND = "in hand"  # a repetition of one that is not committed yet
    COMMITTED = "committed"  # a repetition of one that is
    LATE = "late"  # it was recorded as missing before it came
    CLOSED = "closed"  # its epoch was closed by a newer one or by its end
    TOO_FAR = "too far"


@dataclass(frozen=True)
class Position:
    """Where a stream stands: what the store has committed.

    Attributes
    ----------
    epoch
        Epoch of the last committed frame; None for a new stream.
    seq
        Next sequence number of that epoch.
    frame
        Next frame number of the session.
    missing
        Sequence numbers that were recorded as missing, the latest of them: epoch and range.
    rejected
        Frames that were rejected, the latest of them: epoch, sequence number and why.
    ended
        The epoch has ended.
    closed
        Earlier epochs and the number of frames that each had.
    """

    epoch: int | None = None
    seq: int = 0
    frame: int = 0
    missing: tuple[tuple[int, range], ...] = ()
    ended: bool = False
    closed: tuple[tuple[int, int], ...] = ()
    rejected: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True)
class Ready(Generic[T]):
    """A frame whose turn it is; `frame` counts through the session."""

    frame: int
    epoch: int
    seq: int
    item: T


@dataclass(frozen=True)
class Missing:
    """Frames that never came: `count` of them from `seq`, or from `frame` in the session."""

    frame: int
    epoch: int
    seq: int
    count: int


@dataclass(frozen=True)
class Finished:
    """The epoch's end; `frame` is the number that the session's next frame will have."""

    frame: int
    epoch: int
    seq: int


Outcome = Ready[T] | Missing | Finished


@dataclass
class ReorderBuffer(Generic[T]):
    """Puts one stream's frames into order.

    Parameters
    ----------
    window
        Later frames that wait before a missing one is given up.
    position
        Where the store stands.
    """

    window: int = WINDOW
    position: Position = field(default_factory=Position)

    def __post_init__(self) -> None:
        start = self.position
        self._epoch = start.epoch
        self._next = self._committed = start.seq
        self._frame = start.frame
        self._ended = start.ended
        self._end_committed = start.ended
        self._waiting: dict[int, T] = {}
        self._missing = Gaps(start.missing)
        self._closed: OrderedDict[int, int] = OrderedDict(start.closed)
        self._uncommitted: OrderedDict[int, int] = OrderedDict()  # closed, not yet all committed

    @property
    def epoch(self) -> int | None:
        """Epoch that is being received."""
        return self._epoch

    @property
    def waiting(self) -> int:
        """Frames that wait for an earlier one."""
        return len(self._waiting)

    @property
    def frame(self) -> int:
        """Number in the session of the frame that comes next."""
        return self._frame

    def number(self, epoch: int, seq: int) -> int:
        """Tell the number in the session that a fresh frame will have, as things stand."""
        if epoch == self._epoch:
            return self._frame + seq - self._next
        before = max(self._waiting) + 1 - self._next if self._waiting else 0
        return self._frame + before + seq

    def judge(self, epoch: int, seq: int) -> Verdict:
        """Say what `push` would make of a frame, without taking it."""
        if (epoch, seq) in self._missing:
            return Verdict.LATE
        if epoch in self._closed:
            known = self._closed[epoch]
            if seq >= known:
                return Verdict.CLOSED
            behind = self._uncommitted.get(epoch)
            return Verdict.IN_HAND if behind is not None and seq >= behind else Verdict.COMMITTED
        if epoch != self._epoch:
            return Verdict.FRESH if seq <= MAX_JUMP else Verdict.TOO_FAR
        if seq < self._next:
            return Verdict.COMMITTED if seq < self._committed else Verdict.IN_HAND
        if self._ended:
            return Verdict.CLOSED
        if seq > self._next + MAX_JUMP:
            return Verdict.TOO_FAR
        return Verdict.IN_HAND if seq in self._waiting else Verdict.FRESH

    def judge_end(self, epoch: int) -> Verdict:
        """Say whether the end of an epoch is new, being dealt with, or was dealt with before."""
        if epoch in self._closed:
            return Verdict.IN_HAND if epoch in self._uncommitted else Verdict.COMMITTED
        if epoch == self._epoch and self._ended:
            return Verdict.COMMITTED if self._end_committed else Verdict.IN_HAND
        return Verdict.FRESH

    def push(self, epoch: int, seq: int, item: T) -> tuple[Verdict, list[Outcome[T]]]:
        """Take a frame; return what became of it, and what is ready now, in order."""
        verdict = self.judge(epoch, seq)
        if verdict is not Verdict.FRESH:
            return verdict, []
        ready = self._turn_to(epoch)
        self._waiting[seq] = item
        ready += self._release()
        while len(self._waiting) > self.window:
            ready += self._skip(min(self._waiting)) + self._release()
        return verdict, ready

    def end(self, epoch: int, seq: int) -> tuple[Verdict, list[Outcome[T]]]:
        """Take the end of an epoch that had `seq` frames; gaps before it are given up.

        COMMITTED says that the end was dealt with before, IN_HAND that it is being dealt with.
        """
        verdict = self.judge_end(epoch)
        if verdict is not Verdict.FRESH:
            return verdict, []
        base = self._next if epoch == self._epoch else 0
        if seq > base + MAX_JUMP or (epoch == self._epoch and seq < base):
            return Verdict.TOO_FAR, []
        ready = self._turn_to(epoch)
        ready += self._flush()
        ready += self._skip(seq)
        self._ended = True
        return Verdict.FRESH, [*ready, Finished(self._frame, epoch, self._next)]

    def give_up(self) -> list[Outcome[T]]:
        """Declare the first gap: frames have waited for it long enough."""
        if not self._waiting:
            return []
        return self._skip(min(self._waiting)) + self._release()

    def committed(self, epoch: int, seq: int) -> None:
        """Note that all frames before `seq` are committed."""
        if epoch == self._epoch:
            self._committed = max(self._committed, seq)
        elif epoch in self._uncommitted:
            self._uncommitted[epoch] = max(self._uncommitted[epoch], seq)
            if self._uncommitted[epoch] >= self._closed[epoch]:
                del self._uncommitted[epoch]

    def end_committed(self, epoch: int) -> None:
        """Note that the end of the epoch has been dealt with."""
        if epoch == self._epoch:
            self._end_committed = True

    def _turn_to(self, epoch: int) -> list[Outcome[T]]:
        """Make the epoch the current one; what waits in the old one is released."""
        if epoch == self._epoch:
            return []
        ready = self._flush()
        if self._epoch is not None:
            self._closed[self._epoch] = self._next
            if self._committed < self._next:
                self._uncommitted[self._epoch] = self._committed
            while len(self._closed) > REMEMBERED:
                self._closed.popitem(last=False)
        self._epoch = epoch
        self._next = self._committed = 0
        self._ended = self._end_committed = False
        return ready

    def _flush(self) -> list[Outcome[T]]:
        ready: list[Outcome[T]] = []
        while self._waiting:
            ready += self.give_up()
        return ready

    def _release(self) -> list[Outcome[T]]:
        ready: list[Outcome[T]] = []
        assert self._epoch is not None  # noqa: S101 - _turn_to has set it
        while self._next in self._waiting:
            item = self._waiting.pop(self._next)
            ready.append(Ready(self._frame, self._epoch, self._next, item))
            self._next += 1
            self._frame += 1
        return ready

    def _skip(self, seq: int) -> list[Outcome[T]]:
        """Declare everything from the next frame up to `seq` missing."""
        count = seq - self._next
        if count <= 0:
            return []
        assert self._epoch is not None  # noqa: S101 - _turn_to has set it
        gap = Missing(self._frame, self._epoch, self._next, count)
        self._missing.add(self._epoch, range(self._next, seq))
        self._next = seq
        self._frame += count
        return [gap]
