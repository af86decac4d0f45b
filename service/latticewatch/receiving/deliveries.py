"""What ingest hands to the pipeline, one stream's items strictly in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch.client.errors import FrameError
from latticewatch.client.frames import FrameHeader


class StreamUnavailableError(RuntimeError):
    """A stream's session cannot be opened now; its frames must not be lost for that."""

    def __init__(self, stream: str, reason: str) -> None:
        super().__init__(f"stream {stream}: {reason}")
        self.stream = stream
        self.reason = reason


@dataclass(frozen=True)
class Arrival:
    """A frame whose turn it is.

    Attributes
    ----------
    stream, epoch, seq
        Identity on the wire.
    frame
        Number in the session, over all epochs.
    header, image
        What was sent; the image is read-only.
    received_s
        Unix time at which it was read from the socket.
    """

    stream: str
    frame: int
    epoch: int
    seq: int
    header: FrameHeader
    image: np.ndarray
    received_s: float


@dataclass(frozen=True)
class Part:
    """A frame that is being acquired; it is none of the deliveries, and nothing waits for it.

    Attributes
    ----------
    stream, epoch, seq
        Identity on the wire.
    frame
        Number in the session that it will have.
    header
        Of the newest block of rows.
    image
        (rows, columns) of the whole frame, the lower ones yet to come.
    rows_done
        Rows from the top that are there.
    """

    stream: str
    frame: int
    epoch: int
    seq: int
    header: FrameHeader
    image: np.ndarray
    rows_done: int


@dataclass(frozen=True)
class Refusal:
    """A frame that was rejected on arrival; it keeps its place, to be recorded as rejected.

    The source is answered by `Ingest.reject` with `error` once that is committed.
    """

    stream: str
    frame: int
    epoch: int
    seq: int
    error: FrameError


@dataclass(frozen=True)
class Gap:
    """Frames that never came: `count` of them, the first being `frame` and `seq`."""

    stream: str
    frame: int
    epoch: int
    seq: int
    count: int


@dataclass(frozen=True)
class End:
    """The source has ended its epoch; `frame` and `seq` are those that would have come next."""

    stream: str
    frame: int
    epoch: int
    seq: int


Delivery = Arrival | Refusal | Gap | End
