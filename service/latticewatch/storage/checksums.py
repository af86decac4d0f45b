"""A checksum for each committed frame, over the numbers that its rows hold.

SQLite keeps none of rows: a bit that flips inside a stored number is read as another number.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from latticewatch.client.table import COLUMN_TYPES, DefectTable
from latticewatch.storage.schema import DAMAGED, FRAME_COLUMNS, LATTICE_COLUMNS, StoreError
from latticewatch.storage.session import Session

#: Frames that are read at a time.
SPAN = 1000

#: Damaged frames that a message names.
NAMED = 5

_REAL = frozenset(("time_s", *LATTICE_COLUMNS))
_TEXT = frozenset(("status", "reason"))


def frame_checksum(row: Mapping[str, Any], table: DefectTable | None) -> int:
    """CRC-32 of a frame's row and of its defects, as SQLite gives them back.

    Parameters
    ----------
    row
        By the names of `schema.FRAME_COLUMNS`.
    table
        The frame's defects, in the order of their rows.
    """
    values = tuple(_as_kept(name, row[name]) for name in FRAME_COLUMNS)
    crc = zlib.crc32(repr(values).encode())
    if table is None or not len(table):
        return crc
    for name, kind in COLUMN_TYPES.items():
        crc = zlib.crc32(_bytes(getattr(table, name), kind), crc)
    return crc


def damaged(session: Session) -> Iterator[int]:
    """Give the frames whose rows are not those that were committed, in order.

    Frames that an older latticewatch wrote have no checksum, and are passed over; once one has,
    all that follow must.
    """
    begun, first = False, 0
    while True:
        last = first + SPAN - 1
        with session.at_once():
            place = session.place()
            rows, sums = session.frames(first, last), session.checksums(first, last)
            table = session.defects(first, last)
        numbers = np.array([row["frame"] for row in rows], np.int64)
        if place is not None:
            due = np.arange(first, min(last + 1, place[2]))
            yield from np.setdiff1d(due, numbers).tolist()
        starts = np.searchsorted(table.frame, numbers, "left")
        ends = np.searchsorted(table.frame, numbers, "right")
        if len(table) != np.sum(ends - starts):
            yield from np.setdiff1d(table.frame, numbers).tolist()
        for row, start, end in zip(rows, starts, ends, strict=True):
            known = sums.get(row["frame"])
            begun = begun or known is not None
            if begun and known != frame_checksum(row, table.select(np.arange(start, end))):
                yield row["frame"]
        first += SPAN
        if place is None or first >= place[2]:
            return


def check_rows(session: Session) -> None:
    """Raise StoreError where a frame's rows are not those that were committed."""
    found = list(islice(damaged(session), NAMED + 1))
    if found:
        named = ", ".join(map(str, found[:NAMED])) + (" and more" if len(found) > NAMED else "")
        raise StoreError(f"{session.path}: other numbers than were committed in {named}; {DAMAGED}")


def _as_kept(name: str, value: Any) -> Any:
    """Give a value as SQLite does: NaN is NULL, and nought has no sign."""
    if value is None or name in _TEXT:
        return value
    if name not in _REAL:
        return int(value)
    number = float(value)
    return None if number != number else number + 0.0


def _bytes(column: np.ndarray, kind: str) -> bytes:
    if kind == "str":
        return "\0".join(column.tolist()).encode()
    values = column.astype(np.dtype(kind).newbyteorder("<"))
    if kind.startswith("float"):
        values = np.where(np.isnan(values), np.nan, values + 0.0)
    return values.tobytes()
