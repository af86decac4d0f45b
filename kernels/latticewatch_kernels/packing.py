"""Many arrays of a device that come to the host by one copy.

A copy takes a device some microseconds however little it moves, and copies of several streams wait
for each other: a frame's results are 26 arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from latticewatch_kernels.abreast import in_step
from latticewatch_kernels.arrays import (
    array_module,
    fetch,
    laid_out,
    page_locked,
    pointer,
    send,
    starts_of,
)
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch_neighbours
from latticewatch_kernels.recording import held, once

#: As in the source: bytes of a word.
WORD = 4


class Below(NamedTuple):
    """Page-locked memory that arrays of a frame come down to; it must stay until they have.

    Attributes
    ----------
    whole, starts, parts
        All of its bytes, where arrays begin among them, and the arrays.
    block
        uint8 (frames, bytes): the same of all frames that were asked for in step.
    told, table
        uint64 (n, 3), page-locked and on the device: where each array lies there, where it begins
        here, and its bytes. The device's was there before anything was recorded: what recorded
        work leaves free is written over at each start.
    """

    whole: np.ndarray
    starts: list[int]
    parts: list[np.ndarray]
    block: np.ndarray
    told: np.ndarray
    table: Array

    @classmethod
    def like(cls, arrays: Sequence[Array]) -> Below:
        """Make memory that arrays of a device come down to, of their shapes and types.

        Not while work is captured.
        """
        return in_step("below", _side_by_side, arrays)

    def of_all(self) -> list[tuple[np.ndarray, ...]]:
        """Give the arrays of each frame that was asked for in step, in memory of their own.

        By one copy, in which other threads may run: after each a thread may have to wait until
        another lets it go on, and of a group of 16 frames there would be hundreds.
        """
        (number, size), memory = self.block.shape, self.block.copy().data
        parts = [
            np.ndarray((number, *part.shape), part.dtype, memory, start, (size, *part.strides))
            for start, part in zip(self.starts, self.parts, strict=True)
        ]
        return list(zip(*parts, strict=True))


def _side_by_side(frames: list[Sequence[Array]]) -> list[Below]:
    """Make memory of several frames, whose arrays are of the same shapes and types."""
    kinds = [(array.shape, array.dtype) for array in frames[0]]
    starts, size = starts_of(kinds)
    number, xp = len(frames), array_module(frames[0][0])
    block, told = page_locked(
        [((number, size), np.dtype(np.uint8)), ((number, len(kinds), 3), np.dtype(np.uint64))]
    )
    return [
        Below(
            block[place], starts, laid_out(block[place], starts, kinds), block,
            told[place], xp.empty(told[place].shape, told.dtype),
        )
        for place in range(number)
    ]  # fmt: skip


def fetch_packed(arrays: Sequence[Array], below: Below) -> None:
    """Ask for contiguous arrays of the current device in page-locked memory; nobody waits.

    Parameters
    ----------
    arrays
        At least one.
    below
        `Below.like` these.
    """
    below.told[...] = [
        (pointer(array), start, array.nbytes)
        for array, start in zip(arrays, below.starts, strict=True)
    ]
    xp, words = array_module(arrays[0]), len(below.whole) // WORD
    once(lambda: send(below.told, below.table))
    packed = xp.empty(words, np.int32)
    launch_neighbours(
        "packing", "packed", words, packed, held(below.table), len(arrays), words, packed
    )
    fetch([packed], [below.whole])
