"""How long a segmenter takes for a frame."""

from __future__ import annotations

import time

import numpy as np

from latticewatch_models.runtime import Segmenter


def milliseconds(segmenter: Segmenter, repeats: int = 30, *, columns: bool = False) -> float:
    """Least of some runs on a frame of 512 x 512: what others do on the machine only adds."""
    frame = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        segmenter.segment(frame, columns=columns)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def processor_ms(segmenter: Segmenter, repeats: int = 20) -> float:
    """Median time of the calling thread for a frame of 512 x 512, of a segmenter of one thread.

    Hardly depends on what else the machine does.
    """
    frame = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        segmenter.segment(frame)
        times.append(time.thread_time() - start)
    return 1e3 * float(np.median(times))
