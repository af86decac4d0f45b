"""What the service answers to a source: acknowledgement, error, end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

from latticewatch.client import checks
from latticewatch.client.errors import FrameError, MessageError
from latticewatch.client.frames import unpack_header


@dataclass(frozen=True)
class Ack:
    """The results of these frames are committed: the source may forget them."""

    stream: str
    epoch: int
    seqs: tuple[int, ...]


@dataclass(frozen=True)
class ErrorReply:
    """A frame was rejected for good; `field` names what is wrong and `mend` what to do.

    stream, epoch and seq are None where the header was too damaged to tell.
    """

    field: str
    reason: str
    mend: str
    stream: str | None = None
    epoch: int | None = None
    seq: int | None = None

    @classmethod
    def of(cls, error: FrameError) -> ErrorReply:
        """Reply that tells the source of `error`."""
        return cls(error.field, error.reason, error.mend, error.stream, error.epoch, error.seq)


@dataclass(frozen=True)
class Ended:
    """The end of the epoch is committed: tracks are closed, the statistics are written."""

    stream: str
    epoch: int


@dataclass(frozen=True)
class SendAgain:
    """Rows of this frame are lost: send it again, whole, and what came after it."""

    stream: str
    epoch: int
    seq: int


Reply = Ack | ErrorReply | Ended | SendAgain


def pack_reply(reply: Reply) -> bytes:
    """Encode a reply as a msgpack map with its ``type``."""
    kinds = {Ack: "ack", ErrorReply: "error", Ended: "ended", SendAgain: "again"}
    kind = kinds[type(reply)]
    fields = {key: value for key, value in vars(reply).items() if value is not None}
    return bytes(msgpack.packb({"type": kind, **fields}))


def parse_reply(data: bytes) -> Reply:
    """Decode a reply; raises MessageError for anything else."""
    try:
        return _parse(unpack_header(data))
    except (FrameError, KeyError, TypeError) as error:
        raise MessageError(f"not a reply of the service ({error})") from None


def _parse(fields: dict[str, Any]) -> Reply:
    kind = fields["type"]
    if kind == "error":
        stream, epoch, seq = checks.identity(fields)
        texts = [str(fields[name]) for name in ("field", "reason", "mend")]
        return ErrorReply(texts[0], texts[1], texts[2], stream, epoch, seq)
    stream = checks.stream_name(fields["stream"])
    epoch = checks.natural("epoch", fields["epoch"])
    if kind == "ack":
        return Ack(stream, epoch, tuple(checks.natural("seq", seq) for seq in fields["seqs"]))
    if kind == "ended":
        return Ended(stream, epoch)
    if kind == "again":
        return SendAgain(stream, epoch, checks.natural("seq", fields["seq"]))
    raise MessageError(f"a reply of type {kind!r} is not known: update latticewatch")
