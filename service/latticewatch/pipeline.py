"""One stream's way from ingest to its subscribers: analysis on workers, then one writer."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from latticewatch.client.errors import FrameError
from latticewatch.detections import Detections
from latticewatch.fairness import Workers
from latticewatch.preview import block_of, preview
from latticewatch.receiving.deliveries import Arrival, Delivery
from latticewatch.segmenters import ModelInUse, ModelRecord
from latticewatch.steps import Analysed, Outcome, Step
from latticewatch.storage.pictures import Picture, picture_of
from latticewatch.writer import StreamWriter
from latticewatch_kernels.lattice import FrameFaultError

log = logging.getLogger(__name__)

#: Frames committed in one transaction at most: enough to spread an fsync of 10 ms thinly, few
#: enough that nobody waits long for the first of them.
BATCH = 8


def analyse(
    arrival: Arrival,
    analyser: Callable[..., Detections],
    overlay_px: int | None,
    model: ModelRecord | None = None,
) -> Analysed:
    """Analyse a frame; a frame that cannot be used comes back with the reason."""
    return replace(_analyse(arrival, analyser, overlay_px), model=model)


def _analyse(
    arrival: Arrival, analyser: Callable[..., Detections], overlay_px: int | None
) -> Analysed:
    try:
        detections = analyser(arrival.image)
    except FrameFaultError as error:
        return Analysed(arrival, error=FrameError("frame", error.cause, error.mend))
    except Exception as error:
        log.exception("stream %s: the analysis of frame %d failed", arrival.stream, arrival.frame)
        reason = f"the analysis failed ({error!r})"
        return Analysed(arrival, error=FrameError("frame", reason, "report it with the frame"))
    picture = picture_of(arrival.image)
    return Analysed(
        arrival,
        detections,
        preview=None if overlay_px is None else _overlay(arrival.image, picture, overlay_px),
        picture=picture,
    )


def _overlay(frame: np.ndarray, picture: Picture, overlay_px: int) -> np.ndarray:
    """Preview for the overlay: the picture itself where it is of the same size."""
    same = block_of(frame.shape, overlay_px) == picture.block
    return picture.image if same else preview(frame, overlay_px)


class StreamPipeline:
    """Holds one stream's deliveries and moves them through in order; the frame port bounds them.

    Parameters
    ----------
    writer
        The stream's tracker and store.
    models
        What each frame is analysed with, on `workers`.
    workers
        Threads shared by all streams, in turn.
    settled
        Awaited with each outcome, in order, once it is committed.
    overlay_px
        Longest side of the preview.
    """

    def __init__(
        self,
        writer: StreamWriter,
        models: ModelInUse,
        workers: Workers,
        settled: Callable[[Outcome], Awaitable[None]],
        overlay_px: int,
    ) -> None:
        self._writer = writer
        self._models = models
        self._workers = workers
        self._settled = settled
        self._overlay_px = overlay_px
        self._steps: deque[asyncio.Future[Step]] = deque()
        self._filled = asyncio.Event()
        self._closed = False
        self._writing = ThreadPoolExecutor(1, f"latticewatch-writer-{writer.stream}")

    @property
    def in_hand(self) -> int:
        """Deliveries taken and not yet settled."""
        return len(self._steps)

    def put(self, delivery: Delivery) -> None:
        """Take the next delivery. A closed one takes nothing."""
        if self._closed:
            return
        step: asyncio.Future[Step]
        if isinstance(delivery, Arrival):
            analyser, model = self._models.pick(delivery.frame)
            step = self._workers.submit(
                delivery.stream, analyse, delivery, analyser, self._overlay_px, model
            )
        else:
            step = asyncio.get_running_loop().create_future()
            step.set_result(delivery)
        self._steps.append(step)
        self._filled.set()

    async def run(self) -> None:
        """Write what is analysed, in order, until cancelled.

        Raises
        ------
        StoreError
            A commit failed: what is in hand was not acknowledged, and the pipeline is to be closed.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._filled.wait()
            await asyncio.wait([self._steps[0]])
            steps = self._ready()
            more = len(self._steps) > len(steps)
            outcomes = await loop.run_in_executor(self._writing, self._writer.process, steps, more)
            for outcome in outcomes:
                self._steps.popleft()
                await self._settled(outcome)
            if not self._steps:
                self._filled.clear()
            if self._writer.is_due(bool(self._steps)):
                await loop.run_in_executor(self._writing, self._writer.estimate)

    def _ready(self) -> list[Step]:
        """Return what has been analysed, from the first in line up to the first that has not."""
        done = itertools.takewhile(asyncio.Future.done, self._steps)
        return [step.result() for step in itertools.islice(done, BATCH)]

    def close(self) -> None:
        """Let the writer finish what it holds and close the store."""
        self._closed = True
        self._writing.shutdown(wait=True)
        self._writer.close()
