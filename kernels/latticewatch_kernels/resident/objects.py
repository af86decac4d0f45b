"""Objects of the network's coarse map, found on the device."""

from __future__ import annotations

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import ORDERED, blocks_of, launch, launch_together, zeros
from latticewatch_kernels.resident.parts import FoundAbove
from latticewatch_kernels.resident.plan import Room

SOURCE = "objects"

#: As in the source: what is counted, threads to an object, numbers that each sums, and marks near
#: one that are listed.
NUMBERS, LANES, SUMS, NEAR = 2, 32, 3, 16


def found(
    heat: Array,
    offset: Array,
    stride: int,
    shape: tuple[int, int],
    facts: Array,
    room: Room,
    threshold: float,
    least_vote: float,
    merge: float,
    vote_reach: float,
) -> FoundAbove:
    """Decode a map of objects; twin: `latticewatch_models.segmentation.Segmentation.detections`.

    Which cells are objects is the twin's to the last bit; their places are within rounding of
    double precision. A cell votes for any object that is nearer than `vote_reach`; since objects
    are farther apart than `merge`, there is one at most while `vote_reach` is below a half.

    Parameters
    ----------
    heat, offset
        float32 (h, w) and (2, h, w).
    stride, shape
        Pixels to a cell, and (rows, columns) of the image that the network saw.
    facts
        CONSTANT and FACTOR are read; FOUND is filled. Refused with NO_ROOM where a buffer is short.
    room
        Of marks and detections.
    threshold, least_vote
        Least probability of a detection, and of a cell that has a say in where one lies.
    merge, vote_reach
        Lattice constants between detections at least, and the share of that within which cells
        have a say.

    Returns
    -------
    FoundAbove
        Points in pixels of the frame.
    """
    marked = _marks(heat, offset, stride, shape, facts, room, threshold, least_vote)
    numbers, counts, ordered = marked
    xp, marks = array_module(facts), room.marks
    near, states = xp.empty((marks, NEAR), np.int32), xp.empty((2, marks), np.int8)
    launch(
        SOURCE, "marks_near", marks * LANES, facts,
        facts, numbers, ordered, marks, np.float64(merge), counts, near,
    )  # fmt: skip
    kept = xp.empty(room.found, np.int32)
    launch_together(
        SOURCE, "marks_suppressed", 1, facts,
        facts, numbers, ordered, marks, np.float64(merge), counts, near, room.found, states, kept,
    )  # fmt: skip
    sums = xp.empty((room.found, LANES, SUMS), np.float64)
    launch(
        SOURCE, "votes", room.found * LANES, facts,
        facts, numbers, ordered, marks, np.float64(merge), np.float64(vote_reach), kept,
        room.found, sums,
    )  # fmt: skip
    made = FoundAbove(xp.empty((room.found, 2), np.float64), xp.empty(room.found, np.float64))
    launch(SOURCE, "objects", room.found, facts, facts, ordered, kept, room.found, sums, *made)
    return made


def _marks(
    heat: Array,
    offset: Array,
    stride: int,
    shape: tuple[int, int],
    facts: Array,
    room: Room,
    threshold: float,
    least_vote: float,
) -> tuple[Array, Array, Array]:
    """List the cells that have a say, surest first.

    Returns
    -------
    numbers, counts, ordered
        int32 (NUMBERS,), how many there are; int32 (marks,), zeros; and float64 (marks, 3): place
        (x, y), probability.
    """
    xp, marks = array_module(facts), room.marks
    blank = zeros(facts, (NUMBERS + marks,), np.int32)
    numbers, counts = blank[:NUMBERS], blank[NUMBERS:]
    place, said = xp.empty(marks, np.int32), xp.empty((marks, 3), np.float32)
    launch(
        "maxima", "cells_above", heat.size, facts,
        heat, offset, heat.size, np.float32(min(threshold, least_vote)), marks, numbers, place,
        said,
    )  # fmt: skip
    ordered = xp.empty((marks, 3), np.float64)
    launch_together(
        SOURCE, "marks_ordered", blocks_of(marks, ORDERED), facts,
        facts, place, said, marks, heat.shape[1], stride, *shape, np.float64(threshold),
        numbers, ordered,
    )  # fmt: skip
    return numbers, counts, ordered
