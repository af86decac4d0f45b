"""Frames on disk: what the publisher can neither send nor keep in memory.

A spool is a row of segment files, each a head (magic, version) and records of a length, a CRC-32
and the record's bytes. It is appended to, read once in order, and a segment is deleted when all of
its records are settled. A tail that a crash tore off is recognised by its length or checksum, and
cut off: its frame was never sent. A damaged record before whole ones is passed over.

By default a record is on the disk before its frame may be sent. Where it is not, a power cut may
take back records of frames that the service has counted. The next process does not give their
numbers to new frames, which the service would take for repetitions: they are kept beside
(`numbers`).
"""

from __future__ import annotations

import logging
import zlib
from pathlib import Path
from typing import BinaryIO

from latticewatch.client.errors import SpoolError
from latticewatch.client.filelock import FileLock, HeldError
from latticewatch.client.numbers import Numbers
from latticewatch.client.records import (
    BODY,
    RECORD,
    Entry,
    next_whole,
    read_record,
    records,
    was_whole,
)
from latticewatch.client.syncing import Sync, no_sync, sync_to_disk

log = logging.getLogger(__name__)

MAGIC = b"LWSPOOL1"

#: A segment is deleted as a whole: small enough to give disk back soon, large enough that 10 GB
#: are some 160 files.
SEGMENT_BYTES = 64 * 2**20

#: Ending of a file that is being written at the end of a process.
UNFINISHED = ".unfinished"

#: The first segment's number; what is put in front of it counts down from here.
FIRST_SEGMENT = 1_000_000


class Spool:
    """First in, first out on disk; for one stream and one process at a time.

    Parameters
    ----------
    directory
        Folder of the spool, made where it does not exist.
    stream
        Name of the stream, part of the file names.
    limit_bytes
        Size on disk that it is not to grow beyond; who appends sees to it (`room.Stock`).
    segment_bytes
        Size of a file beyond which the next begins.
    sync
        Brings an open file to the disk, and its name too; OSError where it cannot.
    firm
        The same for the numbers that are given, and at the end of the process; as `sync` when None.
    boot
        Identity of the machine's run, see `Numbers`.

    Raises
    ------
    SpoolError
        Another process uses it, or a file in it is no spool of this version.
    OSError
        The folder cannot be written.
    """

    def __init__(
        self,
        directory: Path,
        stream: str,
        limit_bytes: int,
        segment_bytes: int = SEGMENT_BYTES,
        sync: Sync = sync_to_disk,
        firm: Sync | None = None,
        boot: bytes | None = None,
    ) -> None:
        self.limit_bytes = limit_bytes
        self.torn = 0  # tails that were cut off
        self.doubtful = False  # whether what was cut off may have been a whole record, and sent
        self.damaged = 0  # places at which records were passed over
        self.unread = 0
        self.size_bytes = 0  # on disk; a plain number, since the sending thread reads it too
        self.live_bytes = 0  # headers and buffers found on opening
        self.last: Entry | None = None
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._firm = firm or sync
        self._directory = directory
        self._stream = stream
        directory.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = FileLock(directory / f"{stream}.lock")
        except HeldError as error:
            mend = "give each publisher a stream or a spool_dir of its own"
            raise SpoolError(f"{error}: {mend}") from None
        self._segments: dict[int, _Segment] = {}
        try:
            self.numbers = Numbers(directory / f"{stream}.numbers", self._firm, boot)
        except BaseException:
            self._lock.release()
            raise
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    @property
    def empty(self) -> bool:
        """Whether every entry is settled."""
        return not self._segments

    @property
    def used_bytes(self) -> int:
        """Size on disk once the heads of one more record are added."""
        return self.size_bytes + RECORD.size + BODY.size

    def append(self, entry: Entry) -> None:
        """Add an entry at the end; raises OSError where the disk does not take it."""
        number = max(self._segments, default=FIRST_SEGMENT - 1)
        if number not in self._segments or self._segments[number].size >= self._segment_bytes:
            number += 1
            self._segments[number] = _Segment.create(self._path(number))
            self.size_bytes += len(MAGIC)
        before = self._segments[number].size
        self._segments[number].append(entry, self._sync)
        self.size_bytes += self._segments[number].size - before
        self.unread += 1
        self.last = entry

    def read(self) -> Entry | None:
        """Return the first entry that was not read yet, or None."""
        for number in sorted(self._segments):
            segment = self._segments[number]
            if segment.position < segment.size:
                entry = segment.read(number)
                self.unread -= 1
                return entry
        return None

    def settle(self, entry: Entry) -> None:
        """Forget an entry that came from here; a segment without live entries is deleted.

        The newest is the last to go: it tells the next process which numbers are given.
        """
        segment = self._segments.get(entry.segment) if entry.segment is not None else None
        if segment is None:
            return
        segment.live -= 1
        if segment.live == 0:
            *earlier, newest = sorted(self._segments)
            for number in earlier:
                if self._segments[number].live == 0:
                    self._delete(number)
            if len(self._segments) == 1 and self._segments[newest].live == 0:
                self._delete(newest)

    def _delete(self, number: int) -> None:
        segment = self._segments.pop(number)
        self.size_bytes -= segment.size
        segment.close()
        segment.path.unlink()

    def put_in_front(self, entries: list[Entry]) -> None:
        """Keep entries that come before all others, at the end of the process.

        The file has its name once all are on the disk: the first of them alone would not tell which
        numbers are given.
        """
        if not entries:
            return
        path = self._path(min(self._segments, default=FIRST_SEGMENT) - 1)
        segment = _Segment.create(path.with_suffix(UNFINISHED))
        for entry in entries:
            segment.append(entry, no_sync)
        self._firm(segment.file)
        segment.close()
        segment.path.rename(path)
        with path.open("r+b") as file:
            self._firm(file)  # its name

    def close(self) -> None:
        """Close the files; what is in them stays for the next publisher."""
        for segment in self._segments.values():
            segment.close()
        self._segments.clear()
        self.numbers.close()
        self._lock.release()

    def _path(self, number: int) -> Path:
        return self._directory / f"{self._stream}-{number:09d}.spool"

    def _paths(self, ending: str) -> list[Path]:
        """List this stream's files; those of a stream whose name begins with its name are not."""
        paths = sorted(self._directory.glob(f"{self._stream}-*{ending}"))
        return [path for path in paths if path.stem[len(self._stream) + 1 :].isdigit()]

    def _load(self) -> None:
        for path in self._paths(UNFINISHED):
            path.unlink()
        for path in self._paths(".spool"):
            segment, last, torn = _Segment.load(path)
            self.torn += torn
            self.damaged += len(segment.skips)
            self.doubtful = segment.doubtful
            if segment.live == 0:
                segment.close()
                path.unlink()
                continue
            self._segments[int(path.stem[len(self._stream) + 1 :])] = segment
            self.unread += segment.live
            self.size_bytes += segment.size
            self.live_bytes += segment.live_bytes
            self.last = last
        if self.damaged or self.torn:
            text = (
                "%s: the spool in %s was damaged: %d places passed over, whose frames are lost and "
            )
            text += "count as missing; %d torn tails cut off, never sent"
            log.warning(text, self._stream, self._directory, self.damaged, self.torn)


class _Segment:
    """One file: where reading stands, and how many entries are not settled."""

    def __init__(self, path: Path, file: BinaryIO, size: int, live: int) -> None:
        self.path = path
        self.size = size
        self.live = live
        self.live_bytes = 0
        self.position = len(MAGIC)
        self.skips: dict[int, int] = {}  # from a damaged place to the next whole record
        self.doubtful = False
        self.file = file

    @classmethod
    def create(cls, path: Path) -> _Segment:
        file = path.open("x+b")
        file.write(MAGIC)
        return cls(path, file, len(MAGIC), 0)

    @classmethod
    def load(cls, path: Path) -> tuple[_Segment, Entry | None, int]:
        """Open a file that was left behind and cut off a torn tail.

        Returns the segment, its last entry, and 1 if something had to be cut off, else 0.
        """
        file = path.open("r+b")
        total = path.stat().st_size
        magic = file.read(len(MAGIC))
        if magic != MAGIC[: len(magic)]:
            file.close()
            raise SpoolError(f"{path} is no spool of this version: move it away")
        segment, last = cls(path, file, len(MAGIC), 0), None
        while True:
            for entry in records(file):
                segment.size, last = file.tell(), entry
                segment.live += 1
                segment.live_bytes += entry.nbytes
            whole = next_whole(file, segment.size, last) if segment.size < total else None
            if whole is None:
                break
            segment.skips[segment.size] = whole
            file.seek(whole)
        if segment.size < total:
            segment.doubtful = was_whole(file, segment.size)
            file.truncate(segment.size)
        return segment, last, int(segment.size < total)

    def append(self, entry: Entry, sync: Sync) -> None:
        body_head = BODY.pack(entry.epoch, entry.seq, len(entry.header))
        crc = zlib.crc32(entry.buffer, zlib.crc32(entry.header, zlib.crc32(body_head)))
        length = len(body_head) + entry.nbytes
        record = b"".join((RECORD.pack(length, crc), body_head, entry.header, entry.buffer))
        try:
            self.file.seek(self.size)
            self.file.write(record)
            self.file.flush()
            sync(self.file)
        except OSError:
            # half a record must not stand before the next one
            self.file.seek(self.size)
            self.file.truncate()
            raise
        self.size += len(record)
        self.live += 1

    def read(self, number: int) -> Entry:
        self.position = self.skips.get(self.position, self.position)
        self.file.seek(self.position)
        entry = read_record(self.file, number)
        if entry is None:
            raise SpoolError(
                f"{self.path} is damaged at byte {self.position}: check the disk, move it away"
            )
        self.position = self.file.tell()
        return entry

    def close(self) -> None:
        self.file.close()
