"""A small simulated movie on disk, and its frames as a source hands them over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from latticewatch.sources.simulated import simulated_microscope

CRYSTAL = "WS2"
STREAM = "run"

#: Statistics tell the epoch, so runs that are compared have the same one.
EPOCH = 20261126

#: The smallest frames with defects in every one, so that the tracker has work: five or so.
SIZE_PX = 96

#: Seconds from frame to frame; acquired as the movie says, however fast it is sent.
FRAME_TIME_S = 2.0


def make_movie(path: Path, frames: int, seed: int = 5, size: int = SIZE_PX) -> Path:
    """Simulate so many frames into a .npy file; return its path."""
    microscope = simulated_microscope(CRYSTAL, size, seed)
    images = [np.asarray(frame.image) for frame in microscope.frames(frames)]
    np.save(path, np.stack(images))
    return path


def fields_of(number: int) -> dict[str, Any]:
    """Tell of a frame, beside its pixels, the same in every run."""
    return {"time_s": number * FRAME_TIME_S, "frame_time_s": FRAME_TIME_S}
