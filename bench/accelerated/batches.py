"""Frames run together: the network by itself, and the whole analysis by as many workers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np

from accelerated import whole
from latticewatch.analysis import Analyser
from latticewatch.batched import BatchedSegmenter
from latticewatch.devices.placement import Placement
from latticewatch.resident import Plans
from latticewatch_kernels.arrays import device, upload, wait
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.resident.conditioning import conditioned
from latticewatch_models.runtime import Segmenter

#: Runs of the network of which the least counts: what others do on the machine only adds.
REPEATS = 10


@dataclass(frozen=True)
class Figures:
    """Of batches of one size.

    Attributes
    ----------
    number
        Frames of a batch.
    network_ms
        Milliseconds of the network for each frame of a batch, from arrays on its device to arrays
        there.
    processor_ms
        The same by the calling thread's own time, which on the host depends little on other work.
    per_second
        Frames a second through the whole analysis, by as many workers.
    together
        The same on a GPU by one thread that has so many at a time; NaN on the host.
    """

    number: int
    network_ms: float
    processor_ms: float
    per_second: float
    together: float

    def text(self) -> str:
        """Return one line."""
        alone = "" if math.isnan(self.together) else f", {self.together:.1f} by one thread"
        return (
            f"  batches of {self.number}: network {self.network_ms:.3f} ms a frame (of the calling "
            f"thread {self.processor_ms:.3f}), whole {self.per_second:.1f} frames/s by "
            f"{self.number} workers{alone}"
        )


@dataclass(frozen=True)
class Maker:
    """Makes what runs batches of a size.

    Attributes
    ----------
    wait_s
        How long the first of a batch waits.
    given
        `Segmenter`'s other arguments.
    """

    wait_s: float
    given: dict[str, Any]

    def segmenter(self, number: int) -> Segmenter:
        """Make a segmenter for batches of a size."""
        given = self.given | {"tuning": replace(self.given["tuning"], most=number)}
        if number == 1:
            return Segmenter(**given)
        return BatchedSegmenter(most=number, wait_s=self.wait_s, **given)

    def analyser(self, analyser: Analyser, number: int) -> Analyser:
        """Make the same analysis for batches of a size."""
        placement = Placement(analyser.placement.gpu, most=number, wait_s=self.wait_s)
        given = {"segmenter": self.segmenter(number), "placement": placement, "plans": Plans()}
        return replace(analyser, **given)


def measure(
    analyser: Analyser,
    maker: Maker,
    frames: Sequence[np.ndarray],
    rounds: int,
    number: int,
) -> Figures:
    """Measure batches of one size.

    Parameters
    ----------
    analyser
        The analysis; its segmenter and placement are replaced.
    maker
        Makes these.
    frames
        As acquired, of one shape.
    rounds
        Frames through the whole analysis.
    number
        Size of the batches.
    """
    analyse = maker.analyser(analyser, number)
    gpu, together = analyse.placement.gpu, float("nan")
    given = list(islice(cycle(frames), number))
    with nullcontext() if gpu is None else device(gpu):
        images = [
            condition(frame) if gpu is None else conditioned(upload(frame, which))[0]
            for which, frame in enumerate(given)
        ]
        spent, own = _least(lambda: analyse.segmenter.segment_all(images), images[0])
        if gpu is not None:
            together = _together(analyse, given, rounds, gpu)
    rate = whole.rate(analyse, frames, max(rounds, number), number)
    return Figures(number, 1e3 * spent / number, 1e3 * own / number, rate, together)


def _together(analyse: Analyser, frames: list[np.ndarray], rounds: int, gpu: int) -> float:
    """Frames a second by one thread, after as many as let their work be recorded."""
    warm(analyse, frames, gpu)
    calls = -(-rounds // len(frames))
    start = time.perf_counter()
    for _ in range(calls):
        analyse.together(frames, gpu)
    return calls * len(frames) / (time.perf_counter() - start)


def warm(analyse: Analyser, frames: list[np.ndarray], gpu: int) -> None:
    """Run so many frames together that their work is recorded after that."""
    for _ in range(-(-whole.WARM_UP // len(frames)) + 1):
        analyse.together(frames, gpu)


def _least(run: Callable[[], object], like: object) -> tuple[float, float]:
    """Least seconds of some runs, the device's work included, and the thread's own."""
    run()
    times, own = [], []
    for _ in range(REPEATS):
        start, mine = time.perf_counter(), time.thread_time()
        run()
        wait(like)
        times.append(time.perf_counter() - start)
        own.append(time.thread_time() - mine)
    return min(times), min(own)
