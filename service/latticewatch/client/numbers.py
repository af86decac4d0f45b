"""Which sequence numbers a stream's publishers have given, on disk beside its spool.

Two things are kept. What is *reserved* is brought to the disk ahead, some hundreds of numbers at a
time, before a frame of them is sent: after a power cut numbers are skipped, never given twice. What
is *given* is written with each number and left to the system: a killed process loses nothing of
it, and as long as the machine has not been started anew (its boot identity is kept beside it) the
next process goes on where the last one stood.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

#: Numbers that are reserved at a time; anew when half are given. So many may be skipped, and count
#: as missing, after a power cut; one write that waits for the disk serves half as many frames.
AHEAD = 1000

#: Number of an epoch that has ended.
ENDED = 2**64 - 1

_RECORD = struct.Struct("<QQQ40s")  # count, epoch, next number, boot
_CRC = struct.Struct("<I")

#: Two places for what is reserved, in turn, so that a torn write leaves the one before; one for
#: what is given. Each in a sector of its own.
_PLACES = (0, 512, 1024)
_GIVEN = 2

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_identity() -> bytes:
    """Give what stays the same until the machine is started anew; empty where none is known."""
    try:
        return _BOOT_ID.read_bytes().strip()[:40]
    except OSError:
        return b""


@dataclass(frozen=True)
class Given:
    """What earlier processes left: an epoch and the number that comes next; None at its end."""

    epoch: int
    seq: int | None


class Numbers:
    """The numbers of one stream.

    Parameters
    ----------
    path
        The file, made where it does not exist.
    sync
        Brings an open file to the disk; OSError where it cannot.
    boot
        Identity of the machine's run; that of now when None.

    Attributes
    ----------
    known
        What was given before; None where nothing is known.

    Raises
    ------
    OSError
        The file cannot be written.
    """

    def __init__(
        self, path: Path, sync: Callable[[BinaryIO], None], boot: bytes | None = None
    ) -> None:
        self._sync = sync
        self._boot = boot_identity() if boot is None else boot
        if not path.exists():
            path.write_bytes(bytes(_PLACES[-1] + 512))  # a full disk does not stop what follows
        self._file = path.open("r+b", buffering=0)
        self._count = 0
        self._epoch, self._end, self._given = -1, 0, 0
        self.known = self._read()

    def give(self, epoch: int, seq: int) -> None:
        """Note a number before its message is sent, or as left out; OSError where it cannot be."""
        if epoch != self._epoch or seq + AHEAD // 2 >= self._end:
            self._reserve(epoch, seq + AHEAD)
        # a frame that is left out may be noted before one that waits to be taken over
        self._given = max(self._given, seq + 1)
        self._write(_GIVEN, self._given)

    def end(self, epoch: int) -> None:
        """Note that an epoch ends; OSError where it cannot be."""
        self._reserve(epoch, ENDED)
        self._write(_GIVEN, ENDED)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _reserve(self, epoch: int, end: int) -> None:
        before = self._count, self._epoch, self._end, self._given
        if epoch != self._epoch:
            self._given = 0
        self._count, self._epoch, self._end = self._count + 1, epoch, end
        try:
            self._write(self._count % 2, end)
            self._sync(self._file)
        except OSError:
            # nothing is given that is not on the disk; the next attempt goes to the same place
            self._count, self._epoch, self._end, self._given = before
            raise

    def _write(self, place: int, number: int) -> None:
        record = _RECORD.pack(self._count, self._epoch, number, self._boot)
        self._file.seek(_PLACES[place])
        self._file.write(record + _CRC.pack(zlib.crc32(record)))

    def _read(self) -> Given | None:
        records = [self._record(place) for place in range(len(_PLACES))]
        reserved = [record for record in records[:_GIVEN] if record is not None]
        if not reserved:
            return None
        self._count, epoch, end, _ = max(reserved)
        given = records[_GIVEN]
        if given is not None and given[1] == epoch and self._same_run(given[3]):
            end = given[2]
        return Given(epoch, None if end == ENDED else end)

    def _same_run(self, boot: bytes) -> bool:
        return bool(self._boot) and boot.rstrip(b"\0") == self._boot

    def _record(self, place: int) -> tuple[int, int, int, bytes] | None:
        self._file.seek(_PLACES[place])
        data = self._file.read(_RECORD.size + _CRC.size)
        if len(data) < _RECORD.size + _CRC.size or not any(data):
            return None
        record, (crc,) = data[: _RECORD.size], _CRC.unpack(data[_RECORD.size :])
        if zlib.crc32(record) != crc:
            return None
        count, epoch, number, boot = _RECORD.unpack(record)
        return count, epoch, number, boot
