"""A frame's work recorded for one plan: a device is asked for it by two strokes and the network.

For providers whose runs cannot be recorded; others' are part of the `whole`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latticewatch.resident.stages import Above, Before, Wanted, after_network, before_network
from latticewatch.resident.work import flat, like
from latticewatch.stopwatch import Stopwatch
from latticewatch_kernels.arrays import array_module, copy_within, mark, page_locked, send
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.packing import Below, fetch_packed
from latticewatch_kernels.recording import (
    Recording,
    follow,
    own_stream,
    record,
    shared_stream,
)
from latticewatch_kernels.resident.plan import Plan


@dataclass(frozen=True)
class Recorded:
    """The work of frames of one plan, on a stream of its own; one frame at a time.

    Attributes
    ----------
    given
        Page-locked: the frame is put there.
    first, before
        The frame's way up and the work up to the network, and what that fills.
    heat, offset
        The network's maps are put there.
    second, above, below
        The work after the network and the way down, what that fills, and the page-locked memory.
    stream
        Where all of it runs.
    """

    given: np.ndarray
    first: Recording
    before: Before
    heat: Array
    offset: Array
    second: Recording
    above: Above
    below: Below
    stream: Any
    #: Frames at a time.
    size = 1

    @classmethod
    def of(cls, frames: Sequence[np.ndarray], wanted: Wanted, plan: Plan) -> Recorded:
        """Record the work of frames like this one, on the current device."""
        (frame,), watch, stream = frames, Stopwatch(), own_stream()
        (given,) = page_locked([(frame.shape, frame.dtype)])
        np.copyto(given, frame)
        first, before = record(lambda: before_network(send(given), wanted, plan, watch), stream)
        with stream:
            first.start()  # recording fills nothing, and what follows is run before it is recorded
            xp = array_module(before.image)
            cells = tuple(-(-side // wanted.segmenter.stride) for side in before.image.shape)
            heat, offset = xp.zeros(cells, np.float32), xp.zeros((2, *cells), np.float32)
            stream.synchronize()
        second = _second(before, (heat, offset), wanted, plan, stream)
        return cls(given, first, before, heat, offset, *second, stream)

    def begin(self, frame: np.ndarray, watch: Stopwatch) -> Recorded:
        """Put a frame in and start everything up to the network, which runs on the shared stream.

        The frame before must have been brought.
        """
        with watch.stage("register"):
            np.copyto(self.given, frame)
            with self.stream:
                self.first.start()
            follow(shared_stream(), self.stream)
        return self

    def end(self, heat: Array, offset: Array, watch: Stopwatch) -> Callable[[], Above]:
        """Start everything that follows; as `work.Begun`."""
        with watch.stage("localise"):
            follow(self.stream, shared_stream())
            with self.stream:
                copy_within(self.heat, heat)
                copy_within(self.offset, offset)
                self.second.start()
                done = mark()

        def brought() -> Above:
            done.synchronize()
            return like(self.above, *self.below.of_all())

        return brought


def _second(
    before: Before, maps: tuple[Array, Array], wanted: Wanted, plan: Plan, stream: Any
) -> tuple[Recording, Above, Below]:
    """Record what follows from the network's maps, and the way down."""
    watch, below = Stopwatch(), list[Below]()

    def work() -> Above:
        above = after_network(before, *maps, wanted, plan, watch)
        arrays = flat(above)
        if not below:  # at the first time, which is not recorded yet
            below.append(Below.like(arrays))
        fetch_packed(arrays, *below)
        return above

    second, above = record(work, stream)
    return second, above, below[0]
