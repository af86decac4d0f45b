"""What a frame asks a GPU for, and where the host waits: CUDA's own record of it.

torch's profiler hears of every call of CUDA's runtime and driver in this process, CuPy's and ONNX
Runtime's included. torch itself computes nothing here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from latticewatch.analysis import Analyser

#: Calls that wait for a device, by what their names begin with after ``cuda`` or ``cu``.
WAITS = ("StreamSynchronize", "DeviceSynchronize", "CtxSynchronize", "EventSynchronize")
#: Copies that return when they are done: those that are asked for end in Async.
COPIES = ("Memcpy",)
#: How a profiler calls what it hears of.
CALLS, KERNELS, MOVES = ("cuda_runtime", "cuda_driver"), ("kernel",), ("gpu_memcpy", "gpu_memset")


@dataclass(frozen=True)
class Counts:
    """Of one frame, on the average.

    Attributes
    ----------
    waits
        By name, calls that wait for the device.
    graphs, kernels, moves
        Graphs launched, kernels run, and copies and fills.
    """

    waits: dict[str, float]
    graphs: float
    kernels: float
    moves: float

    def text(self) -> str:
        """Return one line."""
        waits = ", ".join(f"{name} {number:g}" for name, number in sorted(self.waits.items()))
        return (
            f"  trace of a frame: waits {waits or 'none'}; {self.graphs:g} graphs, "
            f"{self.kernels:g} kernels, {self.moves:g} copies and fills"
        )


def counted(events: Sequence[dict[str, Any]], frames: int) -> Counts:
    """Count a Chrome trace's events, over so many frames."""
    kinds: Counter[str] = Counter()
    waits: Counter[str] = Counter()
    for event in events:
        kind, name = event.get("cat", ""), event.get("name", "")
        kinds["kernels"] += kind in KERNELS
        kinds["moves"] += kind in MOVES
        if kind not in CALLS:
            continue
        plain = name.removeprefix("cuda").removeprefix("cu")
        kinds["graphs"] += plain.startswith("GraphLaunch")
        waits[name] += plain.startswith(WAITS) or (
            plain.startswith(COPIES) and "Async" not in plain
        )
    each = {name: number / frames for name, number in waits.items() if number}
    return Counts(each, *(kinds[kind] / frames for kind in ("graphs", "kernels", "moves")))


def measure(analyser: Analyser, frames: Sequence[np.ndarray], rounds: int, path: Path) -> Counts:
    """Record some frames one after the other, and keep the record for a viewer of traces."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as record:
        for frame in islice(cycle(frames), rounds):
            analyser(frame)
    record.export_chrome_trace(str(path))
    return counted(json.loads(path.read_text(encoding="utf-8"))["traceEvents"], rounds)
