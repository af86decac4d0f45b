"""Whether the publisher has room for another frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from latticewatch.client.errors import PublisherFullError
from latticewatch.client.link import Link
from latticewatch.client.outbox import Outbox
from latticewatch.client.spool import Spool, no_sync, sync_to_disk

#: 256 frames of 512 x 512 float32: four minutes of a service that is away, at one frame a second.
MEMORY_BYTES = 256 * 2**20


def spool_in(
    folder: str | Path | None,
    stream: str,
    limit_bytes: int,
    fsync: Literal["always", "never"],
    *,
    needed: bool,
) -> Spool | None:
    """Open the spool in a folder, None without one; raises ValueError where one is needed."""
    if folder is not None:
        sync = sync_to_disk if fsync == "always" else no_sync
        return Spool(Path(folder), stream, limit_bytes, sync=sync)
    if needed:
        raise ValueError("spool_first needs a spool: give a spool_dir")
    return None


@dataclass(frozen=True)
class Room:
    """Memory and spool of a publisher.

    Attributes
    ----------
    memory_bytes
        Most that is kept in memory.
    outbox, link
        What holds it.
    """

    memory_bytes: int
    outbox: Outbox
    link: Link

    def check(self, nbytes: int, pending_bytes: int) -> None:
        """Raise PublisherFullError where `nbytes` more do not fit beside what is not settled."""
        spool, handed = self.outbox.spool, self.link.handed_bytes
        if spool is None:
            if pending_bytes + nbytes > self.memory_bytes:
                cause = "the service does not acknowledge" if pending_bytes else "a frame is larger"
                raise PublisherFullError(
                    f"memory for {self.memory_bytes} bytes of frames is full ({cause}): "
                    "start the service, give a spool_dir, or raise memory_bytes"
                )
        elif not spool.has_room(handed + nbytes) and (
            not spool.empty or pending_bytes + nbytes > self.memory_bytes
        ):
            raise PublisherFullError(
                f"the spool has reached its limit of {spool.limit_bytes} bytes: "
                "start the service, or raise spool_bytes"
            )
        elif handed + nbytes > self.memory_bytes:
            cause = str(self.link.spool_failure or "the disk is slower than the frames")
            raise PublisherFullError(
                f"the spool does not take frames in time ({cause}): use a faster or larger disk"
            )
