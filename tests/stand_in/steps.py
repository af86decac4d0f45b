"""Which kernels take the most steps, by a file that ``STAND_IN_STEPS`` had written.

    python tests/stand_in/steps.py FILE [--frames N]

A step is a basic block that a thread goes through. The longest thread's tell how long a kernel
takes by itself at least, all threads' how much of a device it takes from others. Neither is a time.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

LISTED = 30


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--frames", type=int, default=1, help="that it was written for")
    options = parser.parse_args()
    kernels: dict[str, list[list[int]]] = defaultdict(list)
    for line in options.file.read_text("ascii").splitlines():
        name, *numbers = line.split()
        kernels[name].append([int(number) for number in numbers])
    longest = {name: sum(run[3] for run in runs) for name, runs in kernels.items()}
    every = {name: sum(run[2] for run in runs) for name, runs in kernels.items()}
    number = options.frames
    print("| kernel | runs | blocks x threads | longest thread | barriers | all threads, 1e6 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in sorted(kernels, key=longest.__getitem__, reverse=True)[:LISTED]:
        runs = kernels[name]
        print(
            f"| {name} | {len(runs) / number:g} | {runs[0][0]} x {runs[0][1]} | "
            f"{longest[name] / number:.0f} | {sum(run[4] for run in runs) / number:.0f} | "
            f"{every[name] / number / 1e6:.2f} |"
        )
    runs_of_all = sum(map(len, kernels.values())) / number
    print(
        f"| all {len(kernels)} kernels | {runs_of_all:g} | | {sum(longest.values()) / number:.0f} "
        f"| | {sum(every.values()) / number / 1e6:.1f} |"
    )


if __name__ == "__main__":
    main()
