"""Result messages: what the service publishes and a subscriber iterates over.

A message is a topic, a msgpack header, and for overlays the preview's pixels as a third part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from latticewatch.client import checks
from latticewatch.client.errors import FrameError, MessageError
from latticewatch.client.message import Message
from latticewatch.client.overlays import Overlay, PartialOverlay
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
    "PartialOverlay",
    "Statistics",
    "decode",
    "encode",
]

VERSION = 1

#: Largest topic: the longest kind, a slash and a stream's name.
MAX_TOPIC_BYTES = 80


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
    kind.kind: kind for kind in (Defects, Statistics, PartialOverlay, Overlay, Alert, Health)
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
