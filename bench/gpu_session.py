"""Everything that is to be shown on a GPU, by one command that ends in time.

    python bench/gpu_session.py --out DIR [--minutes 12] [--peer-python PATH] [--only NAME ...]

Steps are run one after the other in the order of what they tell: first whether it computes rightly,
then how fast. Each writes what it prints to a file of its own, as it comes; a step that does not
fit in what is left of the time is cut off or left out, and said to be. The last lines are a table
of the steps. Without a GPU it says so and runs nothing.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latticewatch_kernels.arrays import cupy_trouble

REPOSITORY = Path(__file__).resolve().parents[1]

#: A step that would have less than this is left out, seconds.
LEAST_S = 10.0


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes
    ----------
    name
        Of its file.
    shows
        What it is run for.
    arguments
        After the interpreter.
    most_s
        Longest that it may take, s.
    """

    name: str
    shows: str
    arguments: tuple[str, ...]
    most_s: float


def steps(out: Path, peer: Path | None) -> list[Step]:
    """Give the steps in order; ``peer`` is an interpreter that has AtomAI."""
    peers = f"--peer --peer-python {shlex.quote(str(peer))}" if peer else ""
    trace = f"--trace {shlex.quote(str(out / 'trace.json'))}"
    return [
        _step("tests", "the analysis and the network on a GPU", "-m pytest tests/gpu -m gpu", 240),
        _step("kernels", "every kernel within its bound",
              "-m pytest tests/kernels --on-gpu -k 'resident or selection or packing'", 240),
        _bench("frame", "10,000 frames of 512 x 512 one by one, by workers and in stacks",
               "--frames 10000 --batches 16 --stacks-only --workers 1 4 8 --record --beside-host "
               f"{peers}", 180),
        _bench("trace", "waits, and what the device spends its time on",
               f"--frames 100 --batches 16 --stacks-only --workers 1 --record {trace}", 60),
        _bench("batches", "whole frames together",
               "--frames 4000 --stacks-only --workers 1 --record", 120),
        _bench("brought", "whole frames together that workers bring one by one",
               "--frames 2000 --batches 16 --workers 1 --record", 120),
        _bench("unrecorded", "stages, and what recording gains",
               "--frames 300 --batches --workers 1", 60),
        _bench("sizes", "256 to 4096 pixels a side",
               "--frames 300 --batches --workers 1 --record --different 2", 150,
               sizes="256 1024 2048 4096"),
        _bench("fp32", "what 16 bits gain",
               "--frames 1000 --batches --workers 1 --record --precision fp32", 60),
        _bench("graph", "the network recorded by ONNX Runtime, apart from all else",
               "--frames 1000 --batches --workers 1 --record --cuda-graph", 60),
        _step("soak", "memory flat over 100,000 frames", "bench/gpu_soak.py", 120),
    ]  # fmt: skip


def _step(name: str, shows: str, command: str, most_s: float) -> Step:
    """Make a step of what is given to the interpreter, as in a shell."""
    return Step(name, shows, tuple(shlex.split(command)), most_s)


def _bench(name: str, shows: str, options: str, most_s: float, sizes: str = "512") -> Step:
    return _step(name, shows, f"bench/gpu.py --sizes {sizes} {options}", most_s)


def run(step: Step, folder: Path, left_s: float) -> str:
    """Run a step, and give what became of it in a few words."""
    limit = min(step.most_s, left_s)
    if limit < LEAST_S:
        return "left out: no time left"
    start = time.monotonic()
    with (folder / f"{step.name}.txt").open("w", encoding="utf-8") as file:
        try:
            code = subprocess.run(
                [sys.executable, "-u", *step.arguments], cwd=REPOSITORY, stdout=file,
                stderr=subprocess.STDOUT, timeout=limit, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"cut off after {limit:.0f} s"
    spent = time.monotonic() - start
    return f"{'done' if code == 0 else f'failed ({code})'} in {spent:.0f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the steps' files")
    parser.add_argument("--minutes", type=float, default=12.0, help="for all of it (%(default)s)")
    parser.add_argument(
        "--peer-python", type=Path, metavar="PATH",
        help="interpreter that has AtomAI, which is left out without: to install it takes minutes",
    )  # fmt: skip
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of the steps")
    options = parser.parse_args(arguments)
    trouble, mend = cupy_trouble()
    if trouble:
        print(f"bench/gpu_session.py: {trouble}: {mend}", file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    end, rows = time.monotonic() + 60.0 * options.minutes, []
    for step in steps(options.out.resolve(), options.peer_python):
        if options.only and step.name not in options.only:
            continue
        rows.append((step, run(step, options.out, end - time.monotonic())))
        print(f"{step.name}: {rows[-1][1]}", flush=True)
    table = ["| step | shows | outcome |", "| --- | --- | --- |"]
    table += [f"| {step.name} | {step.shows} | {outcome} |" for step, outcome in rows]
    (options.out / "steps.md").write_text("\n".join(table) + "\n", encoding="utf-8")
    print("\n".join(table))
    return int(any(not outcome.startswith("done") for _, outcome in rows))


if __name__ == "__main__":
    sys.exit(main())
