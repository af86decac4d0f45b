"""The frame's wire format: what is accepted comes back the same, all else is a FrameError."""

from __future__ import annotations

import contextlib
import math

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch.client.errors import FrameError
from latticewatch.client.frames import (
    DTYPES,
    MAX_HEADER_BYTES,
    EndHeader,
    encode_frame,
    frame_array,
    pack_header,
    parse_header,
    parse_message,
)

GOOD = {
    "version": 1,
    "stream": "stem",
    "epoch": 7,
    "seq": 3,
    "shape": [64, 80],
    "dtype": "uint16",
    "time_s": 1.5,
}


def packed(**changes):
    return msgpack.packb({**GOOD, **changes})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_frame_round_trip(dtype, order):
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 100, (64, 70)).astype(np.dtype(dtype).newbyteorder(order))
    header, buffer = encode_frame(
        frame, stream="a.b-c_1", epoch=2**63 - 1, seq=5, time_s=0.25, metadata={"gain": [1, 2.5]}
    )
    parsed = parse_header(header)
    assert (parsed.stream, parsed.epoch, parsed.seq) == ("a.b-c_1", 2**63 - 1, 5)
    assert (parsed.shape, parsed.dtype, parsed.time_s) == ((64, 70), dtype, 0.25)
    assert parsed.metadata == {"gain": [1, 2.5]}
    np.testing.assert_array_equal(frame_array(parsed, buffer), frame)


def test_frames_that_are_not_contiguous_are_sent_as_seen():
    frame = np.arange(128 * 160, dtype=np.int32).reshape(128, 160)[::2, ::-2]
    header, buffer = encode_frame(frame, stream="a", epoch=0, seq=0)
    np.testing.assert_array_equal(frame_array(parse_header(header), buffer), frame)


def test_array_is_read_only_and_shares_the_buffer():
    header, buffer = encode_frame(np.zeros((64, 64), np.uint8), stream="a", epoch=0, seq=0)
    array = frame_array(parse_header(header), buffer)
    assert not array.flags.writeable
    assert not array.flags.owndata


BAD = [
    ("version", 2),
    ("version", True),
    ("stream", "../etc"),
    ("stream", ""),
    ("stream", "a/b"),
    ("stream", "a\n"),
    ("stream", 5),
    ("epoch", -1),
    ("epoch", 2**63),
    ("epoch", 1.0),
    ("seq", -1),
    ("seq", True),
    ("seq", None),
    ("shape", [64]),
    ("shape", [64, 64, 3]),
    ("shape", [20_000, 20_000]),
    ("shape", [63, 64]),
    ("shape", [64, 2**63]),
    ("shape", [64.0, 64.0]),
    ("shape", "64x64"),
    ("dtype", "float16"),
    ("dtype", "object"),
    ("dtype", "O"),
    ("dtype", ">u2"),
    ("dtype", ["uint8"]),
    ("time_s", math.nan),
    ("time_s", math.inf),
    ("time_s", "now"),
    ("time_s", True),
    ("sent_s", math.nan),
    ("pixel_size_nm", 0.0),
    ("pixel_size_nm", -0.03),
    ("frame_time_s", math.inf),
    ("dose_e_per_A2", math.nan),
    ("detector", 5),
    ("row_start", 64),
    ("row_start", -1),
    ("row_start", True),
    ("rows", 0),
    ("rows", 65),
    ("rows", 2.0),
    ("metadata", [1]),
    ("metadata", {"a": math.nan}),
    ("metadata", {"a": b"bytes"}),
    ("type", "hello"),
    ("pixelsize", 0.03),
]


@pytest.mark.parametrize(("field", "value"), BAD, ids=lambda part: repr(part)[:24])
def test_a_bad_field_is_named(field, value):
    with pytest.raises(FrameError) as caught:
        parse_header(packed(**{field: value}))
    assert caught.value.field == field
    assert caught.value.reason
    assert caught.value.mend


def test_rows_must_lie_within_the_frame():
    with pytest.raises(FrameError) as caught:
        parse_header(packed(row_start=8))
    assert caught.value.field == "rows"
    with pytest.raises(FrameError) as caught:
        parse_header(packed(row_start=40, rows=25))
    assert caught.value.field == "rows"


def test_a_part_of_a_frame_has_the_pixels_of_its_rows_alone():
    header = parse_header(packed(row_start=40, rows=24))
    assert (header.is_part, header.buffer_shape) == (True, (24, header.shape[1]))
    array = frame_array(header, bytes(header.nbytes))
    assert array.shape == header.buffer_shape
    for length in (header.nbytes - 1, header.whole().nbytes):
        with pytest.raises(FrameError) as caught:
            frame_array(header, bytes(length))
        assert caught.value.field == "buffer"


def test_all_rows_are_a_whole_frame():
    header = parse_header(packed(row_start=0, rows=64))
    assert (header.is_part, header) == (False, parse_header(packed()))


@pytest.mark.parametrize("field", GOOD)
def test_a_missing_field_is_named(field):
    with pytest.raises(FrameError) as caught:
        parse_header(msgpack.packb({k: v for k, v in GOOD.items() if k != field}))
    assert (caught.value.field, caught.value.reason) == (field, "missing")


def test_error_says_which_frame_it_belongs_to():
    with pytest.raises(FrameError) as caught:
        parse_header(packed(dtype="complex64"))
    assert (caught.value.stream, caught.value.epoch, caught.value.seq) == ("stem", 7, 3)


def test_error_of_an_unreadable_identity_says_none():
    with pytest.raises(FrameError) as caught:
        parse_header(packed(seq=-5))
    assert (caught.value.stream, caught.value.epoch, caught.value.seq) == ("stem", 7, None)


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_truncated_header(cut):
    with pytest.raises(FrameError) as caught:
        parse_header(packed()[:-cut])
    assert caught.value.field == "header"


def test_oversized_header_is_not_unpacked():
    with pytest.raises(FrameError, match="put less into metadata"):
        parse_header(packed(metadata={"a": "x" * MAX_HEADER_BYTES}))


@pytest.mark.parametrize("change", [-1, 1, -(64 * 80 * 2)])
def test_wrong_length_names_the_buffer(change):
    header = parse_header(packed())
    with pytest.raises(FrameError) as caught:
        frame_array(header, bytes(64 * 80 * 2 + change))
    assert (caught.value.field, caught.value.seq) == ("buffer", 3)


def test_end_round_trip():
    end = EndHeader("stem", 7, 12)
    assert parse_message(pack_header(end)) == end


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_frame_errors(data):
    with pytest.raises(FrameError):
        parse_message(data)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.sampled_from([*GOOD, "rows", "metadata", "sent_s", "type", "detector"]), _VALUES)
def test_arbitrary_values_are_accepted_or_named(field, value):
    try:
        header = parse_message(packed(**{field: value}))
    except FrameError as error:
        named = error.field
    else:
        named = field
        assert parse_message(pack_header(header)) == header
    assert named == field or field == "type"


@given(st.data())
def test_mutated_headers_raise_nothing_but_frame_errors(data):
    raw = bytearray(packed(metadata={"a": [1, {"b": 2.5}]}))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FrameError):
        parse_message(bytes(raw))


def test_deeply_nested_metadata_are_refused():
    nested = b"\x81\xa1a" * 3000 + b"\x01"
    body = packed()[1:]
    data = bytes([0x80 | (len(GOOD) + 1)]) + body + b"\xa8metadata" + nested
    with pytest.raises(FrameError) as caught:
        parse_header(data)
    assert caught.value.field in ("header", "metadata")


def test_sender_learns_of_a_bad_frame_before_it_is_sent():
    with pytest.raises(FrameError) as caught:
        encode_frame(np.zeros((64, 64), np.complex64), stream="a", epoch=0, seq=0)
    assert caught.value.field == "dtype"
    with pytest.raises(FrameError) as caught:
        encode_frame(np.zeros(4096, np.uint8), stream="a", epoch=0, seq=0)
    assert caught.value.field == "shape"
    with pytest.raises(FrameError) as caught:
        encode_frame(np.zeros((64, 64)), stream="a", epoch=0, seq=0, metadata={"a": object()})
    assert caught.value.field == "metadata"
