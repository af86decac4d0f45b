"""The open tracks as one structured array: what is remembered of each defect."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Room for species in a track's histogram: readings of any crystal, hole edge, unknown.
MAX_SPECIES = 8
#: Room for a belief over readings: "unknown", the readings of any crystal and three hosts.
MAX_READINGS = 12
#: Dopant states: alone, or with a vacancy in one of three directions.
STATES = 4

#: One open track. ``state_*`` and ``class_*`` remember the last frame in which they were known, so
#: that a step across a gap is counted at its true lag. ``missed`` counts the frames with a result
#: since the last one in which it was seen. ``step*`` are the diffusion estimator's memory of the
#: last displacement, in lattice vectors. ``word*`` are the last labels of single frames
#: as the digits of a number, and when the last of them was seen. The widest fields come first and
#: all make up whole words, so that each is aligned: numpy copies others to a buffer before it
#: computes.
TRACK = np.dtype(
    [
        ("track", "<i8"),
        ("first_frame", "<i8"),
        ("last_frame", "<i8"),
        ("first_time", "<f8"),
        ("last_time", "<f8"),
        ("seen", "<i8"),
        ("rows", "<i8"),
        ("missed", "<i8"),
        ("state_frame", "<i8"),
        ("dwell", "<i8"),
        ("word_frame", "<i8"),
        ("word_time", "<f8"),
        ("class_frame", "<i8"),
        ("step", "<f8", (2,)),
        ("cell", "<i4", (2,)),
        ("species_seen", "<i4", (MAX_SPECIES,)),
        ("word", "<i4"),
        ("belief", "<f4", (MAX_READINGS,)),
        ("state_belief", "<f4", (STATES,)),
        ("class_id", "<i4"),
        ("step_known", "<i4"),
        ("sublattice", "<i1"),
        ("species", "<i1"),
        ("bound", "<i1"),
        ("state", "<i1"),
    ]
)

TrackArray = np.ndarray[Any, np.dtype[Any]]


def no_tracks() -> TrackArray:
    """Return an empty array of tracks."""
    return np.zeros(0, TRACK)


def new_tracks(numbers: np.ndarray) -> TrackArray:
    """Tracks with these numbers and nothing known yet."""
    tracks = np.zeros(len(numbers), TRACK)
    tracks["track"] = numbers
    for name in ("species", "state", "state_frame", "word_frame", "class_id", "class_frame"):
        tracks[name] = -1
    return tracks


def blocks(records: np.ndarray) -> np.ndarray:
    """View records as blocks of bytes: numpy copies them field by field, 36 us for 500 tracks.

    Blocks take 4 us.
    """
    return np.ascontiguousarray(records).view(f"V{records.dtype.itemsize}")


#: A new track without a number.
_BLANK = blocks(new_tracks(np.zeros(1, np.int64)))


def picked(records: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Copy of the records chosen by a mask or by indices."""
    return np.asarray(blocks(records)[which].view(records.dtype))


def continued(
    before: TrackArray, partner: np.ndarray, n: int, ended: np.ndarray
) -> tuple[TrackArray, np.ndarray]:
    """Tracks of a frame's n defects in their order, then those left alone; and which are fresh.

    `partner` (m,) is the defect that continues each track of those `before`, -1 for none, and
    `ended` bool (m,) leaves some of these out; the others have missed one frame more. Fresh tracks
    have no number.
    """
    linked, lone = (partner >= 0).nonzero()[0], ((partner < 0) & ~ended).nonzero()[0]
    source = np.full(n, -1)
    source[partner[linked]] = linked
    # the blank one is the last, which -1 means
    whole = np.append(blocks(before), _BLANK)[np.append(source, lone)]
    tracks = whole.view(TRACK)
    tracks["missed"][n:] += 1
    return tracks, (source < 0).nonzero()[0]
