"""Frames run together: the network by itself, and the whole analysis by as many workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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

#: Batches in hand at once: while a device has one, the host puts the next in and reads the last.
IN_HAND = (1, 2, 4)


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
        Frames a second through the whole analysis, by numbers of workers that bring one each.
    together
        The same on a GPU, by numbers of threads that have a batch each; empty on the host.
    graph_ms
        Milliseconds of the device for each frame of a batch that was recorded as a whole, its ways
        up and down included, started again and again; NaN where none was.
    """

    number: int
    network_ms: float
    processor_ms: float
    per_second: dict[int, float]
    together: dict[int, float]
    graph_ms: float = float("nan")

    def text(self) -> str:
        """Return one line."""
        by = [f"{rate:.1f} by {count} workers" for count, rate in self.per_second.items()]
        by += [f"{rate:.1f} by {count} with a stack" for count, rate in self.together.items()]
        return (
            f"  batches of {self.number}: network {self.network_ms:.3f} ms a frame (of the calling "
            f"thread {self.processor_ms:.3f}), recorded graph {self.graph_ms:.3f} ms a frame, "
            f"whole, frames/s: {', '.join(by)}"
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
    stacks_only: bool = False,
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
    stacks_only
        Whether batches that workers bring frame by frame are left out.
    """
    analyse = maker.analyser(analyser, number)
    gpu, together = analyse.placement.gpu, dict[int, float]()
    given = list(islice(cycle(frames), number))
    with nullcontext() if gpu is None else device(gpu):
        images = [
            condition(frame) if gpu is None else conditioned(upload(frame, which))[0]
            for which, frame in enumerate(given)
        ]
        spent, own = _least(lambda: analyse.segmenter.segment_all(images), images[0])
        if gpu is not None:
            together = {n: _together(analyse, given, rounds, gpu, n) for n in IN_HAND}
    rates = {
        workers: whole.rate(analyse, frames, max(rounds, workers), workers)
        for workers in ((number,) if gpu is None else (number * n for n in IN_HAND))
        if not stacks_only
    }
    graph_ms = _graph_ms(analyse, number) if together else float("nan")
    return Figures(number, 1e3 * spent / number, 1e3 * own / number, rates, together, graph_ms)


def _graph_ms(analyse: Analyser, number: int) -> float:
    """Milliseconds of the device for each frame of recorded work of so many frames."""
    works = analyse.placement.recordings.whole(number)
    if not works:
        return float("nan")
    import cupy

    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    work, stream = works[0].work, works[0].stream
    with stream:
        work.start()
        start.record()
        for _ in range(REPEATS):
            work.start()
        end.record()
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(start, end)) / (REPEATS * number)


def _together(
    analyse: Analyser, frames: list[np.ndarray], rounds: int, gpu: int, threads: int
) -> float:
    """Frames a second by some threads that have a stack each, once the work of all is recorded."""
    calls, stack = -(-rounds // len(frames)), np.stack(frames)

    def run(_: int) -> None:
        with device(gpu):
            analyse.together(stack, gpu)

    with ThreadPoolExecutor(threads) as pool:
        rounds_each = -(-whole.WARM_UP // len(frames)) + 1
        whole.settle(analyse, lambda: pool.map(run, range(rounds_each * threads)))
        start = time.perf_counter()
        list(pool.map(run, range(calls)))
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
