"""A frame's work recorded for one plan: a device is asked for it by two strokes and the network."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from latticewatch.resident.stages import Above, Before, Wanted, after_network, before_network
from latticewatch.stopwatch import Stopwatch
from latticewatch_kernels.arrays import array_module, device_number
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.recording import (
    Recording,
    follow,
    own_stream,
    record,
    shared_stream,
)
from latticewatch_kernels.resident.plan import Plan
from latticewatch_models.segmentation import Segmentation

#: Frames in a row that a plan must have served before its work is recorded: a recording costs some
#: frames and keeps all of a frame's arrays on the device.
AFTER = 3

#: Recordings of a thread at most.
MOST = 2


@dataclass(frozen=True)
class Recorded:
    """The work of frames of one plan, from a buffer that they are put into.

    Attributes
    ----------
    frame, heat, offset
        What is put in: the frame as acquired, and the network's maps.
    first, before
        The work up to the network, and what it fills.
    second, above
        The work after it, likewise.
    stream
        Where all of it runs.
    """

    frame: Array
    first: Recording
    before: Before
    heat: Array
    offset: Array
    second: Recording
    above: Above
    stream: Any

    @classmethod
    def of(cls, frame: Array, wanted: Wanted, plan: Plan) -> Recorded:
        """Record the work of frames like this one."""
        xp, watch, stream = array_module(frame), Stopwatch(), own_stream()
        held = frame.copy()
        first, before = record(lambda: before_network(held, wanted, plan, watch), stream)
        with stream:
            first.start()  # recording fills nothing, and what follows is run before it is recorded
            cells = tuple(-(-side // wanted.segmenter.stride) for side in before.image.shape)
            heat, offset = xp.zeros(cells, np.float32), xp.zeros((2, *cells), np.float32)
            stream.synchronize()
        second, above = record(
            lambda: after_network(before, heat, offset, wanted, plan, watch), stream
        )
        return cls(held, first, before, heat, offset, second, above, stream)

    def run(self, frame: Array, wanted: Wanted, watch: Stopwatch) -> Segmentation:
        """Ask for everything of a frame; gives what the network said, to be kept until it is there.

        The network runs on the stream that all share, and nobody waits for anything here.
        """
        shared = shared_stream()
        with watch.stage("register"):
            follow(self.stream, shared)
            with self.stream:
                self.frame[...] = frame
                self.first.start()
            follow(shared, self.stream)
        with watch.stage("segment"):
            seen = wanted.segmenter.segment(self.before.image)
        with watch.stage("localise"):
            follow(self.stream, shared)
            with self.stream:
                self.heat[...] = seen.heat
                self.offset[...] = seen.offset
                self.second.start()
        return seen


@dataclass
class _Thread:
    """What a thread has recorded, its newest choice, and what it was last asked for in vain."""

    known: OrderedDict[object, Recorded] = field(default_factory=OrderedDict)
    plan: Plan | None = None
    kind: object = None
    recorded: Recorded | None = None
    last: object = None
    times: int = 0


class Recordings:
    """Recorded work of each thread, by plan, settings and kind of frame.

    A device that cannot record goes on without; why is told in `trouble`.
    """

    def __init__(self) -> None:
        self._own, self._lock = threading.local(), threading.Lock()
        self.trouble = ""

    def of(self, frame: Array, wanted: Wanted, plan: Plan) -> Recorded | None:
        """Give the work for a frame, recorded now if its plan has served often enough."""
        kind = wanted, frame.dtype, device_number(frame)
        own = self._thread()
        if own.plan is plan and own.kind == kind:  # mostly: plans are not compared for that
            return own.recorded
        key = (plan, *kind)
        if key in own.known:
            own.known.move_to_end(key)
            own.plan, own.kind, own.recorded = plan, kind, own.known[key]
            return own.recorded
        own.times = own.times + 1 if own.last == key else 1
        own.last = key
        if own.times <= AFTER or self.trouble:
            return None
        made = own.known[key] = Recorded.of(frame, wanted, plan)
        while len(own.known) > MOST:
            own.known.popitem(last=False)
        own.plan, own.kind, own.recorded = plan, kind, made
        return made

    def give_up(self, why: str) -> bool:
        """Record nothing from now on; whether this is news."""
        with self._lock:
            news, self.trouble = not self.trouble, self.trouble or why
        return news

    def _thread(self) -> _Thread:
        if not hasattr(self._own, "thread"):
            self._own.thread = _Thread()
        thread: _Thread = self._own.thread
        return thread
