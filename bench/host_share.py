"""What the host itself spends on a frame that is analysed on a device, measured without one.

    python bench/host_share.py [--sizes 256 512] [--frames 20] [--record [--together 1 4 16]]
    DIR/run python bench/host_share.py --cupy ...

A double of CuPy (`tests/device_double.py`) stands in, and the time inside of it and inside the
network is taken off: what is left is Python and NumPy between the launches. Launches themselves
cost a host some microseconds each on top, for which their number is printed. With ``--cupy``, under
the stand-in of a GPU (`tests/stand_in/`), CuPy's part of them is counted too. Recorded work is done
once and then left out, as is the network, since a device that works beside the host does not turn
its caches over: results are then those of the frames of the first time.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from types import FunctionType
from typing import Any

import onnxruntime
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

    def take_off(self, kinds: Iterable[type]) -> None:
        """Count all functions of some classes."""
        for kind in kinds:
            for name, part in list(vars(kind).items()):
                if isinstance(part, FunctionType):
                    setattr(kind, name, self.counted(part))
                elif isinstance(part, classmethod):
                    setattr(kind, name, classmethod(self.counted(part.__func__)))
                elif isinstance(part, property) and part.fget is not None:
                    setattr(kind, name, property(self.counted(part.fget)))


class OnDouble:
    """CuPy's double: what is spent in it is taken off, so that launches cost nothing."""

    def __init__(self) -> None:
        self._double, self._elsewhere = load_double(), Elsewhere()
        arrays._streams.clear()  # each double has its own

    @contextmanager
    def device(self) -> Iterator[None]:
        """Stand in while inside."""
        double = self._double
        with double.device():
            self._elsewhere.take_off((double.ndarray, double._Module, double.RawModule,
                double.Graph, double.Stream, double.Event, double.Runtime))  # fmt: skip
            opened.run_on_host = self._elsewhere.counted(opened.run_on_host)  # type: ignore[assignment]
            # what it keeps of arrays would be cleared away between its calls
            double.order.touch = lambda *_: None
            yield

    def spent(self) -> float:
        """Seconds that were not the host's own."""
        return self._elsewhere.spent

    def operations(self) -> int:
        """Give what was asked for since the last time."""
        number = int(self._double.traffic.operations)
        self._double.traffic.__init__()
        return number

    def leave_graphs_out(self) -> None:
        """Have recorded work do nothing from now on."""
        self._double.Graph.launch = lambda graph: graph.launched()


class OnStandIn:
    """CuPy itself on the stand-in of a GPU: what that does for a stream is taken off."""

    def __init__(self) -> None:
        self._library, self._elsewhere = ctypes.CDLL("libcudart.so.13"), Elsewhere()
        self._library.stand_in_worked_ms.restype = ctypes.c_double
        session = onnxruntime.InferenceSession
        session._run = self._elsewhere.counted(session._run)

    @contextmanager
    def device(self) -> Iterator[None]:
        """Stand in while inside."""
        yield

    def spent(self) -> float:
        """Seconds that were not the host's own."""
        return self._elsewhere.spent + 1e-3 * float(self._library.stand_in_worked_ms())

    def operations(self) -> int:
        """Give none: the double counts them."""
        return 0

    def leave_graphs_out(self) -> None:
        """Have recorded work do nothing from now on."""
        self._library.stand_in_leave_graphs_out()


def leave_network_out(segmenter: Segmenter) -> None:
    """Give from now on what the network gave last."""
    kept: dict[int, Any] = {}
    network = segmenter.segment_all

    def segment_all(images: Any) -> Any:
        if len(images) not in kept:
            kept[len(images)] = network(images)
        return kept[len(images)]

    segmenter.segment_all = segment_all  # type: ignore[method-assign]


def measure(size: int, number: int, record: bool, together: int, cupy: bool) -> str:
    """Median and least milliseconds of the host, over frames of WS2 at the default dose.

    ``together`` of them are analysed by one call of one thread, ``number`` times.
    """
    frames = [frame.image for frame in Microscope("WS2", (size, size), SEED).frames(4)]
    on = OnStandIn() if cupy else OnDouble()
    device = "cuda:0" if cupy else "cpu"
    segmenter = Segmenter(providers="auto" if cupy else "cpu", threads=1, device=device)
    host = Analyser(segmenter, crystal=CRYSTALS["WS2"])
    analyse = replace(host, placement=Placement(0), record=record)
    own, operations = [], []
    with on.device():
        for k in range(number + WARM):
            if record and k == WARM // 2:
                leave_network_out(analyse.segmenter)
                on.leave_graphs_out()
            given = [frames[(k + j) % len(frames)] for j in range(together)]
            before, start = on.spent(), time.perf_counter()
            on.operations()
            if together == 1:
                analyse(given[0])
            else:
                with arrays.device(0):
                    analyse.together(given, 0)
            spent = time.perf_counter() - start - on.spent() + before
            own.append(1e3 * spent / together)
            operations.append(on.operations() / together)
    own = own[WARM:]
    counted = "" if cupy else f", {operations[WARM // 2 - 1]:.1f} operations"
    return (
        f"{size} x {size}, {together} at a time: host {statistics.median(own):.2f} ms a frame "
        f"(least {min(own):.2f}){counted}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], metavar="PX")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--record", action="store_true", help="with work that is recorded")
    parser.add_argument("--together", type=int, nargs="+", default=[1], metavar="N")
    parser.add_argument("--cupy", action="store_true", help="with CuPy itself, on the stand-in")
    options = parser.parse_args()
    for size in options.sizes:
        for number in options.together:
            row = measure(size, options.frames, options.record, number, options.cupy)
            print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
