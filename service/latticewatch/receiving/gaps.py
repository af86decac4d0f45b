"""The gaps that a stream had lately, in a room of fixed size."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

#: Gaps that are remembered. A source sends a frame again within minutes, if it was not answered;
#: one that thins out by two makes a gap of every second number. 24 bytes each.
KEPT_GAPS = 4096


class Gaps:
    """Sequence numbers that were recorded as missing, the latest of them.

    Parameters
    ----------
    known
        Epoch and range of those before.
    most
        Gaps that are remembered; the oldest is forgotten for a newer one.
    """

    def __init__(self, known: Iterable[tuple[int, range]] = (), most: int = KEPT_GAPS) -> None:
        self._ends = np.ones((3, most), np.uint64)  # epoch, first, end; an empty range so far
        self._next = 0
        for epoch, gap in known:
            self.add(epoch, gap)

    def __contains__(self, key: tuple[int, int]) -> bool:
        """Whether an epoch's number is in one of them."""
        epoch, seq = np.uint64(key[0]), np.uint64(key[1])
        epochs, first, end = self._ends
        return bool(np.any((epochs == epoch) & (first <= seq) & (seq < end)))

    def add(self, epoch: int, gap: range) -> None:
        """Remember a gap."""
        self._ends[:, self._next] = epoch, gap.start, gap.stop
        self._next = (self._next + 1) % self._ends.shape[1]
