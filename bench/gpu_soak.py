"""Many frames through a GPU in groups: frames a second and memory as they go.

    python bench/gpu_soak.py [--frames 100000] [--together 16] [--threads 4] [--size 512]

Each thread has a group in hand, a stack of frames as one array, or with --apart an array of each.
A line is printed as each tenth of the frames is done; the last says by how much memory grew since
the first of them.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latticewatch.allocation import keep_freed_memory
from latticewatch.analysis import Analyser
from latticewatch.devices.placement import Placement
from latticewatch.resident import Plans
from latticewatch_kernels.arrays import cupy_trouble, device
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import Microscope
from latticewatch_models.runtime import Segmenter
from latticewatch_models.tuning import Tuning

SEED = 1

#: Parts of the frames of which each has a line.
LINES = 10


@dataclass(frozen=True)
class Memory:
    """Bytes in use: on the device by all, in CuPy's pool, and by this process on the host."""

    device: int
    pool: int
    resident: int

    @classmethod
    def now(cls) -> Memory:
        """Look at the current device and this process."""
        import cupy

        free, every = cupy.cuda.runtime.memGetInfo()
        pool = cupy.get_default_memory_pool().total_bytes()
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return cls(every - free, pool, pages * os.sysconf("SC_PAGE_SIZE"))

    def text(self) -> str:
        """Return them in MiB."""
        parts = (f"{name} {value / 2**20:.1f}" for name, value in vars(self).items())
        return ", ".join(parts) + " MiB"

    def less(self, other: Memory) -> Memory:
        """Give by how much there is more of each than before."""
        return Memory(*(now - then for now, then in zip(
            vars(self).values(), vars(other).values(), strict=True)))  # fmt: skip


def run(
    analyse: Analyser, frames: Sequence[np.ndarray], number: int, threads: int
) -> Iterator[tuple[int, float, Memory]]:
    """Analyse the frames again and again until `number` are done.

    Gives at each tenth how many were, the frames a second since the last, and memory.
    """
    done, counted, errors = 0, threading.Condition(), list[BaseException]()

    def work() -> None:
        nonlocal done
        try:
            with device(0):
                while done < number and not errors:
                    analyse.together(frames, 0)
                    with counted:
                        done += len(frames)
                        counted.notify_all()
        except BaseException as error:  # noqa: BLE001  (raised by the thread that waits)
            with counted:
                errors.append(error)
                counted.notify_all()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    last, since = 0, time.perf_counter()
    for line in range(1, LINES + 1):
        wanted = line * number // LINES
        with counted:
            counted.wait_for(lambda wanted=wanted: done >= wanted or errors)
            seen, at = done, time.perf_counter()
        if errors:
            break
        yield seen, (seen - last) / (at - since), Memory.now()
        last, since = seen, at
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--together", type=int, default=16, help="frames of a group")
    parser.add_argument("--threads", type=int, default=4, help="groups in hand at once")
    parser.add_argument("--size", type=int, default=512, metavar="PX")
    parser.add_argument("--apart", action="store_true", help="frames are arrays of their own")
    return parser


def main() -> int:
    options = parser().parse_args()
    trouble, mend = cupy_trouble()
    if trouble:
        print(f"bench/gpu_soak.py: {trouble}: {mend}", file=sys.stderr)
        return 1
    keep_freed_memory()  # as the service does
    most = options.together
    analyse = Analyser(
        Segmenter(device="cuda:0", threads=1, tuning=Tuning(most=most)), crystal=CRYSTALS["WS2"],
        placement=Placement(0, most=most), record=True, plans=Plans(),
    )  # fmt: skip
    made = Microscope("WS2", (options.size, options.size), SEED).frames(most)
    apart = [frame.image for frame in made]
    frames = apart if options.apart else np.stack(apart)
    seen = list[Memory]()
    with device(0):
        for done, rate, memory in run(analyse, frames, options.frames, options.threads):
            print(f"{done} frames, {rate:.0f} frames/s, {memory.text()}", flush=True)
            seen.append(memory)
    print(f"grown since the first line: {seen[-1].less(seen[0]).text()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
