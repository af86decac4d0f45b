"""Frames on the wire: a msgpack header and the raw little-endian C-order buffer.

Everything that arrives is checked before anything is allocated for it; whatever the bytes are, the
only exception that leaves this module is `FrameError`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import numpy as np

from latticewatch.client import checks
from latticewatch.client.errors import FrameError
from latticewatch.client.wire import UNPACK_ERRORS, little_endian

VERSION = 1

#: A header holds some 300 bytes; the rest is room for the microscope's own metadata.
MAX_HEADER_BYTES = 16 * 1024

MIN_SIDE, MAX_SIDE = 64, 8192

#: Pixel types of STEM detectors, by their numpy names.
DTYPES = ("uint8", "uint16", "uint32", "int16", "int32", "float32", "float64")


@dataclass(frozen=True)
class FrameHeader:
    """What is known about a frame beside its pixels.

    Attributes
    ----------
    stream, epoch, seq
        Identity: name of the source, number of the run (drawn anew for each run of sequence
        numbers), place in the run, from 0.
    shape
        Rows and columns, 64 to 8192 each.
    dtype
        numpy name of the pixel type, one of `DTYPES`.
    time_s
        Time of acquisition in seconds, by a clock that runs evenly through the epoch.
    sent_s
        Unix time at which the source handed the frame over, for measuring latency.
    row_start, rows
        First row and number of rows of a part of a frame; None for a whole one.
    pixel_size_nm, frame_time_s, dose_e_per_A2
        nm a pixel, seconds a frame, electrons per square angstrom and frame, where known.
    detector, metadata
        Name of the detector, and anything else of plain types.
    """

    stream: str
    epoch: int
    seq: int
    shape: tuple[int, int]
    dtype: str
    time_s: float
    sent_s: float | None = None
    row_start: int | None = None
    rows: int | None = None
    pixel_size_nm: float | None = None
    frame_time_s: float | None = None
    dose_e_per_A2: float | None = None  # noqa: N815 - the name of the wire format
    detector: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    @property
    def is_part(self) -> bool:
        """Whether the message holds some of the frame's rows only."""
        return self.rows is not None and self.rows < self.shape[0]

    @property
    def buffer_shape(self) -> tuple[int, int]:
        """Rows and columns in the buffer."""
        return (self.shape[0] if self.rows is None else self.rows, self.shape[1])

    @property
    def nbytes(self) -> int:
        """Length that the buffer must have."""
        return math.prod(self.buffer_shape) * np.dtype(self.dtype).itemsize

    def whole(self) -> FrameHeader:
        """Header of the frame that a part belongs to."""
        return replace(self, row_start=None, rows=None)


@dataclass(frozen=True)
class EndHeader:
    """The source's word that the epoch is over; `seq` is the number of frames that it had."""

    stream: str
    epoch: int
    seq: int
    version: int = VERSION


_REQUIRED = ("version", "stream", "epoch", "seq", "shape", "dtype", "time_s")
_OPTIONAL = ("sent_s", "row_start", "rows", "pixel_size_nm", "frame_time_s", "dose_e_per_A2",
             "detector", "metadata", "type")  # fmt: skip
#: Every name that an error's `field` can have beside unknown ones.
HEADER_FIELDS = frozenset((*_REQUIRED, *_OPTIONAL, "header", "buffer"))
_END_FIELDS = ("version", "type", "stream", "epoch", "seq")


def unpack_header(data: bytes | memoryview) -> dict[str, Any]:
    """Unpack the map in `data`, its size checked first; raises FrameError naming ``header``."""
    if len(data) > MAX_HEADER_BYTES:
        reason = f"{len(data)} bytes, more than {MAX_HEADER_BYTES}"
        raise FrameError("header", reason, "put less into metadata")
    try:
        fields = msgpack.unpackb(data, strict_map_key=True)
    except UNPACK_ERRORS as error:
        reason = f"not a whole msgpack message ({error or type(error).__name__})"
        raise FrameError(
            "header", reason, "send one msgpack map, see docs/wire-format.md"
        ) from None
    if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        reason = "not a msgpack map with text keys"
        raise FrameError("header", reason, "send one msgpack map, see docs/wire-format.md")
    return fields


def parse_header(data: bytes | memoryview) -> FrameHeader:
    """Check a frame's header; raises FrameError for anything that is not one."""
    header = parse_message(data)
    if isinstance(header, EndHeader):
        raise FrameError("type", "an 'end' message where a frame was expected", "send a frame")
    return header


def parse_message(data: bytes | memoryview) -> FrameHeader | EndHeader:
    """Check a message of the source: a frame's header or the end of the epoch.

    Raises
    ------
    FrameError
        Whatever is wrong with it; stream, epoch and seq are given where they could be read.
    """
    fields = unpack_header(data)
    try:
        return _parse_end(fields) if fields.get("type") == "end" else _parse_frame(fields)
    except FrameError as error:
        raise error.of(*checks.identity(fields)) from None


def _parse_end(fields: dict[str, Any]) -> EndHeader:
    checks.known_fields(fields, _END_FIELDS, ())
    checks.version(fields["version"], VERSION)
    return EndHeader(
        checks.stream_name(fields["stream"]),
        checks.natural("epoch", fields["epoch"]),
        checks.natural("seq", fields["seq"]),
    )


def _parse_frame(fields: dict[str, Any]) -> FrameHeader:
    if fields.get("type", "frame") != "frame":
        raise FrameError("type", f"{fields['type']!r} is not known", "use 'frame' or 'end'")
    if "version" in fields:  # another version may well have other fields: say that first
        checks.version(fields["version"], VERSION)
    checks.known_fields(fields, _REQUIRED, _OPTIONAL)
    shape = checks.shape(fields["shape"], MIN_SIDE, MAX_SIDE)
    row_start, rows = checks.row_range(fields, shape)
    part = rows < shape[0]
    return FrameHeader(
        stream=checks.stream_name(fields["stream"]),
        epoch=checks.natural("epoch", fields["epoch"]),
        seq=checks.natural("seq", fields["seq"]),
        shape=shape,
        dtype=checks.dtype(fields["dtype"], DTYPES),
        time_s=checks.finite("time_s", fields["time_s"]),
        sent_s=checks.optional_finite("sent_s", fields),
        row_start=row_start if part else None,
        rows=rows if part else None,
        pixel_size_nm=checks.optional_positive("pixel_size_nm", fields),
        frame_time_s=checks.optional_positive("frame_time_s", fields),
        dose_e_per_A2=checks.optional_positive("dose_e_per_A2", fields),
        detector=checks.optional_text("detector", fields),
        metadata=checks.metadata(fields.get("metadata")),
    )


def pack_header(header: FrameHeader | EndHeader) -> bytes:
    """Encode a header; what is None or empty is left out."""
    fields = {key: value for key, value in vars(header).items() if value is not None}
    if isinstance(header, EndHeader):
        fields["type"] = "end"
    elif not header.metadata:
        del fields["metadata"]
    return bytes(msgpack.packb(fields))


def frame_array(header: FrameHeader, buffer: bytes | memoryview) -> np.ndarray:
    """Pixels as a read-only array over `buffer`; raises FrameError naming ``buffer``.

    Of a part of a frame, the rows that it holds.
    """
    length = memoryview(buffer).nbytes
    if length != header.nbytes:
        rows, columns = header.buffer_shape
        reason = (
            f"{length} bytes, but {rows} x {columns} pixels of {header.dtype} are {header.nbytes}"
        )
        mend = "send the rows in C order with the shape and dtype that they have"
        raise FrameError(
            "buffer", reason, mend, stream=header.stream, epoch=header.epoch, seq=header.seq
        )
    array = np.frombuffer(buffer, little_endian(header.dtype)).reshape(header.buffer_shape)
    array.flags.writeable = False
    return array


def encode_frame(
    frame: np.ndarray,
    *,
    stream: str,
    epoch: int,
    seq: int,
    time_s: float | None = None,
    **fields: Any,
) -> tuple[bytes, bytes]:
    """Header and buffer of a frame, checked as the service will check them.

    Parameters
    ----------
    frame
        (rows, columns) array of one of `DTYPES`; it is copied.
    stream, epoch, seq, time_s
        See `FrameHeader`; `time_s` is the Unix time where it is not given.
    **fields
        Further fields of `FrameHeader`.

    Raises
    ------
    FrameError
        The service would reject it.
    """
    frame = np.asarray(frame)
    now = time.time()
    header = FrameHeader(
        stream=stream,
        epoch=epoch,
        seq=seq,
        shape=tuple(int(side) for side in frame.shape),  # type: ignore[arg-type]
        dtype=frame.dtype.name,
        time_s=now if time_s is None else float(time_s),
        sent_s=now,
        **fields,
    )
    return checked_header(header), raw_pixels(frame)


def checked_header(header: FrameHeader) -> bytes:
    """Encode a header that the service will accept; raises FrameError for any other."""
    try:
        packed = pack_header(header)
    except (TypeError, OverflowError, ValueError) as error:
        mend = "use plain numbers, text, lists and maps"
        raise FrameError("metadata", f"cannot be encoded ({error})", mend) from None
    parse_header(packed)
    return packed


def raw_pixels(pixels: np.ndarray) -> bytes:
    """Copy of the pixels as they go on the wire."""
    return np.asarray(pixels, little_endian(pixels.dtype)).tobytes(order="C")
