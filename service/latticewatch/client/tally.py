"""What a publisher has counted."""

from __future__ import annotations

from dataclasses import dataclass


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
