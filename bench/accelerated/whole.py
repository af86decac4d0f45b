"""Frames through the whole analysis: time of each stage, latency, frames a second, memory."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np

from latticewatch.analysis import Analyser
from latticewatch.resident import run
from latticewatch.stopwatch import Stopwatch

#: Frames before anything is timed: plans, compiled kernels, the memory pool.
WARM_UP = 20


@dataclass(frozen=True)
class Figures:
    """Milliseconds from bytes in host memory to results in host memory, and frames a second."""

    stages: dict[str, float]
    p50: float
    p99: float
    p999: float
    per_second: dict[int, float]
    pool_growth: int


class _EventWatch(Stopwatch):
    """A stopwatch that waits for the device at the end of each stage."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        import cupy

        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        with super().stage(name):
            yield
            end.record()
            end.synchronize()
        spent = cupy.cuda.get_elapsed_time(start, end)
        self.timings_ms[f"{name} (device)"] = self.timings_ms.get(f"{name} (device)", 0.0) + spent


def stage_times(analyser: Analyser, frames: Sequence[np.ndarray], rounds: int) -> dict[str, float]:
    """Median milliseconds of each stage; on a GPU also by the device's own events."""
    if analyser.placement.gpu is not None:
        # stages of recorded work cannot be told apart
        analyser = replace(analyser, record=False)
        run.Stopwatch = _EventWatch  # type: ignore[attr-defined]
    times: dict[str, list[float]] = defaultdict(list)
    try:
        for frame in islice(cycle(frames), rounds):
            for name, spent in analyser(frame).timings_ms.items():
                times[name].append(spent)
    finally:
        run.Stopwatch = Stopwatch  # type: ignore[attr-defined]
    return {name: float(np.median(values)) for name, values in times.items()}


def measure(
    analyser: Analyser, frames: Sequence[np.ndarray], rounds: int, workers: Sequence[int]
) -> Figures:
    """Time `rounds` frames one after the other, and as many by several threads."""
    for frame in islice(cycle(frames), WARM_UP):
        analyser(frame)
    stages = stage_times(analyser, frames, max(rounds // 10, len(frames)))
    before, times = _pool_bytes(analyser), []
    for frame in islice(cycle(frames), rounds):
        start = time.perf_counter()
        analyser(frame)
        times.append(1e3 * (time.perf_counter() - start))
    grown = _pool_bytes(analyser) - before
    p50, p99, p999 = (float(v) for v in np.percentile(times, [50, 99, 99.9]))
    rates = {count: rate(analyser, frames, rounds, count) for count in workers}
    return Figures(stages, p50, p99, p999, rates, grown)


def settle(analyser: Analyser, run: Callable[[], Iterable[object]]) -> None:
    """Run frames until all work that they need is recorded, which is made by one at a time."""
    recordings, before = analyser.placement.recordings, -1
    while recordings.made != before:
        before = recordings.made
        list(run())


def rate(analyser: Analyser, frames: Sequence[np.ndarray], rounds: int, workers: int) -> float:
    """Frames a second by several threads."""
    with ThreadPoolExecutor(workers) as pool:
        if analyser.placement.gpu is not None:
            settle(analyser, lambda: pool.map(analyser, islice(cycle(frames), WARM_UP * workers)))
        start = time.perf_counter()
        for _ in pool.map(analyser, islice(cycle(frames), rounds)):
            pass
        return rounds / (time.perf_counter() - start)


def _pool_bytes(analyser: Analyser) -> int:
    if analyser.placement.gpu is None:
        return 0
    import cupy

    pool: Any = cupy.get_default_memory_pool()
    return int(pool.total_bytes())
