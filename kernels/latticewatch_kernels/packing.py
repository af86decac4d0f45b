"""Many arrays of a device that come to the host by one copy.

A copy takes a device some microseconds however little it moves, and copies of several streams wait
for each other: a frame's results are 26 arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

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
    """Page-locked memory that arrays come down to; it must stay until they have.

    Attributes
    ----------
    whole, starts, parts
        All of its bytes, where arrays begin among them, and the arrays.
    told, table
        uint64 (n, 3), page-locked and on the device: where each array lies there, where it begins
        here, and its bytes. The device's was there before anything was recorded: what recorded
        work leaves free is written over at each start.
    """

    whole: np.ndarray
    starts: list[int]
    parts: list[np.ndarray]
    told: np.ndarray
    table: Array

    @classmethod
    def like(cls, arrays: Sequence[Array]) -> Below:
        """Make memory that arrays of a device come down to, of their shapes and types.

        Not while work is captured.
        """
        kinds = [(array.shape, array.dtype) for array in arrays]
        starts, size = starts_of(kinds)
        whole, told = page_locked(
            [((size,), np.dtype(np.uint8)), ((len(kinds), 3), np.dtype(np.uint64))]
        )
        table = array_module(arrays[0]).empty(told.shape, told.dtype)
        return cls(whole, starts, laid_out(whole, starts, kinds), told, table)

    def own(self) -> list[np.ndarray]:
        """Give the arrays in memory of their own.

        By one copy, in which others may run: for each array that is copied by itself a thread may
        have to wait until another lets it go on.
        """
        kinds = [(part.shape, part.dtype) for part in self.parts]
        return laid_out(self.whole.copy(), self.starts, kinds)


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
