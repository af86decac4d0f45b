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
    before: TrackArray, linked: np.ndarray, index: np.ndarray, n: int
) -> tuple[TrackArray, np.ndarray]:
    """Tracks of a frame's n defects, and which of those are fresh.

    Track ``linked[k]`` of those `before` becomes that of defect ``index[k]``; the others are of new
    tracks without a number.
    """
    tracks, fresh = np.empty(n, TRACK), np.ones(n, bool)
    fresh[index] = False
    new, whole = fresh.nonzero()[0], blocks(tracks)
    whole[index], whole[new] = blocks(before)[linked], _BLANK
    return tracks, new


def gathered(
    before: TrackArray,
    partner: np.ndarray,
    now: TrackArray,
    fresh: np.ndarray,
    absorbed: np.ndarray,
) -> TrackArray:
    """All open tracks by their numbers: those `before` without the `absorbed`, and fresh ones.

    `now` are the tracks of the frame's defects, `partner` (n,) the defect that continues each of
    those `before`; where it is -1 the track has missed one frame more.
    """
    tracks = np.empty(len(before) + len(fresh), TRACK)
    linked, lone = (partner >= 0).nonzero()[0], (partner < 0).nonzero()[0]
    whole, new = blocks(tracks), blocks(now)
    whole[linked], whole[lone] = new[partner[linked]], blocks(before)[lone]
    whole[len(before) :] = new[fresh]
    tracks["missed"][lone] += 1
    if absorbed.any():
        return picked(tracks, ~np.append(absorbed, np.zeros(len(fresh), bool)))
    return tracks
