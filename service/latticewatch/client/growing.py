"""A frame that is handed over while it is acquired, some rows at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from latticewatch.client.errors import FrameError
from latticewatch.client.frames import FrameHeader, checked_header, raw_pixels
from latticewatch.client.outbox import Block
from latticewatch.client.records import Entry

_FIELDS = (
    "time_s", "pixel_size_nm", "frame_time_s", "dose_e_per_A2", "detector", "metadata"
)  # fmt: skip


def growing_header(
    place: tuple[str, int, int],
    shape: tuple[int, int],
    dtype: npt.DTypeLike,
    fields: Mapping[str, Any],
) -> FrameHeader:
    """Header of a frame that begins now at `place`, its stream, epoch and seq.

    Raises
    ------
    TypeError
        A field is none that a source can give.
    """
    unknown = sorted(set(fields) - set(_FIELDS))
    if unknown:
        raise TypeError(f"{unknown} are no fields of a frame: use {', '.join(_FIELDS)}")
    given = {name: value for name, value in fields.items() if value is not None}
    now = time.time()
    return FrameHeader(
        stream=place[0],
        epoch=place[1],
        seq=place[2],
        shape=tuple(int(side) for side in shape),  # type: ignore[arg-type]
        dtype=np.dtype(dtype).name,
        sent_s=now,
        **{"time_s": now, **given, "metadata": dict(given.get("metadata", {}))},
    )


class GrowingFrame:
    """Rows of one frame, from `Publisher.frame`; it counts as soon as every row has been given.

    Where its ``with`` block is left before that, by an exception, what was given is forgotten, and
    the next frame has the same number.

    Parameters
    ----------
    header
        Of the whole frame.
    hand_rows, finish
        Of the publisher: called with rows that may go ahead of the frame, and in the end with the
        frame, or None where it was given up.
    """

    def __init__(
        self,
        header: FrameHeader,
        hand_rows: Callable[[Block], None],
        finish: Callable[[Entry | None], None],
    ) -> None:
        self._header = header
        self._hand_rows = hand_rows
        self._finish = finish
        self._image = np.empty(header.shape, header.dtype)
        self._given = np.zeros(header.shape[0], bool)
        self._next = 0
        self._in_rows = False
        self._completed = False

    @property
    def seq(self) -> int:
        """Sequence number that the frame has."""
        return self._header.seq

    def rows(self, block: np.ndarray, at: int | None = None) -> None:
        """Hand rows over; never waits for the network or a disk.

        Parameters
        ----------
        block
            (n, columns) of the frame's type; it is copied.
        at
            Its first row in the frame; the one after the last block when None. Rows that were given
            before are replaced.

        Raises
        ------
        FrameError
            The block does not fit into the frame, or all rows have been given; nothing was taken.
        PublisherError
            The publisher is closed, or its thread has failed.
        """
        block = np.asarray(block)
        start = self._next if at is None else at
        self._check(block, start)
        stop = start + block.shape[0]
        if len(block) < self._header.shape[0]:  # a frame in one piece needs nothing ahead of it
            part = replace(self._header, row_start=start, rows=len(block), sent_s=time.time())
            packed = checked_header(part)
            self._hand_rows(Block(part.epoch, part.seq, packed, raw_pixels(block)))
            self._in_rows = True
        self._image[start:stop] = block
        self._given[start:stop] = True
        self._next = stop
        if self._given.all():
            self._complete()

    def __enter__(self) -> GrowingFrame:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._completed:
            return
        self._finish(None)
        if kind is None:
            missing = int(np.count_nonzero(~self._given))
            reason = f"{missing} of {len(self._given)} rows were never given"
            raise FrameError("rows", reason, "give every row before the frame is left")

    def _complete(self) -> None:
        self._completed = True
        packed = checked_header(replace(self._header, sent_s=time.time()))
        pixels, epoch = raw_pixels(self._image), self._header.epoch
        self._finish(Entry(epoch, self.seq, packed, pixels, in_rows=self._in_rows))

    def _check(self, block: np.ndarray, start: int) -> None:
        rows, columns = self._header.shape
        if self._completed:
            raise FrameError("rows", "all have been given", "begin the next frame")
        if block.ndim != 2 or block.shape[1] != columns or not len(block):
            reason = f"a block of shape {block.shape} is no rows of {columns} pixels"
            raise FrameError("shape", reason, "give whole rows, as rows x columns")
        if block.dtype.name != self._header.dtype:
            reason = f"{block.dtype.name} in a frame of {self._header.dtype}"
            raise FrameError("dtype", reason, "give all rows in the frame's type")
        if not 0 <= start <= rows - len(block):
            reason = f"{len(block)} rows from row {start} do not fit into {rows}"
            raise FrameError("row_start", reason, "give no more rows than the frame has")
