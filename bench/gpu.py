"""The analysis of frames on a GPU, beside its floors, the host's cores and AtomAI.

    python bench/gpu.py [--sizes 256 512 1024] [--frames 1000] [--batches 1 16 64] [--peer]
    python bench/gpu.py --host            # the same rows without a GPU, for comparison
    python bench/gpu_session.py           # this in all forms, and the tests of a GPU

First come the two floors: bytes over measured bandwidth, and the network's operations over the
measured matrix rate. A share of the floor of 100 % would be a frame that costs nothing else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import stream
from accelerated import batches, floors, trace, whole

from latticewatch.allocation import keep_freed_memory
from latticewatch.analysis import Analyser
from latticewatch.devices.placement import Placement
from latticewatch.doctor import software
from latticewatch_kernels.arrays import cupy_trouble, device
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.devices import cuda_report
from latticewatch_models.microscope import Microscope
from latticewatch_models.processor import cores
from latticewatch_models.runtime import Segmenter
from latticewatch_models.tuning import Tuning

SEED = 1

#: Where AtomAI is installed if no interpreter is named that has it.
PEER_VENV = stream.REPOSITORY / ".venv-peer"

#: Frames for each thread on the host's cores, beside a GPU.
BESIDE = 10

#: Frames of a trace: each is some hundred calls.
TRACED = 32


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024], metavar="PX")
    parser.add_argument("--frames", type=int, default=1000, help="of each size")
    parser.add_argument(
        "--different", type=int, default=8, help="frames of a size, which are analysed in turn"
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument(
        "--batches", type=int, nargs="*", default=[1, 2, 4, 8, 16, 32, 64], metavar="N",
        help="frames run together; by one, two and four times as many workers on a GPU",
    )  # fmt: skip
    parser.add_argument(
        "--stacks-only", action="store_true", help="no batches that workers bring frame by frame"
    )
    parser.add_argument("--wait-ms", type=float, default=2.0, help="that a batch waits for frames")
    parser.add_argument("--precision", default="auto", help="auto, fp32 or fp16")
    parser.add_argument("--cuda-graph", action="store_true", help="of the network, one worker")
    parser.add_argument("--record", action="store_true", help="all else as CUDA graphs, too")
    parser.add_argument("--device", default="cuda:0", help="of the segmenter: auto, cuda:N")
    parser.add_argument("--providers", default="auto", help="auto, cuda or tensorrt")
    parser.add_argument("--backend", default="onnxruntime", help="onnxruntime or torch")
    parser.add_argument("--host", action="store_true", help="measure the host's cores")
    parser.add_argument("--beside-host", action="store_true", help="the host's cores, too")
    parser.add_argument("--peer", action="store_true", help="AtomAI on the same frames")
    parser.add_argument(
        "--peer-python", type=Path, metavar="PATH",
        help="interpreter that has AtomAI; without, an environment is made for it",
    )  # fmt: skip
    parser.add_argument(
        "--trace", type=Path, metavar="FILE",
        help="count CUDA's calls by torch's profiler, and keep the record of the last size there; "
        "times are better taken without",
    )  # fmt: skip
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    return parser


def main() -> int:
    options = parser().parse_args()
    keep_freed_memory()  # as the service does
    trouble, mend = ("", "") if options.host else cupy_trouble()
    if trouble:
        print(f"bench/gpu.py: {trouble}: {mend}, or give --host", file=sys.stderr)
        return 1
    lines = [_machine(None if options.host else 0)]
    print(*lines, flush=True)
    with nullcontext() if options.host else device(0):
        for line in _measured(options, None if options.host else 0):
            # at once: what comes later may fail
            print(line, flush=True)
            lines.append(line)
    text = "\n".join(lines)
    if options.markdown:
        options.markdown.write_text(text + "\n", encoding="utf-8")
    return 0


def _machine(gpu: int | None) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in software().items())
    name = "host alone" if gpu is None else cuda_report().devices[gpu].name
    return f"{name}; {versions}\n"


def _measured(options: argparse.Namespace, gpu: int | None) -> Iterator[str]:
    floor = floors.measure(gpu)
    if options.trace and gpu is not None:
        with trace.profiler():
            pass
    given = {
        "device": "cpu" if gpu is None else options.device,
        "providers": "cpu" if gpu is None else options.providers,
        "threads": 1,
        "backend": options.backend,
    }
    tuning = Tuning(options.precision)
    segmenter = Segmenter(**given, tuning=replace(tuning, cuda_graph=options.cuda_graph))
    analyser = Analyser(
        segmenter, crystal=CRYSTALS["WS2"], placement=Placement(gpu), record=options.record
    )
    yield f"Floors. {floor.text()}\n"
    yield _used(segmenter)
    for size in options.sizes:
        microscope = Microscope("WS2", (size, size), SEED)
        frames = [frame.image for frame in microscope.frames(options.different)]
        figures = whole.measure(analyser, frames, options.frames, options.workers)
        yield from _rows(size, figures, _floor_ms(floor, segmenter, frames[0]))
        maker = batches.Maker(options.wait_ms / 1e3, {**given, "tuning": tuning})
        best = {"one by one": max(figures.per_second.values())}
        for number in options.batches:
            given = frames, options.frames, number, options.stacks_only
            measured = batches.measure(analyser, maker, *given)
            yield measured.text()
            if measured.together:
                best[f"in stacks of {number}"] = max(measured.together.values())
        if options.trace and gpu is not None:
            yield from _traced(analyser, maker, frames, options, gpu)
        if options.beside_host:
            yield _on_the_host(frames)
        if options.peer:
            peer = stream.measure_peer(size, PEER_VENV, options.peer_python, gpu is not None)
            yield peer_text(peer, best)
        yield ""


def _traced(
    analyser: Analyser,
    maker: batches.Maker,
    frames: Sequence[np.ndarray],
    options: argparse.Namespace,
    gpu: int,
) -> list[str]:
    """Trace frames one by one, and as many together as the largest batch has."""
    given = list(islice(cycle(frames), TRACED))
    alone = trace.measure(lambda: [analyser(frame) for frame in given], TRACED, options.trace)
    lines = [alone.text()]
    most = max(options.batches, default=1)
    if most > 1:
        analyse = maker.analyser(analyser, most)
        given = list(islice(cycle(frames), most))
        batches.warm(analyse, given, gpu)
        path = options.trace.with_stem(f"{options.trace.stem}-{most}-together")
        counts = trace.measure(lambda: analyse.together(given, gpu), most, path)
        lines += [f"  {most} together:", counts.text()]
    return lines


def _on_the_host(frames: Sequence[np.ndarray]) -> str:
    """Frames a second on the host's cores alone, by one of them and by all."""
    host = Analyser(Segmenter(device="cpu", threads=1), crystal=CRYSTALS["WS2"])
    host(frames[0])  # what is made once
    workers = sorted({1, cores()})
    rates = {count: whole.rate(host, frames, BESIDE * count, count) for count in workers}
    told = ", ".join(f"{rate:.1f} by {count}" for count, rate in rates.items())
    return f"  the same on the host's cores alone, frames/s by number of threads: {told}"


def _used(segmenter: Segmenter) -> str:
    return f"Segmenter on {segmenter.providers[0]} in {segmenter.precision}.\n"


def _floor_ms(floor: floors.Floors, segmenter: Segmenter, frame: np.ndarray) -> tuple[float, float]:
    """Milliseconds to move a frame up, and to do the network's operations."""
    moved = 0.0 if np.isnan(floor.up) else 1e3 * frame.nbytes / floor.up
    operations = floors.network_operations(segmenter.card.path, *frame.shape)
    rate = np.nanmax([floor.float32, floor.float16])
    return moved, 1e3 * operations / float(rate)


def _rows(size: int, figures: whole.Figures, floor_ms: tuple[float, float]) -> list[str]:
    share = 100.0 * sum(floor_ms) / figures.p50
    stages = ", ".join(f"{name} {spent:.2f}" for name, spent in figures.stages.items())
    rates = ", ".join(f"{rate:.1f} by {count}" for count, rate in figures.per_second.items())
    latency = f"p50 {figures.p50:.2f}, p99 {figures.p99:.2f}, p99.9 {figures.p999:.2f} ms"
    moved, computed = floor_ms
    return [
        f"{size} x {size}: one frame {latency}",
        f"  floor {moved:.3f} ms of bytes + {computed:.3f} ms of operations: {share:.2f} % of p50",
        f"  frames/s by number of threads: {rates}; pool grew by {figures.pool_growth} bytes",
        f"  stages, median ms: {stages}",
    ]


def peer_text(peer: dict[str, Any] | str, per_second: dict[str, float]) -> str:
    """AtomAI's figures in one line, and how many times as many frames we do in which way."""
    if isinstance(peer, str):
        return f"  AtomAI: {stream.peer_text(peer)}"
    times = ", ".join(
        f"{rate * peer['total_ms']['median'] / 1000:.1f} {way}" for way, rate in per_second.items()
    )
    return f"  AtomAI on {peer['device']}: {stream.peer_text(peer)}; times as many here: {times}"


if __name__ == "__main__":
    sys.exit(main())
