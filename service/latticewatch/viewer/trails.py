"""Where the tracks have been lately, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch.client.table import DefectTable

#: Positions kept of a track: half a minute at one frame in 2.25 s, a look back that does not hide
#: the frame.
LENGTH = 15

#: Frames after which a track that was not seen is forgotten; the tracker itself waits
#: `tracker.max_gap_frames`, 3 by default.
FORGET_AFTER = 10


@dataclass(frozen=True)
class Trail:
    """A track as the viewer saw it.

    Attributes
    ----------
    first, last
        Frames in which it was seen first and last.
    since_start
        It was there when the viewer began: it is older than `first` tells.
    places
        (n, 2) drift-corrected positions, nm, the newest last.
    """

    first: int
    last: int
    since_start: bool
    places: np.ndarray


Trails = dict[int, Trail]


def extend(trails: Trails, frame: int, table: DefectTable, *, starting: bool) -> Trails:
    """Add a frame's defects to the trails.

    Parameters
    ----------
    trails
        Those after the frame before; not changed.
    frame, table
        The frame's number and defects; rows without a track are left out.
    starting
        It is the first frame that the viewer sees.
    """
    kept = {number: t for number, t in trails.items() if frame - t.last < FORGET_AFTER}
    places = np.stack([table.x_nm, table.y_nm], axis=-1)
    for number, place in zip(table.track.tolist(), places, strict=True):
        if number < 0:
            continue
        old = kept.get(number)
        if old is None:
            kept[number] = Trail(frame, frame, starting, place[None])
            continue
        path = np.concatenate([old.places[1 - LENGTH :], place[None]])
        kept[number] = Trail(old.first, frame, old.since_start, path)
    return kept


def on_frame(
    trails: Trails, table: DefectTable, pixel_size_nm: float
) -> tuple[list[np.ndarray], list[int]]:
    """Paths of the tracks of this frame, laid over it.

    The specimen has drifted since; drift-corrected positions are put where they would lie now:
    ``x_px = x_nm / pixel size + drift``, with the drift that the frame's own defects tell.

    Returns
    -------
    tuple
        Paths, each (n, 2) in pixels of the frame as acquired with n of 2 or more, and the row of
        the table that each belongs to.
    """
    nm = np.stack([table.x_nm, table.y_nm], axis=-1)
    px = np.stack([table.x_px, table.y_px], axis=-1)
    if not np.isfinite(nm).any():
        return [], []
    drift = np.nanmedian(px - nm / pixel_size_nm, axis=0)
    paths, rows = [], []
    for row, number in enumerate(table.track.tolist()):
        trail = trails.get(number)
        if trail is None or len(trail.places) < 2 or not np.isfinite(trail.places).all():
            continue
        paths.append(trail.places / pixel_size_nm + drift)
        rows.append(row)
    return paths, rows
