"""Recorded work that is kept between frames, and lent to one of them at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TypeAlias

import numpy as np

from latticewatch.resident.recorded import Recorded
from latticewatch.resident.stages import Wanted
from latticewatch_kernels.resident.plan import Plan

#: Frames that a plan must have served before its work is recorded: a recording costs some frames
#: and keeps all of a frame's arrays on the device.
AFTER = 3

#: Kinds of frames whose work is kept, and for how many frames one that is no longer asked for
#: keeps its place: strips of frames being acquired have more kinds than can be kept.
MOST, PATIENCE = 2, 100

#: Kinds whose frames are counted.
COUNTED = 64

#: What frames share whose work is the same: plan, settings, type of pixels and device.
Kind: TypeAlias = tuple[Plan, Wanted, np.dtype, int]


class Recordings:
    """Recorded work by plan, settings and kind of frame: of each as many as are in hand at once.

    A device that cannot record goes on without; why is told in `trouble`. Threads share it.
    """

    def __init__(self) -> None:
        self._free: OrderedDict[Kind, list[Recorded]] = OrderedDict()
        self._asked: dict[Kind, int] = {}
        self._counts: OrderedDict[Kind, int] = OrderedDict()
        self._frames = 0
        self._lock = threading.Lock()
        self.trouble = ""

    def fitting(self, plan: Plan, wanted: Wanted, kind: np.dtype, gpu: int) -> Plan:
        """Give a plan that differs in room alone, has enough, and whose work is kept already.

        So do streams come to share work whose frames are of one form. The plan itself where there
        is none.
        """
        with self._lock:
            if (plan, wanted, kind, gpu) in self._free:
                return plan
            for other, *rest in self._free:
                same = other.form == plan.form and rest == [wanted, kind, gpu]
                if same and other.room.covers(plan.room):
                    return other
        return plan

    def take(
        self, frames: list[np.ndarray], wanted: Wanted, plan: Plan, gpu: int
    ) -> list[Recorded]:
        """Give work for each of some frames of a plan, which is theirs until it is given back.

        None where frames of their kind have not been many yet, or others keep their place.
        """
        key = plan, wanted, frames[0].dtype, gpu
        with self._lock:
            if self.trouble or not self._has_place(key, len(frames)):
                return []
            free = self._free[key]
            taken = [free.pop() for _ in frames[: len(free)]]
        while len(taken) < len(frames):
            taken.append(Recorded.of(frames[len(taken)], wanted, plan))
        return taken

    def give_back(self, works: list[Recorded], wanted: Wanted, plan: Plan, gpu: int) -> None:
        """Take work back whose frames were brought; that of a kind that lost its place is freed."""
        if not works:
            return
        key = plan, wanted, works[0].given.dtype, gpu
        with self._lock:
            if key in self._free:
                self._free[key] += works

    def give_up(self, why: str) -> bool:
        """Record nothing from now on; whether this is news."""
        with self._lock:
            news, self.trouble = not self.trouble, self.trouble or why
            self._free.clear()
        return news

    def _has_place(self, key: Kind, number: int) -> bool:
        """Count frames of a kind; whether work of it is kept, from now on if it can be."""
        self._frames += number
        before = self._counts.get(key, 0)
        self._counts[key] = before + number
        self._counts.move_to_end(key)
        while len(self._counts) > COUNTED:
            self._counts.popitem(last=False)
        if key not in self._free:
            if before < AFTER or not self._makes_place():
                return False
            self._free[key] = []
        self._free.move_to_end(key)
        self._asked[key] = self._frames
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
