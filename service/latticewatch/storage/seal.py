"""Bytes with their checksum: the tracker's state, from which every later number follows.

SQLite keeps checksums of its write-ahead log, not of the pages of the file itself.
"""

from __future__ import annotations

import struct
import zlib

#: Begins what is sealed. A state that an older latticewatch wrote is a msgpack map and begins with
#: another byte.
_MARK = b"LWS1"

_CRC = struct.Struct("<I")


def sealed(data: bytes) -> bytes:
    """Put mark and CRC-32 before the bytes."""
    return _MARK + _CRC.pack(zlib.crc32(data)) + data


def unsealed(data: bytes) -> bytes | None:
    """Undo `sealed`; None if the bytes are damaged. What was never sealed comes back as it is."""
    if not data.startswith(_MARK):
        return data
    head = len(_MARK) + _CRC.size
    body = data[head:]
    whole = len(data) >= head and data[len(_MARK) : head] == _CRC.pack(zlib.crc32(body))
    return body if whole else None
