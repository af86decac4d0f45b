"""Which run of sequence numbers a publisher writes on."""

from __future__ import annotations

import secrets
from pathlib import Path

from latticewatch.client import checks
from latticewatch.client.errors import FrameError
from latticewatch.client.frames import EndHeader, parse_message
from latticewatch.client.numbers import Given
from latticewatch.client.records import Entry
from latticewatch.client.room import LONGEST_GAP
from latticewatch.client.spool import Spool
from latticewatch.client.syncing import Policy, by_policy


def continued(
    last: Entry | None, epoch: int | None, *, doubtful: bool = False, known: Given | None = None
) -> tuple[int, int]:
    """Give the epoch and the next sequence number.

    Parameters
    ----------
    last
        Last message that an earlier process left in the spool, if any: its epoch is continued
        unless it has ended.
    epoch
        What the user asks for; drawn anew when None and there is none to continue.
    doubtful
        Whether messages after the last may be lost that the service has: its epoch is then not
        continued, since the service would take new frames of their numbers for repetitions.
    known
        What was given before, where that is known: it goes before `doubtful`, and before what
        `last` alone would tell.

    Raises
    ------
    FrameError
        The epoch has ended, or is no number that an epoch can have.
    """
    if last is not None and known is not None:
        if epoch in (None, known.epoch) and (seq := _next(last, known)) is not None:
            return known.epoch, seq
        if epoch is not None and epoch == known.epoch:
            mend = "give another epoch, or None"
            raise FrameError("epoch", f"{epoch} has ended, or its gap would be too long", mend)
    elif last is not None and epoch in (None, last.epoch):
        if doubtful:
            if epoch is None:
                return secrets.randbits(63), 0
            raise FrameError(
                "epoch", f"{epoch} waits in a spool whose end is damaged", "give another, or None"
            )
        if not isinstance(parse_message(last.header), EndHeader):
            return last.epoch, last.seq + 1
        if epoch is not None:
            mend = "give another epoch, or None"
            raise FrameError("epoch", f"{epoch} has ended and waits in the spool", mend)
    if epoch is None:
        return secrets.randbits(63), 0
    return checks.natural("epoch", epoch), 0


def _next(last: Entry, known: Given) -> int | None:
    """Next number of the known epoch; None where it has ended, or its gap would be too long."""
    if known.seq is None or last.epoch != known.epoch:
        return known.seq
    ended = isinstance(parse_message(last.header), EndHeader)
    following = max(known.seq, last.seq + 1)
    return None if ended or following - last.seq > LONGEST_GAP else following


def last_kept(spool: Spool | None, epoch: int, next_seq: int) -> int:
    """Give the last number that a frame is kept of: from there on a gap is counted."""
    last = None if spool is None else spool.last
    return next_seq - 1 if last is None or last.epoch != epoch else last.seq


def begun(
    folder: str | Path | None, stream: str, limit_bytes: int, policy: Policy, epoch: int | None
) -> tuple[Spool | None, int, int]:
    """Open the spool, where there is a folder for one; give it, epoch and next sequence number.

    Raises
    ------
    FrameError, SpoolError, OSError
        As `continued` and `Spool` do.
    ValueError
        The policy is not known.
    """
    sync, firm = by_policy(policy)
    if folder is None:
        return (None, *continued(None, epoch))
    spool = Spool(Path(folder), stream, limit_bytes, sync=sync, firm=firm)
    try:
        return (
            spool,
            *continued(spool.last, epoch, doubtful=spool.doubtful, known=spool.numbers.known),
        )
    except BaseException:
        spool.close()
        raise
