"""What a frame asks a GPU for, and where the host waits: CUDA's own record of it.

torch's profiler hears of every call of CUDA's runtime and driver in this process, CuPy's and ONNX
Runtime's included. torch itself computes nothing here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Calls that wait for a device, by what their names begin with after ``cuda`` or ``cu``.
WAITS = ("StreamSynchronize", "DeviceSynchronize", "CtxSynchronize", "EventSynchronize")
#: Copies that return when they are done: those that are asked for end in Async.
COPIES = ("Memcpy",)
#: How a profiler calls what it hears of.
CALLS, KERNELS, MOVES = ("cuda_runtime", "cuda_driver"), ("kernel",), ("gpu_memcpy", "gpu_memset")

#: Kernels and calls that are listed, and letters of their names: those of templates fill lines.
LISTED, CALLS_LISTED, LETTERS = 30, 8, 72


@dataclass(frozen=True)
class Share:
    """What all of one name take of the device or the host, for a frame on the average."""

    name: str
    number: float
    microseconds: float

    def text(self) -> str:
        """Return one line."""
        return f"    {self.microseconds:8.2f} us {self.number:6g} x {self.name[:LETTERS]}"


@dataclass(frozen=True)
class Counts:
    """Of one frame, on the average.

    Attributes
    ----------
    waits
        By name, calls that wait for the device.
    graphs, kernels, moves
        Graphs launched, kernels run, and copies and fills.
    busy
        Microseconds in which the device did any of these.
    shares
        Kernels, copies and fills by name, those first that take longest.
    calls
        CUDA's functions, by the host's time.
    """

    waits: dict[str, float]
    graphs: float
    kernels: float
    moves: float
    busy: float = 0.0
    shares: tuple[Share, ...] = ()
    calls: tuple[Share, ...] = ()

    def text(self) -> str:
        """Return a line, and one more for each of the longest shares."""
        waits = ", ".join(f"{name} {number:g}" for name, number in sorted(self.waits.items()))
        whole = sum(share.microseconds for share in self.shares)
        first = (
            f"  trace of a frame: waits {waits or 'none'}; {self.graphs:g} graphs, "
            f"{self.kernels:g} kernels, {self.moves:g} copies and fills; the device busy "
            f"{self.busy:.1f} us, {whole:.1f} us by all of them together; longest, of the device:"
        )
        lines = [share.text() for share in self.shares[:LISTED]]
        calls = [share.text() for share in self.calls[:CALLS_LISTED]]
        return "\n".join([first, *lines, "  of the host, in CUDA's calls:", *calls])


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
    done = [event for event in events if event.get("cat", "") in (*KERNELS, *MOVES)]
    return Counts(
        each, *(kinds[kind] / frames for kind in ("graphs", "kernels", "moves")),
        _covered((event["ts"], event["ts"] + event["dur"]) for event in done) / frames,
        _shares(done, frames),
        _shares([event for event in events if event.get("cat", "") in CALLS], frames),
    )  # fmt: skip


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of spans."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def _shares(events: Sequence[dict[str, Any]], frames: int) -> tuple[Share, ...]:
    numbers: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for event in events:
        numbers[event["name"]] += 1
        times[event["name"]] += event["dur"]
    return tuple(
        Share(name, numbers[name] / frames, spent / frames) for name, spent in times.most_common()
    )


def profiler() -> Any:
    """Give torch's profiler of the host's calls and the device's work.

    It must have run once before work is recorded as CUDA graphs, of which it hears nothing else;
    what is timed after that bears its cost.
    """
    from torch.profiler import ProfilerActivity, profile

    return profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])


def measure(work: Callable[[], object], frames: int, path: Path) -> Counts:
    """Record work on so many frames, and keep the record for a viewer of traces."""
    with profiler() as record:
        work()
    record.export_chrome_trace(str(path))
    return counted(json.loads(path.read_text(encoding="utf-8"))["traceEvents"], frames)
