"""The picture of a frame with what was found in it, whole or while it is acquired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from latticewatch.client.errors import MessageError
from latticewatch.client.message import Message


@dataclass(frozen=True, kw_only=True)
class _Picture(Message):
    """Preview of rows of a frame and points in them."""

    image: np.ndarray
    frame_shape: tuple[int, int]
    points: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.float32))
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 2:
            raise ValueError(f"an overlay's image is 2-D uint8, not {self.image.dtype}")
        if self.points.shape != (len(self.labels), 2):
            raise ValueError("an overlay has one label for each point")

    def body(self) -> dict[str, Any]:
        """Everything but the pixels."""
        return {
            "image_shape": list(self.image.shape),
            "frame_shape": list(self.frame_shape),
            "points": np.asarray(self.points, np.float32),
            "labels": list(self.labels),
        }

    def payload(self) -> bytes | None:
        """Pixels in C order."""
        return self.image.tobytes()

    @classmethod
    def read_body(cls, body: dict[str, Any], payload: memoryview | None) -> dict[str, Any]:
        """Rebuild the preview, its points and labels."""
        rows, columns = body.pop("image_shape")
        if payload is None or type(rows) is not int or type(columns) is not int:
            raise MessageError("an overlay lacks its pixels or their shape")
        if min(rows, columns) < 0 or rows * columns != payload.nbytes:
            raise MessageError(f"an overlay of {rows} x {columns} has {payload.nbytes} bytes")
        image = np.frombuffer(payload, np.uint8).reshape(rows, columns)
        height, width = body["frame_shape"]
        return {**body, "image": image, "frame_shape": (int(height), int(width))}


@dataclass(frozen=True, kw_only=True)
class Overlay(_Picture):
    """Preview of a frame and what was found in it.

    Attributes
    ----------
    image
        uint8 (rows, columns), the frame at reduced size.
    frame_shape
        Rows and columns of the frame as acquired.
    points
        float32 (n, 2), (x, y) of the defects in pixels of the frame as acquired.
    labels, tracks
        Species or state, and the track, of each point.
    """

    kind: ClassVar[str] = "overlay"

    tracks: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.tracks) != len(self.labels):
            raise ValueError("an overlay has one track for each point")

    def body(self) -> dict[str, Any]:
        """Everything but the pixels."""
        return {**super().body(), "tracks": np.asarray(self.tracks, np.int64)}


@dataclass(frozen=True, kw_only=True)
class PartialOverlay(_Picture):
    """The upper part of a frame that is being acquired, and what this part alone shows.

    Provisional: nothing of it is counted, and the frame's `Overlay` takes its place.

    Attributes
    ----------
    image
        uint8 (rows, columns), the rows that are told of, at the reduced size of the whole frame's
        overlay.
    frame_shape
        Rows and columns of the whole frame as acquired.
    rows_done
        Rows of the frame as acquired, from the top, that it tells of.
    points
        float32 (n, 2), (x, y) of the defects in pixels of the frame as acquired.
    labels
        Species or state of each point, by this frame alone.
    analysis_ms
        How long the analysis of the newest rows took, milliseconds.
    """

    kind: ClassVar[str] = "partial"

    rows_done: int
    analysis_ms: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.rows_done) is not int or not 0 < self.rows_done <= self.frame_shape[0]:
            raise ValueError(f"{self.rows_done} rows of a frame of {self.frame_shape[0]}")
        if not isinstance(self.analysis_ms, int | float):
            raise ValueError(f"{self.analysis_ms!r} is no duration")  # noqa: TRY004 - of a message

    def body(self) -> dict[str, Any]:
        """Everything but the pixels."""
        own = {"rows_done": self.rows_done, "analysis_ms": self.analysis_ms}
        return {**super().body(), **own}
