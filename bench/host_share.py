"""What the host itself spends on a frame that is analysed on a device, measured without one.

    python bench/host_share.py [--sizes 256 512] [--frames 20] [--record [--together 1 4 16]]

A double of CuPy (`tests/device_double.py`) stands in, and the time inside of it and inside the
network is taken off: what is left is Python and NumPy between the launches. Launches themselves
cost a host some microseconds each on top, for which their number is printed. Recorded work is done
once and then left out, as is the network, since a device that works beside the host does not turn
its caches over: results are then those of the frames of the first time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from types import FunctionType
from typing import Any

from crossings import load_double

from latticewatch.analysis import Analyser
from latticewatch.devices.placement import Placement
from latticewatch_kernels import arrays
from latticewatch_models import opened
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import Microscope
from latticewatch_models.runtime import Segmenter

SEED = 1

#: Frames that take up what all others share, and record it.
WARM = 10


@dataclass
class Elsewhere:
    """Seconds inside of what is not the host's own work."""

    spent: float = 0.0
    inside: bool = field(default=False, repr=False)

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Count a function's time, and that of functions which it gives."""

        @wraps(function)
        def timed(*args: Any, **given: Any) -> Any:
            if self.inside:
                return function(*args, **given)
            self.inside, start = True, time.perf_counter()
            try:
                made = function(*args, **given)
            finally:
                self.inside = False
                self.spent += time.perf_counter() - start
            return self.counted(made) if isinstance(made, FunctionType) else made

        return timed

    def take_off(self, double: Any) -> None:
        """Count the double's arrays, functions and kernels, and the network."""
        kinds = (
            double.ndarray, double._Module, double.RawModule, double.Graph, double.Stream,
            double.Event,
        )  # fmt: skip
        for kind in kinds:
            for name, part in list(vars(kind).items()):
                if isinstance(part, FunctionType):
                    setattr(kind, name, self.counted(part))
                elif isinstance(part, property) and part.fget is not None:
                    setattr(kind, name, property(self.counted(part.fget)))
        opened.run_on_host = self.counted(opened.run_on_host)  # type: ignore[assignment]


def leave_out(double: Any, segmenter: Segmenter) -> None:
    """Give from now on what recorded work and the network gave last."""
    kept: dict[int, Any] = {}
    network = segmenter.segment_all

    def segment_all(images: Any) -> Any:
        if len(images) not in kept:
            kept[len(images)] = network(images)
        return kept[len(images)]

    segmenter.segment_all = segment_all  # type: ignore[method-assign]
    double.Graph.launch = lambda self: self.launched()


def measure(size: int, number: int, record: bool, together: int) -> str:
    """Median and least milliseconds of the host, over frames of WS2 at the default dose.

    ``together`` of them are analysed by one call of one thread, ``number`` times.
    """
    frames = [frame.image for frame in Microscope("WS2", (size, size), SEED).frames(4)]
    host = Analyser(Segmenter(providers="cpu", threads=1), crystal=CRYSTALS["WS2"])
    analyse = replace(host, placement=Placement(0), record=record)
    double, elsewhere = load_double(), Elsewhere()
    own, operations = [], []
    arrays._streams.clear()  # each double has its own
    with double.device():
        elsewhere.take_off(double)
        # what it keeps of arrays would be cleared away between its calls
        double.order.touch = lambda *_: None
        for k in range(number + WARM):
            if record and k == WARM // 2:
                leave_out(double, analyse.segmenter)
            given = [frames[(k + j) % len(frames)] for j in range(together)]
            before, start = elsewhere.spent, time.perf_counter()
            double.traffic.__init__()
            if together == 1:
                analyse(given[0])
            else:
                with arrays.device(0):
                    analyse.together(given, 0)
            spent = time.perf_counter() - start - elsewhere.spent + before
            own.append(1e3 * spent / together)
            operations.append(double.traffic.operations / together)
    own = own[WARM:]
    return (
        f"{size} x {size}, {together} at a time: host {statistics.median(own):.2f} ms a frame "
        f"(least {min(own):.2f}), {operations[WARM // 2 - 1]:.1f} operations"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], metavar="PX")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--record", action="store_true", help="with work that is recorded")
    parser.add_argument("--together", type=int, nargs="+", default=[1], metavar="N")
    options = parser.parse_args()
    for size in options.sizes:
        for number in options.together:
            print(measure(size, options.frames, options.record, number), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
