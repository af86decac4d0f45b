"""How often what a stream has learnt is told: with every frame, or less often under load."""

from __future__ import annotations

#: While further frames are in hand, statistics are made, committed and published for one commit in
#: so many frames: they cost 4 to 5 ms of the writer's 14 ms a frame of 96 x 96, and at the rates
#: where frames wait ten of them are a fraction of a second.
TOLD_FRAMES = 10

#: Frames after which the costly estimates (`tracker.statistics.infer`) are made again, at leisure
#: and while further frames are in hand. They take 15 to 35 ms, and ten frames more change them by a
#: fraction of their intervals. At an end they are made anew.
KEPT_FRAMES, KEPT_UNDER_LOAD = 10, 50

#: Estimates that were not made again for so long are made in the midst of a commit.
OVERDUE_FRAMES = 2 * KEPT_UNDER_LOAD


def is_told(frame: int, before: int, more: bool) -> bool:
    """Whether statistics are made for a commit.

    Parameters
    ----------
    frame, before
        The commit's last frame, and the one that statistics were last made for.
    more
        Whether further frames are in hand.
    """
    return not more or frame - before >= TOLD_FRAMES


def is_estimated(frame: int, before: int, more: bool) -> bool:
    """Whether the costly estimates are made again; parameters as those of `is_told`."""
    return frame - before >= (KEPT_UNDER_LOAD if more else KEPT_FRAMES)
