"""When a file that was written reaches the disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

Sync = Callable[[BinaryIO], None]

Policy = Literal["always", "interval", "never"]

#: Seconds between two syncs by ``interval``: what a power cut may take back, while frames come.
SYNC_EVERY_S = 1.0


def sync_to_disk(file: BinaryIO) -> None:
    """Wait until a file is on the disk, and until its folder knows its name."""
    os.fsync(file.fileno())
    if os.name != "posix":
        return  # Windows knows no folders that are flushed
    folder = os.open(Path(file.name).parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def no_sync(_: BinaryIO) -> None:
    """Leave it to the system when a file reaches the disk."""


class SyncAtIntervals:
    """Brings a file to the disk once a second at most, and always before another one is begun.

    Parameters
    ----------
    sync
        What brings it there.
    clock
        Seconds, evenly.
    """

    def __init__(
        self, sync: Sync = sync_to_disk, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sync = sync
        self._clock = clock
        self._file: BinaryIO | None = None
        self._synced_s = -SYNC_EVERY_S

    def __call__(self, file: BinaryIO) -> None:
        """Take note of a file that was written."""
        before, self._file = self._file, file
        if before is not None and before is not file and not before.closed:
            self._sync(before)
        if self._clock() - self._synced_s >= SYNC_EVERY_S:
            self._sync(file)
            self._synced_s = self._clock()


def by_policy(policy: Policy) -> tuple[Sync, Sync]:
    """Give what brings a spool's records to the disk, and what its numbers.

    Raises
    ------
    ValueError
        The policy is not known.
    """
    if policy == "always":
        return sync_to_disk, sync_to_disk
    if policy == "interval":
        return SyncAtIntervals(), sync_to_disk
    if policy == "never":
        return no_sync, no_sync
    raise ValueError(f"spool_fsync is {policy!r}: use always, interval or never")
