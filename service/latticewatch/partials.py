"""Frames analysed while they are acquired: strip by strip, beside the complete ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from latticewatch.client.overlays import PartialOverlay
from latticewatch.deliveries import Part
from latticewatch.strip_reader import Reader
from latticewatch.strips import Progress

#: What becomes of a strip; the label values of ``latticewatch_strips``. ``busy``: not analysed,
#: every worker had a complete frame; ``late``: a newer strip, or the whole frame, came before it
#: could be published.
PUBLISHED, BUSY, LATE, FAILED = "published", "busy", "late", "failed"


@dataclass
class _Stream:
    """One stream's frame that is being acquired, and how many complete ones are in hand."""

    reader: Callable[[], Reader]
    part: Part | None = None
    progress: Progress = field(default_factory=Progress)
    held: PartialOverlay | None = None
    in_hand: int = 0


class Partials:
    """Analyses the rows that are there, one strip at a time in a thread of its own.

    Nothing waits for it: a strip is begun only while a worker has no complete frame, of the rows
    that come meanwhile the next strip takes all, and what is late is dropped. An overlay of rows is
    published while its frame is incomplete and every frame before it has been published, so that a
    subscriber's frames never go back.

    Parameters
    ----------
    publish
        Awaited with every overlay.
    busy
        Whether every worker has a complete frame.
    count
        Called with the stream and what became of a strip.
    """

    def __init__(
        self,
        publish: Callable[[PartialOverlay], Awaitable[object]],
        busy: Callable[[], bool],
        count: Callable[[str, str], None],
    ) -> None:
        self._publish = publish
        self._busy = busy
        self._count = count
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
            self._drop(state)
            state.progress = state.progress.afresh()
        state.part = part
        self._changed.set()

    def delivered(self, stream: str, frame: int) -> None:
        """Note that a complete frame goes to the workers."""
        state = self._streams[stream]
        state.in_hand += 1
        if state.part is not None and state.part.frame <= frame:
            self._drop(state)
            state.part = None

    async def settled(self, stream: str) -> None:
        """Note that a complete frame has been published."""
        state = self._streams[stream]
        state.in_hand -= 1
        await self._release(state)
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
        strip = state.progress.next_strip(part.rows_done, part.header.shape[0])
        if strip is None:
            return
        if self._busy():
            self._count(part.stream, BUSY)
            return
        loop = asyncio.get_running_loop()
        told = await loop.run_in_executor(self._thread, state.reader(), part, strip, state.progress)
        if told.overlay is None:
            self._count(part.stream, FAILED)
        if state.part is None or state.part.image is not part.image:
            self._count(part.stream, LATE)
            state.progress = told.progress.afresh()
            return
        state.progress = told.progress
        if told.overlay is not None:
            self._drop(state)
            state.held = told.overlay
        await self._release(state)
        self._changed.set()

    def _drop(self, state: _Stream) -> None:
        if state.held is not None:
            self._count(state.held.stream, LATE)
            state.held = None

    async def _release(self, state: _Stream) -> None:
        """Publish the overlay that waits, unless a frame before it is still to be published."""
        overlay = state.held
        if overlay is not None and not state.in_hand:
            state.held = None
            self._count(overlay.stream, PUBLISHED)
            await self._publish(overlay)
