"""The newest checked frames of a stream, in bounded memory, and whether they can be trained on."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

#: Bytes that the frames kept of one stream may take: sixty-four of 1024 x 1024 as float32.
MOST_BYTES = 256 * 2**20

#: Labelled columns below which there is nothing to learn from: a sixth of what one frame of 512 x
#: 512 holds at the default doping, with which a model was trained that is as good as its labels.
LEAST_LABELS = 20

#: Of the frames kept, this part (the newest) is held back from training, to judge by.
HELD_SHARE = 0.25

#: Frames that a new model is judged on at most, the newest: each is analysed twice.
MOST_JUDGED = 6


@dataclass(frozen=True)
class RecentFrame:
    """A checked frame.

    Attributes
    ----------
    frame
        Its number in the session.
    image
        As acquired.
    labels
        Labelled columns that were counted in it.
    """

    frame: int
    image: np.ndarray
    labels: int


class RecentFrames:
    """Keeps the newest frames of one shape and type.

    Parameters
    ----------
    most
        Frames that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._frames: deque[RecentFrame] = deque(maxlen=most)

    def add(self, frame: RecentFrame) -> None:
        """Take in the next; frames of another shape or type are of another run, and go."""
        last = self._frames[-1].image if self._frames else frame.image
        if (last.shape, last.dtype) != (frame.image.shape, frame.image.dtype):
            self._frames.clear()
        self._frames.append(frame)
        while len(self._frames) * frame.image.nbytes > MOST_BYTES:
            self._frames.popleft()

    def lacking(self) -> str:
        """Say why these frames cannot be trained on; empty where they can."""
        have = len(self._frames)
        if have < self._most:
            fitting = MOST_BYTES // max(1, self._frames[-1].image.nbytes) if have else self._most
            if fitting < self._most:
                return (
                    f"{self._most} frames of this size take more than {MOST_BYTES >> 20} MiB: "
                    f"set calibration.frames to {max(4, fitting)} or less, or train beside the "
                    "service"
                )
            return f"{have} of {self._most} frames are gathered"
        labels = sum(frame.labels for frame in self.taught())
        if labels < LEAST_LABELS:
            return f"{labels} columns are labelled, {LEAST_LABELS} are needed"
        return ""

    def taught(self) -> tuple[RecentFrame, ...]:
        """Frames to train on: all but the newest quarter."""
        frames = tuple(self._frames)
        return frames[: len(frames) - max(1, round(HELD_SHARE * len(frames)))]

    def newer_than(self, frame: int) -> tuple[RecentFrame, ...]:
        """Frames after that number, the newest `MOST_JUDGED` of them, to judge by."""
        return tuple(kept for kept in self._frames if kept.frame > frame)[-MOST_JUDGED:]
