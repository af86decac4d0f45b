"""Frames analysed while they are acquired: strip by strip, beside the complete ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from latticewatch.client.overlays import PartialOverlay
from latticewatch.receiving.deliveries import Part
from latticewatch.strip_reader import Reader
from latticewatch.strips import Pace, Progress

#: What becomes of a strip; the label values of ``latticewatch_strips``. Not begun: ``busy`` while
#: complete frames were in hand, ``short`` since its own frame would be complete before its end.
#: Begun in vain: ``late``, a complete frame came before its end; ``failed``.
PUBLISHED, BUSY, SHORT, LATE, FAILED = "published", "busy", "short", "late", "failed"

#: What is left from frame to frame of the time that a strip took: one that took long once is not
#: held against all that follow, which would then never be tried.
FORGET = 0.9


@dataclass
class _Stream:
    """One stream's frame that is being acquired, and how many complete ones are in hand.

    `spent_s` is what its newest strip took.
    """

    reader: Callable[[], Reader]
    part: Part | None = None
    pace: Pace = field(default_factory=Pace)
    progress: Progress = field(default_factory=Progress)
    in_hand: int = 0
    spent_s: float = 0.0


class Partials:
    """Analyses the rows that are there, one strip at a time in a thread of its own.

    Complete frames come first: a strip is begun only while none is in hand, of any stream, and only
    if it is likely to end before its own frame is complete. Of the rows that come meanwhile the
    next strip takes all. What it shows is published while its frame is incomplete and none before
    it is in hand, so that a subscriber's frames never go back.

    Parameters
    ----------
    publish
        Awaited with every overlay.
    count
        Called with the stream and what became of a strip.
    clock
        Seconds, evenly.
    """

    def __init__(
        self,
        publish: Callable[[PartialOverlay], Awaitable[object]],
        count: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish = publish
        self._count = count
        self._clock = clock
        self._streams: dict[str, _Stream] = {}
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "latticewatch-strips")

    def open(self, stream: str, reader: Callable[[], Reader]) -> None:
        """Take a stream in; `reader` gives what its next strip is analysed with."""
        self._streams[stream] = _Stream(reader)

    def grow(self, part: Part) -> None:
        """Take rows in."""
        state = self._streams[part.stream]
        if state.part is None or state.part.image is not part.image:
            state.progress, state.pace = state.progress.afresh(), Pace()
            state.spent_s *= FORGET
        state.part = part
        state.pace = state.pace.after(part.rows_done, self._clock())
        self._changed.set()

    def delivered(self, stream: str, frame: int) -> None:
        """Note that a complete frame is in hand."""
        state = self._streams[stream]
        state.in_hand += 1
        if state.part is not None and state.part.frame <= frame:
            state.part = None

    def settled(self, stream: str) -> None:
        """Note that a complete frame has been published."""
        self._streams[stream].in_hand -= 1
        self._changed.set()

    def dropped(self, stream: str) -> None:
        """Note that what was in hand of a stream will not be settled."""
        state = self._streams[stream]
        state.in_hand, state.part = 0, None
        self._changed.set()

    async def run(self) -> None:
        """Analyse what comes until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            for state in list(self._streams.values()):
                await self._analyse(state)

    def close(self) -> None:
        """Wait for the strip that is being analysed."""
        self._thread.shutdown(wait=True)

    async def _analyse(self, state: _Stream) -> None:
        part = state.part
        if part is None:
            return
        height = part.header.shape[0]
        strip = state.progress.next_strip(part.rows_done, height)
        if strip is None:
            return
        if any(other.in_hand for other in self._streams.values()):
            self._count(part.stream, BUSY)
            return
        begun = self._clock()
        if begun + state.spent_s > state.pace.complete_at(height):
            self._count(part.stream, SHORT)
            return
        loop = asyncio.get_running_loop()
        told = await loop.run_in_executor(self._thread, state.reader(), part, strip, state.progress)
        state.spent_s = self._clock() - begun
        if state.part is None or state.part.image is not part.image:
            state.progress = told.progress.afresh()
            self._count(part.stream, LATE)
            return
        state.progress = told.progress
        self._changed.set()
        if told.overlay is None or state.in_hand:
            self._count(part.stream, FAILED if told.overlay is None else LATE)
            return
        self._count(part.stream, PUBLISHED)
        await self._publish(told.overlay)
