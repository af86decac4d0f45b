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
