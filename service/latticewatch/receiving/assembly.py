"""Frames that come in blocks of rows, put together. No sockets, no clock.

The source keeps the whole frame, so nothing here has to last: what is dropped is asked for again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from latticewatch.client.frames import FrameHeader
from latticewatch.client.wire import little_endian

#: Frames of a stream that are put together at once. A microscope acquires one after the other; the
#: second is for a source that overlaps them, or for the next frame when rows of one are late.
MOST_FRAMES = 2

Key = tuple[int, int]


@dataclass(frozen=True)
class Growing:
    """A frame some of whose rows have come.

    Attributes
    ----------
    header
        Of its newest block.
    image
        (rows, columns) of the whole frame; rows that have not come hold anything.
    rows_done
        Rows from the top without a gap.
    complete
        Whether all have come.
    """

    header: FrameHeader
    image: np.ndarray
    rows_done: int
    complete: bool


class Assembly:
    """Puts one stream's frames together, from blocks in any order.

    At most `MOST_FRAMES` are in hand, each an array of the size of the frame: two of 8192 x 8192
    float64 are 1 GiB, of which the system gives no more memory than rows have come for. Rows that
    come again replace those that came before; a block that differs in anything but its rows and
    `sent_s` begins the frame anew: the source has given up its scan and started another.
    """

    def __init__(self) -> None:
        self._frames: OrderedDict[Key, tuple[FrameHeader, np.ndarray, np.ndarray]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._frames)

    def take(self, header: FrameHeader, rows: np.ndarray) -> tuple[Growing, list[Key]]:
        """Add a block; gives its frame as it stands, and the frames that were dropped for it.

        A frame that is complete is no longer in hand.
        """
        key = (header.epoch, header.seq)
        dropped: list[Key] = []
        known = self._frames.get(key)
        if known is None or _identity(known[0]) != _identity(header):
            self._frames.pop(key, None)
            while len(self._frames) >= MOST_FRAMES:
                dropped.append(self._frames.popitem(last=False)[0])
            image = np.empty(header.shape, little_endian(header.dtype))
            known = (header, image, np.zeros(header.shape[0], bool))
            self._frames[key] = known
        _, image, have = known
        start = header.row_start or 0
        image[start : start + len(rows)] = rows
        have[start : start + len(rows)] = True
        complete = bool(have.all())
        if complete:
            del self._frames[key]
            image.flags.writeable = False
        done = len(have) if complete else int(have.argmin())
        return Growing(header, image, done, complete), dropped

    def drop(self, unwanted: Callable[[Key], bool]) -> list[Key]:
        """Let go of the frames whose epoch and seq are `unwanted`; gives them."""
        gone = [key for key in self._frames if unwanted(key)]
        for key in gone:
            del self._frames[key]
        return gone


def _identity(header: FrameHeader) -> FrameHeader:
    return replace(header, row_start=None, rows=None, sent_s=None)
