"""Recorded work that is kept between frames, and lent to one of them at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np

from latticewatch.resident.recorded import Recorded
from latticewatch.resident.stages import Wanted
from latticewatch.resident.whole import Whole
from latticewatch.resident.work import Frames
from latticewatch_kernels.recording import one_at_a_time
from latticewatch_kernels.resident.plan import Plan
from latticewatch_models.segmentation import RanOn

#: Frames that a plan must have served before its work is recorded: a recording costs some frames
#: and keeps all of a frame's arrays on the device.
AFTER = 3

#: Kinds of frames whose work is kept, and for how many frames one that is no longer asked for
#: keeps its place: strips of frames being acquired have more kinds than can be kept.
MOST, PATIENCE = 2, 100

#: Kinds whose frames are counted.
COUNTED = 64

#: Frames at most whose work is recorded as a whole. More are parts of several, each a power of two:
#: of 31 frames' memory, 1 to 16 that come together have what they need.
LARGEST = 16

#: What frames of a device share whose work is the same: plan, settings, type of pixels, and what
#: their network runs on.
Kind: TypeAlias = tuple[Plan, Wanted, np.dtype, RanOn]

#: Recorded work.
Work: TypeAlias = Recorded | Whole


class Recordings:
    """Recorded work of one device by its kind: of each as many as are in hand at once.

    A device that cannot record goes on without; why is told in `trouble`. Threads share it.
    """

    def __init__(self) -> None:
        self._free: OrderedDict[Kind, list[Work]] = OrderedDict()
        self._asked: dict[Kind, int] = {}
        self._counts: OrderedDict[Kind, int] = OrderedDict()
        self._frames = 0
        self._lock = threading.Lock()
        self.trouble = ""
        #: Works that were made.
        self.made = 0

    def fitting(self, kind: Kind) -> Plan:
        """Give a plan that differs in room alone, has enough, and whose work is kept already.

        So do streams come to share work whose frames are of one form. The plan itself where there
        is none.
        """
        plan, *given = kind
        with self._lock:
            if kind in self._free:
                return plan
            for other, *rest in self._free:
                if rest == given and other.form == plan.form and other.room.covers(plan.room):
                    return other
        return plan

    def take(self, frames: Frames, kind: Kind) -> list[Work]:
        """Give work for some frames of a kind, which is theirs until it is given back.

        Of each as many frames as its `size` says, in their order. None where frames of their kind
        have not been many yet, others keep their place, or another thread is making some.
        """
        plan, wanted, *_ = kind
        whole = wanted.segmenter.recordable
        sizes = parts(len(frames)) if whole else [1] * len(frames)
        taken = list[Work | None]()
        with self._lock:
            if self.trouble or not self._has_place(kind, len(frames)):
                return []
            taken += [_pop(self._free[kind], size) for size in sizes]
        works, rest = list[Work](), frames
        make: Callable[..., Work] = Whole.of if whole else Recorded.of
        for known, size in zip(taken, sizes, strict=True):
            work = known or one_at_a_time(partial(make, rest[:size], wanted, plan))
            if work is None:  # another thread records: nobody waits for a second or two
                self.give_back([known for known in (*works, *taken[len(works) :]) if known], kind)
                return []
            if known is None:
                with self._lock:
                    self.made += 1
            works.append(work)
            rest = rest[size:]
        return works

    def give_back(self, works: list[Work], kind: Kind) -> None:
        """Take work back whose frames were brought; that of a kind that lost its place is freed."""
        with self._lock:
            if kind in self._free:
                self._free[kind] += works

    def whole(self, size: int) -> list[Whole]:
        """Give works that are free and whole, of so many frames; for measurements."""
        with self._lock:
            free = [work for works in self._free.values() for work in works]
        return [work for work in free if isinstance(work, Whole) and work.size == size]

    def give_up(self, why: str) -> bool:
        """Record nothing from now on; whether this is news."""
        with self._lock:
            news, self.trouble = not self.trouble, self.trouble or why
            self._free.clear()
        return news

    def _has_place(self, kind: Kind, number: int) -> bool:
        """Count frames of a kind; whether work of it is kept, from now on if it can be."""
        self._frames += number
        before = self._counts.get(kind, 0)
        self._counts[kind] = before + number
        self._counts.move_to_end(kind)
        while len(self._counts) > COUNTED:
            self._counts.popitem(last=False)
        if kind not in self._free:
            if before < AFTER or not self._makes_place():
                return False
            self._free[kind] = []
        self._free.move_to_end(kind)
        self._asked[kind] = self._frames
        return True

    def _makes_place(self) -> bool:
        """Whether another kind can be kept; the one that was not asked for longest makes way."""
        if len(self._free) < MOST:
            return True
        oldest = next(iter(self._free))
        if self._frames - self._asked[oldest] < PATIENCE:
            return False
        del self._free[oldest], self._asked[oldest]
        return True


def parts(number: int) -> list[int]:
    """Sizes of the works that so many frames are run by, powers of two, the largest first."""
    sizes, size = list[int](), LARGEST
    while number:
        if size <= number:
            sizes.append(size)
            number -= size
        else:
            size //= 2
    return sizes


def _pop(free: list[Work], size: int) -> Work | None:
    """Take work of a size, where there is any."""
    for place, work in enumerate(free):
        if work.size == size:
            return free.pop(place)
    return None
