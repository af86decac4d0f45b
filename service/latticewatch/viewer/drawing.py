"""What is drawn: entities of Rerun, and the moment that they belong to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import rerun as rr

from latticewatch.client.messages import Overlay

#: An entity's path and what is logged there.
Entry = tuple[str, rr.AsComponents]

#: The timelines: number of the frame in the session, and when it was acquired.
FRAME, ACQUIRED = "frame", "acquired"

#: Acquisition times later than this are Unix times (it is in 2001), earlier ones count from some
#: start of the source's own.
EARLIEST_UNIX_S = 1e9


@dataclass(frozen=True)
class Drawing:
    """Entities of one moment.

    Attributes
    ----------
    frame, time_s
        The frame that they belong to and when it was acquired; its number is -1 and its time None
        for what belongs to none.
    entries
        What to log.
    static
        What holds for all times: colours and names of series.
    overlay
        The frame's, for the drawing of a frame.
    sent_s
        When the source sent the frame, for drawings of a frame that was not seen before.
    """

    frame: int
    time_s: float | None
    entries: tuple[Entry, ...]
    static: tuple[Entry, ...] = ()
    overlay: Overlay | None = None
    sent_s: float | None = None


def path(*parts: str) -> str:
    """Entity path of parts that may hold any character, as ``V@Mo`` and ``MoW+VS/0`` do."""
    return rr.new_entity_path(list(parts))


def rgb(colour: str) -> tuple[int, int, int]:
    """Components of ``#rrggbb``."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def rgbs(colours: list[str]) -> np.ndarray:
    """uint8 (n, 3) of n colours."""
    return np.array([rgb(colour) for colour in colours], np.uint8).reshape(-1, 3)
