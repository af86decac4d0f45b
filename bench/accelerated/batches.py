"""Frames run together: the network by itself, and the whole analysis by as many workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from accelerated import whole
from latticewatch.analysis import Analyser
from latticewatch.batched import BatchedSegmenter
from latticewatch_kernels.arrays import device, upload, wait
from latticewatch_kernels.conditioning import condition
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
    """

    number: int
    network_ms: float
    processor_ms: float
    per_second: float

    def text(self) -> str:
        """Return one line."""
        return (
            f"  batches of {self.number}: network {self.network_ms:.3f} ms a frame (of the calling "
            f"thread {self.processor_ms:.3f}), whole {self.per_second:.1f} frames/s by "
            f"{self.number} workers"
        )


def measure(
    analyser: Analyser,
    made: Callable[[int], Segmenter],
    frames: Sequence[np.ndarray],
    rounds: int,
    number: int,
) -> Figures:
    """Measure batches of one size.

    Parameters
    ----------
    analyser
        The analysis; its segmenter is replaced.
    made
        Makes a segmenter for batches of a size.
    frames
        As acquired, of one shape.
    rounds
        Frames through the whole analysis.
    number
        Size of the batches.
    """
    segmenter, gpu = made(number), analyser.placement.gpu
    with nullcontext() if gpu is None else device(gpu):
        given = islice(cycle(frames), number)
        images = [condition(frame if gpu is None else upload(frame)) for frame in given]
        spent, own = _least(lambda: segmenter.segment_all(images), images[0])
    analyse = whole.with_segmenter(analyser, segmenter)
    rate = whole.rate(analyse, frames, max(rounds, number), number)
    return Figures(number, 1e3 * spent / number, 1e3 * own / number, rate)


def maker(wait_s: float, **given: object) -> Callable[[int], Segmenter]:
    """Give what makes a segmenter for batches of a size, with `Segmenter`'s other arguments."""

    def made(number: int) -> Segmenter:
        if number == 1:
            return Segmenter(**given)  # type: ignore[arg-type]
        return BatchedSegmenter(most=number, wait_s=wait_s, **given)  # type: ignore[arg-type]

    return made


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
