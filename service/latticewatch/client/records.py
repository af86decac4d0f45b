"""A spool's records: a length and a CRC-32, then epoch, seq, header and buffer."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

RECORD = struct.Struct("<II")  # length and CRC-32 of the body
BODY = struct.Struct("<QQI")  # epoch, seq, length of the header


@dataclass(frozen=True)
class Entry:
    """A message of the source: header and buffer as they go on the wire.

    `segment` is the spool segment that also holds it, or None; `in_rows` says that the frame's rows
    were handed over ahead of it.
    """

    epoch: int
    seq: int
    header: bytes
    buffer: bytes
    segment: int | None = None
    attempts: int = 0
    in_rows: bool = False

    @property
    def key(self) -> tuple[int, int]:
        """Epoch and sequence number."""
        return self.epoch, self.seq

    @property
    def nbytes(self) -> int:
        """Length of header and buffer."""
        return len(self.header) + len(self.buffer)


def records(file: BinaryIO) -> Iterator[Entry]:
    """Entries from here on, up to the first that is not whole."""
    while (entry := read_record(file, None)) is not None:
        yield entry


def next_whole(file: BinaryIO, start: int, last: Entry | None) -> int | None:
    """Where the next whole record begins after a damaged one; None where there is none.

    Looks for the epoch, by that of the record before, or the one that the damaged record names.
    """
    file.seek(start)
    data = file.read()
    named = data[RECORD.size : RECORD.size + 8]
    sign = named if last is None else struct.pack("<Q", last.epoch)
    at = data.find(sign, 2 * RECORD.size) if len(sign) == 8 else -1
    while at >= 0:
        begin = at - RECORD.size
        length, crc = RECORD.unpack_from(data, begin)
        body = memoryview(data)[at : at + length]
        if len(body) == length >= BODY.size and zlib.crc32(body) == crc:
            return start + begin
        at = data.find(sign, at + 1)
    return None


def was_whole(file: BinaryIO, start: int) -> bool:
    """Whether what cannot be read at the end may be a record that was written to its end once."""
    file.seek(start)
    data = file.read()
    if len(data) < RECORD.size + BODY.size or not any(data):
        return False
    length, crc = RECORD.unpack_from(data)
    rest = memoryview(data)[RECORD.size :]
    return bool(length <= len(rest) or zlib.crc32(rest) == crc)  # body, or length, is damaged


def read_record(file: BinaryIO, segment: int | None) -> Entry | None:
    """Return the entry that begins here; None where it is not whole."""
    head = file.read(RECORD.size)
    if len(head) < RECORD.size:
        return None
    length, crc = RECORD.unpack(head)
    body = file.read(length)
    if len(body) < length or length < BODY.size or zlib.crc32(body) != crc:
        return None
    epoch, seq, split = BODY.unpack_from(body)
    header = body[BODY.size : BODY.size + split]
    return Entry(epoch, seq, header, body[BODY.size + split :], segment)
