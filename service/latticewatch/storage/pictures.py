"""Which frames a session keeps a picture of: a bounded number, and always the same ones.

Kept are frames spread evenly over the session, the first frames in which an alert was raised, and
the last frame. Which these are follows from the frames' numbers and alerts alone, so that a replay,
or a session that was resumed, keeps the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from latticewatch.preview import block_of, preview

#: Longest side of a kept picture. Half of it would leave 1.5 pixels between columns of a frame of
#: 1024 x 1024; twice as much is more than a report's figure can show.
KEPT_PX = 512

#: Pictures spread over the session at most, and half of it at least once it is that long.
MOST_SPREAD = 16

#: Pictures of frames that raised an alert at most: the first ones, which tell how it began.
MOST_ALERTS = 8


@dataclass(frozen=True, eq=False)
class Picture:
    """A frame as it is kept.

    Attributes
    ----------
    image
        uint8 (rows, columns), 0.5 to 99.5 % of the frame's intensities; see `preview.preview`.
    block
        Pixels of the frame that a pixel covers a side.
    """

    image: np.ndarray
    block: int


def picture_of(frame: np.ndarray) -> Picture:
    """Shrink a frame (rows, columns) to what a session keeps of it."""
    return Picture(preview(frame, KEPT_PX), block_of(frame.shape, KEPT_PX))


def interval(frame: int) -> int:
    """Frames from one spread picture to the next in a session whose last frame has that number.

    The least power of two with which at most `MOST_SPREAD` frames fall on its multiples, so that
    every longer interval's frames are among those of the shorter one: nothing that is dropped is
    missed later.
    """
    return 1 << (frame // MOST_SPREAD).bit_length()


def chosen(seen: Iterable[tuple[int, bool]], alerts_kept: int) -> dict[int, bool]:
    """Say which frames of a batch are kept.

    Parameters
    ----------
    seen
        Number and whether an alert was raised with it, of frames that have a picture, in order.
    alerts_kept
        Pictures that are kept for their alerts already.

    Returns
    -------
    dict
        By frame number: whether it is kept for its alert, else for its place.
    """
    frames = list(seen)
    if not frames:
        return {}
    last = frames[-1][0]
    apart = interval(last)
    kept: dict[int, bool] = {}
    for frame, raised in frames:
        for_alert = raised and alerts_kept < MOST_ALERTS
        alerts_kept += for_alert
        if for_alert or frame % apart == 0 or frame == last:
            kept[frame] = for_alert
    return kept
