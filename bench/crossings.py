"""What the analysis of a frame asks of a device, counted without one.

    python bench/crossings.py [--size 512] [--check] [--hole]

A double of CuPy (`tests/device_double.py`) stands in: it counts what crosses between host and
device and the operations that are asked for. These are counts, not times. The network runs on the
host, which is one crossing down and two up; of two frames of a shape the second is counted, since
the first takes up tables that all others share.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from latticewatch.analysis import Analyser
from latticewatch.devices.placement import Placement
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import Microscope
from latticewatch_models.runtime import Segmenter

SEED = 1
KINDS = ("up", "down", "operation")

#: Modules through which everything goes; what asked is the function outside of them.
THROUGH = frozenset(
    (
        "abreast",
        "arrays",
        "crossings",
        "device_double",
        "device_traffic",
        "fourier",
        "launch",
        "recording",
        "tables",
    )
)


class Counts:
    """Crossings and operations by where they were asked for: stage of the frame, then function."""

    def __init__(self) -> None:
        self.times: Counter[tuple[str, str]] = Counter()
        self.bytes: Counter[str] = Counter()
        self.order: list[str] = []

    def add(self, kind: str, _: str, size: int) -> None:
        """Hear of one crossing or operation, as `Traffic.told` does."""
        place = _asked_by()
        if place not in self.order:
            self.order.append(place)
        self.times[place, kind] += 1
        self.bytes["down" if kind == "bytes" else kind] += size

    def table(self) -> str:
        """Markdown: a line for each function, in the order of the frame, and the sum."""
        lines = ["| asked by | up | down | operations |", "| --- | --- | --- | --- |"]
        for place in self.order:
            row = " | ".join(str(self.times[place, kind] or "") for kind in KINDS)
            lines.append(f"| {place} | {row} |")
        total = {k: sum(self.times[place, k] for place in self.order) for k in KINDS}
        sizes = [f"{total[k]} ({self.bytes[k] / 1e6:.1f} MB)" for k in KINDS[:2]]
        lines.append(f"| the frame | {sizes[0]} | {sizes[1]} | {total['operation']} |")
        return "\n".join(lines)


def _asked_by() -> str:
    """Name the innermost function of the kernels, or of what calls them, that asked."""
    for frame in reversed(traceback.extract_stack()):
        module = Path(frame.filename).stem
        named = not frame.name.startswith("<")
        if named and "latticewatch" in frame.filename and module not in THROUGH:
            return f"`{module}.{frame.name}`"
    return "the bench"


def load_double() -> Any:
    """CuPy's double, which the tests own."""
    path = Path(__file__).parents[1] / "tests" / "device_double.py"
    spec = importlib.util.spec_from_file_location("device_double", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    double = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(double)
    return double


def count(size: int, check: bool, hole: bool) -> Counts:
    """Count what the second of two frames of WS2 at the default dose asks for."""
    frames = [frame.image for frame in Microscope("WS2", (size, size), SEED).frames(2)]
    if hole:
        y, x = np.ogrid[:size, :size]
        inside = (x - size / 4) ** 2 + (y - size / 4) ** 2 < (size / 8) ** 2
        frames = [np.where(inside, frame.min(), frame).astype(frame.dtype) for frame in frames]
    host = Analyser(Segmenter(providers="cpu", threads=1), crystal=CRYSTALS["WS2"], check=check)
    above, double, counts = replace(host, placement=Placement(0)), load_double(), Counts()
    with double.device():
        above(frames[0])
        double.traffic.__init__(counts.add)
        above(frames[1])
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=512, metavar="PX", help="side of the frame")
    parser.add_argument("--check", action="store_true", help="with the check against labels")
    parser.add_argument("--hole", action="store_true", help="with a hole in the specimen")
    options = parser.parse_args()
    print(count(options.size, options.check, options.hole).table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
