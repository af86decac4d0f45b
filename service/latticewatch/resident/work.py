"""One frame's work on a device, asked for before and after the network has seen it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from latticewatch.resident.stages import Above, Before, Wanted, after_network, before_network
from latticewatch.stopwatch import Stopwatch
from latticewatch_kernels.arrays import download, upload
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.resident.parts import LabelsAbove
from latticewatch_kernels.resident.plan import Plan
from latticewatch_models.segmentation import RanOn

#: Frames that are run together, of one shape and type: a stack (n, rows, columns), or one by one.
Frames: TypeAlias = Sequence[np.ndarray] | np.ndarray


class Ended(NamedTuple):
    """A frame that a device was asked for all of.

    Attributes
    ----------
    labels
        Its labels on the device.
    brought
        Waits, and gives what is wanted on the host, in memory of its own.
    ran_on
        What the network ran on.
    """

    labels: LabelsAbove
    brought: Callable[[], Above]
    ran_on: RanOn | None


class Begun(Protocol):
    """A frame of which everything up to the network was asked for; nobody has waited."""

    @property
    def before(self) -> Before:
        """What is there when that is done."""

    def end(self, heat: Array, offset: Array, watch: Stopwatch) -> Callable[[], Above]:
        """Ask for everything that follows from the network's maps.

        The maps must stay until what is given was called: it waits, and gives what is wanted on the
        host, in memory of its own.
        """


@dataclass(frozen=True)
class Asked:
    """A frame that a device is asked for operation by operation, on the stream that all share."""

    before: Before
    wanted: Wanted
    plan: Plan

    @classmethod
    def begin(
        cls, frame: np.ndarray, which: int, wanted: Wanted, plan: Plan, watch: Stopwatch
    ) -> Asked:
        """Upload a frame, one of several in hand, and ask for everything up to the network."""
        return cls(before_network(upload(frame, which), wanted, plan, watch), wanted, plan)

    def end(self, heat: Array, offset: Array, watch: Stopwatch) -> Callable[[], Above]:
        """Ask for everything that follows; as `Begun`."""
        above = after_network(self.before, heat, offset, self.wanted, self.plan, watch)
        return lambda: like(above, [part.copy() for part in download(flat(above))])


def flat(above: Above) -> list[Array]:
    """Arrays of all parts, one after the other."""
    arrays = list[Array]()
    for part in above:
        if part is not None:
            arrays += part if isinstance(part, tuple) else (part,)
    return arrays


def like(above: Above, arrays: Iterable[np.ndarray]) -> Above:
    """Give arrays the names that they have in ``above``; the reverse of `flat`."""
    rest: Iterator[Any] = iter(arrays)

    def named(part: Any) -> Any:
        if part is None:
            return None
        few = isinstance(part, tuple)
        return type(part)._make(islice(rest, len(part))) if few else next(rest)

    return Above._make(named(part) for part in above)
