"""Result messages: what the service publishes and a subscriber iterates over.

A message is a topic, a msgpack header, and for overlays the preview's pixels as a third part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from latticewatch.client import checks
from latticewatch.client.errors import FrameError, MessageError
from latticewatch.client.table import COLUMN_TYPES, COLUMNS, DefectTable
from latticewatch.client.wire import MAX_MESSAGE_BYTES, pack, unpack

__all__ = [
    "COLUMNS",
    "COLUMN_TYPES",
    "KINDS",
    "Alert",
    "DefectTable",
    "Defects",
    "Health",
    "Message",
    "Overlay",
    "Statistics",
    "decode",
    "encode",
]

VERSION = 1

#: Largest topic: the longest kind, a slash and a stream's name.
MAX_TOPIC_BYTES = 80


@dataclass(frozen=True, kw_only=True)
class Message:
    """What every result message carries.

    Attributes
    ----------
    stream, epoch, frame, time_s
        The frame that the message is about; `frame` counts through the session, -1 for none.
    seq, run
        Publication number on this topic, from 1, and the number of the service's run that counts
        it: a service that was restarted counts anew. Set by the publishing side.
    sent_s, published_s
        Unix times at which the source sent the frame and the service published the message.
    snapshot
        The message repeats the topic's last value for somebody who has just subscribed.
    missed, gap
        Messages of this topic that were lost before this one, and the first and last frame that
        `Subscriber.fetch_gap` can ask for; both set by the Subscriber.
    """

    kind: ClassVar[str] = ""

    stream: str = ""
    epoch: int = 0
    frame: int = -1
    time_s: float = 0.0
    seq: int = 0
    run: int = 0
    sent_s: float | None = None
    published_s: float | None = None
    snapshot: bool = False
    missed: int = 0
    gap: tuple[int, int] | None = None

    @property
    def topic(self) -> str:
        """Topic that the message is published on."""
        return f"{self.kind}/{self.stream}"

    def body(self) -> dict[str, Any]:
        """Fields of the particular kind, as `wire.pack` takes them."""
        raise NotImplementedError

    def payload(self) -> bytes | None:
        """Third part of the message, or None."""
        return None

    @classmethod
    def read_body(cls, body: dict[str, Any], payload: memoryview | None) -> dict[str, Any]:  # noqa: ARG003
        """Give the constructor arguments from what `body` and `payload` gave."""
        return body


@dataclass(frozen=True, kw_only=True)
class Defects(Message):
    """Defect table of one frame.

    Attributes
    ----------
    table
        Its defects.
    timings_ms
        How long the service spent in each stage of the frame, milliseconds.
    """

    kind: ClassVar[str] = "defects"

    table: DefectTable = field(default_factory=DefectTable.empty)
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the table, column by column, and the timings."""
        return {"table": self.table.to_wire(), "timings_ms": dict(self.timings_ms)}

    @classmethod
    def read_body(cls, body: dict[str, Any], payload: memoryview | None) -> dict[str, Any]:  # noqa: ARG003
        """Rebuild the table and the timings."""
        timings = {str(name): float(spent) for name, spent in body["timings_ms"].items()}
        return {"table": DefectTable.from_wire(body["table"]), "timings_ms": timings}


@dataclass(frozen=True, kw_only=True)
class Statistics(Message):
    """Kinetics of the whole session up to `frame`: populations, transitions, diffusion."""

    kind: ClassVar[str] = "statistics"

    data: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the statistics, plain values and arrays."""
        return {"data": dict(self.data)}

    def row(self) -> dict[str, float | None]:
        """Every number of the statistics by its dotted place, as one row of a data frame.

        ``populations.VS.now``, ``diffusion.free.D_nm2_s.low``; lists and texts are left out.
        ``pandas.DataFrame([message.row() for message in gathered])``.
        """
        head: dict[str, float | None] = {"frame": self.frame, "time_s": self.time_s}
        return {**head, **dict(_numbers(self.data, ""))}


@dataclass(frozen=True, kw_only=True)
class Overlay(Message):
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

    image: np.ndarray
    frame_shape: tuple[int, int]
    points: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.float32))
    labels: Sequence[str] = ()
    tracks: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 2:
            raise ValueError(f"an overlay's image is 2-D uint8, not {self.image.dtype}")
        if self.points.shape != (len(self.labels), 2) or len(self.tracks) != len(self.labels):
            raise ValueError("an overlay has one label and one track for each point")

    def body(self) -> dict[str, Any]:
        """Everything but the pixels."""
        return {
            "image_shape": list(self.image.shape),
            "frame_shape": list(self.frame_shape),
            "points": np.asarray(self.points, np.float32),
            "labels": list(self.labels),
            "tracks": np.asarray(self.tracks, np.int64),
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
class Alert(Message):
    """A rule of the configuration has come true (or has ceased to: `active` False)."""

    kind: ClassVar[str] = "alert"

    rule: str
    text: str
    severity: str = "warning"
    active: bool = True
    values: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Rule, text, severity and the values that decided."""
        names = ("rule", "text", "severity", "active")
        return {**{name: getattr(self, name) for name in names}, "values": dict(self.values)}


@dataclass(frozen=True, kw_only=True)
class Health(Message):
    """State of the service itself; its topic has no stream."""

    kind: ClassVar[str] = "health"

    state: str = "ok"
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        """Topic that the message is published on."""
        return self.kind

    def body(self) -> dict[str, Any]:
        """State and figures."""
        return {"state": self.state, "values": dict(self.values)}


def _numbers(values: Mapping[str, Any], place: str) -> Iterator[tuple[str, float | None]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{place}{name}.")
        elif value is None or isinstance(value, int | float):
            yield f"{place}{name}", value


KINDS: dict[str, type[Message]] = {
    kind.kind: kind for kind in (Defects, Statistics, Overlay, Alert, Health)
}

_COMMON = ("stream", "epoch", "frame", "time_s", "seq", "run", "sent_s", "published_s", "snapshot")
_TYPES: dict[str, tuple[type, ...]] = {
    "stream": (str,),
    "epoch": (int,),
    "frame": (int,),
    "time_s": (float, int),
    "seq": (int,),
    "run": (int,),
    "sent_s": (float, int, type(None)),
    "published_s": (float, int, type(None)),
    "snapshot": (bool,),
}


def encode(message: Message) -> list[bytes]:
    """Parts of the message for a PUB socket."""
    head = {name: getattr(message, name) for name in _COMMON}
    header = pack({"version": VERSION, "kind": message.kind, **head, "body": message.body()})
    payload = message.payload()
    parts = [message.topic.encode(), header]
    return parts if payload is None else [*parts, payload]


def decode(parts: Sequence[bytes | memoryview]) -> Message:
    """Message from its parts; raises MessageError for anything that is none."""
    if len(parts) not in (2, 3) or sum(len(part) for part in parts) > MAX_MESSAGE_BYTES:
        raise MessageError(f"{len(parts)} parts are no result message")
    fields = unpack(parts[1])
    try:
        kind, common, body = _checked(fields)
        payload = memoryview(parts[2]) if len(parts) > 2 else None
        message = kind(**common, **kind.read_body(body, payload))
    except MessageError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MessageError(f"a damaged result message ({error!r})") from None
    if bytes(parts[0][:MAX_TOPIC_BYTES]) != message.topic.encode():
        raise MessageError("the topic does not fit the message")
    return message


def _checked(fields: Any) -> tuple[type[Message], dict[str, Any], dict[str, Any]]:
    if not isinstance(fields, dict) or fields.get("version") != VERSION:
        raise MessageError("a result message of another version: update latticewatch")
    kind = KINDS.get(fields["kind"])
    body = fields["body"]
    if kind is None or not isinstance(body, dict):
        raise MessageError(f"a result message of kind {fields['kind']!r} is not known")
    common = {name: fields[name] for name in _COMMON}
    for name, value in common.items():
        if type(value) not in _TYPES[name]:
            raise MessageError(f"{name} is a {type(value).__name__}")
    if kind is not Health:
        try:
            checks.stream_name(common["stream"])
        except FrameError as error:
            raise MessageError(str(error)) from None
    return kind, common, body
