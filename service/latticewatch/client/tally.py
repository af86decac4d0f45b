"""What a publisher counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from latticewatch.client.records import Entry


@dataclass(frozen=True)
class PublisherStats:
    """Counts since the publisher was made.

    Attributes
    ----------
    sent
        Frames handed over, whole or row by row.
    acked, rejected
        Frames that the service has committed, and refused for good.
    resent
        Repetitions on the wire after a lost connection or a silent service.
    spooled
        Frames that went through the spool on disk.
    pending
        Frames (and the end message) not settled yet.
    connected
        Whether the service is there now.
    left_out
        Frames that were handed over and not kept, since room was scarce; not among `sent`.
    """

    sent: int
    acked: int
    rejected: int
    resent: int
    spooled: int
    pending: int
    connected: bool
    left_out: int = 0


@dataclass
class Tally:
    """Frames by what became of them, and what is not settled yet; who counts holds the lock.

    Attributes
    ----------
    pending, pending_bytes
        Messages (frames and the end) that are not settled, and their size.
    sent, acked, rejected
        As in `PublisherStats`.
    """

    pending: int = 0
    pending_bytes: int = 0
    sent: int = 0
    acked: int = 0
    rejected: int = 0

    def hand_over(self, entry: Entry) -> None:
        """Count a message that is pending from now on."""
        self.pending += 1
        self.pending_bytes += entry.nbytes
        self.sent += bool(entry.buffer)

    def settle(self, entries: Sequence[Entry], *, acked: bool | None) -> None:
        """Count messages that are settled: acknowledged, rejected, or None for an end."""
        self.pending -= len(entries)
        self.pending_bytes -= sum(entry.nbytes for entry in entries)
        self.acked += len(entries) if acked is True else 0
        self.rejected += len(entries) if acked is False else 0
