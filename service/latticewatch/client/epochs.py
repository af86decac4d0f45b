"""Which run of sequence numbers a publisher writes on."""

from __future__ import annotations

import secrets
from pathlib import Path

from latticewatch.client import checks
from latticewatch.client.errors import FrameError
from latticewatch.client.frames import EndHeader, parse_message
from latticewatch.client.records import Entry
from latticewatch.client.spool import Spool, Sync


def continued(last: Entry | None, epoch: int | None, *, doubtful: bool = False) -> tuple[int, int]:
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

    Raises
    ------
    FrameError
        The epoch has ended, or is no number that an epoch can have.
    """
    if last is not None and epoch in (None, last.epoch):
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


def begun(
    folder: Path | None, stream: str, limit_bytes: int, sync: Sync, epoch: int | None
) -> tuple[Spool | None, int, int]:
    """Open the spool, where there is a folder for one; give it, epoch and next sequence number.

    Raises
    ------
    FrameError, SpoolError, OSError
        As `continued` and `Spool` do.
    """
    if folder is None:
        return (None, *continued(None, epoch))
    spool = Spool(folder, stream, limit_bytes, sync=sync)
    try:
        return (spool, *continued(spool.last, epoch, doubtful=spool.doubtful))
    except BaseException:
        spool.close()
        raise
