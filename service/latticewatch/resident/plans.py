"""The plans of the frames before, by their shape."""

from __future__ import annotations

import threading
from collections import OrderedDict

from latticewatch_kernels.resident.plan import Plan

#: Plans that are kept: one for each shape of frames, strips of frames being acquired among them.
MOST = 64


class Plans:
    """The plan of a stream's last frame of each shape; threads share it."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int], Plan] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, shape: tuple[int, int]) -> Plan | None:
        """Give the plan of frames of a shape; none before the first."""
        with self._lock:
            return self._known.get(shape)

    def keep(self, plan: Plan) -> None:
        """Remember a plan that served its frame."""
        with self._lock:
            self._known[plan.shape] = plan
            self._known.move_to_end(plan.shape)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
