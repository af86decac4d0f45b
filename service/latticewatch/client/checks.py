"""Checks of single header fields; each raises FrameError that names its field."""

from __future__ import annotations

import math
import re
from typing import Any

from latticewatch.client.errors import FrameError

#: A stream's name is a folder's name and part of a topic: no separators, no leading dot.
STREAM_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

#: Epochs and sequence numbers are stored as SQLite integers: signed, 64 bits.
MAX_INTEGER = 2**63 - 1

MAX_TEXT = 256

#: Depth of lists and maps in metadata; what microscopes write is two or three levels deep.
MAX_DEPTH = 8

DIMENSIONS = 2


def identity(fields: dict[str, Any]) -> tuple[str | None, int | None, int | None]:
    """Stream, epoch and seq of a header that may be wrong elsewhere; None where unreadable."""

    def readable(name: str) -> Any:
        try:
            value = fields[name]
            return stream_name(value) if name == "stream" else natural(name, value)
        except (FrameError, KeyError):
            return None

    return readable("stream"), readable("epoch"), readable("seq")


def known_fields(
    fields: dict[str, Any], required: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    """Check that every required field is there, and none but the optional ones beside them."""
    for name in required:
        if name not in fields:
            raise FrameError(name, "missing", f"the header needs {', '.join(required)}")
    for name in fields:
        if name not in required and name not in optional:
            shown = name if len(name) <= MAX_TEXT else name[:MAX_TEXT] + "..."
            raise FrameError(shown, "not a field of the header", "put it into metadata")


def version(value: Any, ours: int) -> None:
    """Check that the version is the one that is spoken here."""
    if type(value) is not int or value != ours:
        reason = f"{_shown(value)} is not spoken here"
        raise FrameError("version", reason, f"use version {ours}, or update latticewatch")


def stream_name(value: Any) -> str:
    """Return the name if it may be a stream's."""
    if not isinstance(value, str) or not STREAM_PATTERN.fullmatch(value):
        mend = "use 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"
        raise FrameError("stream", f"{_shown(value)} cannot name a stream", mend)
    return value


def natural(field: str, value: Any) -> int:
    """Return the value if it is a whole number from 0 to 2^63 - 1."""
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        mend = "give a whole number from 0 to 2^63 - 1"
        raise FrameError(field, f"{_shown(value)} is out of range", mend)
    return value


def finite(field: str, value: Any) -> float:
    """Return the value as a float if it is a finite number."""
    try:
        number = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise FrameError(field, f"{_shown(value)} is no finite number", "give a finite number")
    return number


def optional_finite(field: str, fields: dict[str, Any]) -> float | None:
    """Return a finite number, or None where the field is absent."""
    return finite(field, fields[field]) if fields.get(field) is not None else None


def optional_positive(field: str, fields: dict[str, Any]) -> float | None:
    """Return a positive number, or None where the field is absent."""
    number = optional_finite(field, fields)
    if number is not None and number <= 0:
        mend = "give a positive number, or leave the field out where it is not known"
        raise FrameError(field, f"{number:g} is not positive", mend)
    return number


def optional_text(field: str, fields: dict[str, Any]) -> str | None:
    """Return a short text, or None where the field is absent."""
    value = fields.get(field)
    if value is not None and (not isinstance(value, str) or len(value) > MAX_TEXT):
        raise FrameError(field, "not a short text", f"use at most {MAX_TEXT} characters")
    return value


def shape(value: Any, smallest: int, largest: int) -> tuple[int, int]:
    """Rows and columns, both within the limits."""
    mend = f"send frames of {smallest} to {largest} pixels a side"
    if not isinstance(value, list | tuple) or any(type(side) is not int for side in value):
        raise FrameError("shape", f"{_shown(value)} is no list of whole numbers", mend)
    if len(value) != DIMENSIONS:
        reason = f"{len(value)} dimensions instead of 2"
        raise FrameError("shape", reason, "send one frame a message, as rows x columns")
    rows, columns = value
    if not (smallest <= rows <= largest and smallest <= columns <= largest):
        raise FrameError("shape", f"{_shown(rows)} x {_shown(columns)} pixels", mend)
    return rows, columns


def dtype(value: Any, allowed: tuple[str, ...]) -> str:
    """Return the pixel type if it is one of those allowed."""
    if not isinstance(value, str) or value not in allowed:
        reason = f"{_shown(value)} is not a known pixel type"
        raise FrameError("dtype", reason, f"use one of {', '.join(allowed)}")
    return value


def row_range(fields: dict[str, Any], frame_shape: tuple[int, int]) -> tuple[int, int]:
    """First row and number of rows that a message holds; the whole frame where neither is given."""
    all_rows = frame_shape[0]
    start = fields.get("row_start")
    start = 0 if start is None else natural("row_start", start)
    if start >= all_rows:
        reason = f"{start} is below the last of {all_rows} rows"
        raise FrameError("row_start", reason, "count rows from 0")
    count = fields.get("rows")
    count = all_rows if count is None else natural("rows", count)
    if not 1 <= count <= all_rows - start:
        reason = f"{_shown(count)} rows from row {start} do not fit into {all_rows}"
        raise FrameError("rows", reason, "send at least one row, and none beyond the frame")
    return start, count


def metadata(value: Any, depth: int = 0) -> dict[str, Any]:
    """Return the metadata if they are a map of plain values; an empty map for None."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FrameError("metadata", f"{_shown(value)} is no map", "send a map of plain values")
    _plain(value, depth)
    return value


def _plain(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        reason = f"nested more than {MAX_DEPTH} deep"
        raise FrameError("metadata", reason, "send flatter metadata")
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise FrameError("metadata", f"the key {_shown(key)} is no text", "use text keys")
            _plain(part, depth + 1)
    elif isinstance(value, list | tuple):
        for part in value:
            _plain(part, depth + 1)
    elif type(value) is float:
        finite("metadata", value)
    elif value is not None and type(value) not in (bool, int, str):
        reason = f"a {type(value).__name__} is no plain value"
        raise FrameError("metadata", reason, "use numbers, text, lists and maps")


def _shown(value: Any) -> str:
    """Text of a value for an error message, kept short whatever was sent."""
    text = repr(value)
    return text if len(text) <= 64 else text[:61] + "..."
