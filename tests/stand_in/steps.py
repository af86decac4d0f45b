"""Which kernels take the most steps of a frame of WS2, where steps are counted.

    STAND_IN_STEPS=FILE DIR/run python tests/stand_in/steps.py SIDE

A step is a basic block that a thread goes through. The longest thread's tell how long a kernel
takes by itself at least, all threads' how much of a device it takes from others. Neither is a time.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from pathlib import Path

from latticewatch.analysis import Analyser
from latticewatch.devices.placement import Placement
from latticewatch_kernels.arrays import device
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import Microscope
from latticewatch_models.runtime import Segmenter

#: Kernels that are listed; frames before the one that is counted, which share what is made once.
LISTED, BEFORE, SEED = 30, 2, 1


def analyse(side: int, file: Path) -> None:
    """Leave the runs of the kernels of one frame in the file, a line to each."""
    frames = [f.image for f in Microscope("WS2", (side, side), SEED).frames(BEFORE + 1)]
    segmenter = Segmenter(device="cuda:0", threads=1)
    analyser = Analyser(segmenter, crystal=CRYSTALS["WS2"], placement=Placement(0))
    with device(0):
        for frame in frames[:BEFORE]:
            analyser(frame)
        file.write_text("")
        analyser(frames[BEFORE])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("side", type=int, help="pixels")
    path = os.environ.get("STAND_IN_STEPS")
    options = parser.parse_args()
    if not path:
        print("steps.py: set STAND_IN_STEPS=FILE, with the stand-in's run", file=sys.stderr)
        return 1
    analyse(options.side, Path(path))
    kernels: dict[str, list[list[int]]] = defaultdict(list)
    for line in Path(path).read_text("ascii").splitlines():
        name, *numbers = line.split()
        kernels[name].append([int(number) for number in numbers])
    longest = {name: sum(run[3] for run in runs) for name, runs in kernels.items()}
    every = {name: sum(run[2] for run in runs) for name, runs in kernels.items()}
    print("| kernel | runs | blocks x threads | longest thread | barriers | all threads, 1e6 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in sorted(kernels, key=longest.__getitem__, reverse=True)[:LISTED]:
        runs = kernels[name]
        print(
            f"| {name} | {len(runs)} | {runs[0][0]} x {runs[0][1]} | {longest[name]} | "
            f"{sum(run[4] for run in runs)} | {every[name] / 1e6:.2f} |"
        )
    print(
        f"| all {len(kernels)} kernels | {sum(map(len, kernels.values()))} | | "
        f"{sum(longest.values())} | | {sum(every.values()) / 1e6:.1f} |"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
