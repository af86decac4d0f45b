"""Result messages and the defect table: round trips, and nothing but MessageError for the rest."""

from __future__ import annotations

import contextlib
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from latticewatch.client import wire
from latticewatch.client.errors import MessageError
from latticewatch.client.messages import (
    COLUMN_TYPES,
    COLUMNS,
    Alert,
    Defects,
    DefectTable,
    Health,
    Overlay,
    PartialOverlay,
    Statistics,
    decode,
    encode,
)
from latticewatch.client.replies import (
    Ack,
    Ended,
    ErrorReply,
    SendAgain,
    pack_reply,
    parse_reply,
)


def table(n=5, frame=3):
    rng = np.random.default_rng(frame)
    columns = {name: rng.random(n) for name in COLUMNS}
    for name, kind in COLUMN_TYPES.items():
        if kind.startswith("int"):
            columns[name] = rng.integers(-1, 100, n)
    columns["frame"] = np.full(n, frame)
    columns["x_nm"] = np.full(n, np.nan)
    columns["species"] = np.resize(["MoW", "VS"], n)
    columns["state"] = np.resize(["MoW+VS/1", ""], n)
    return DefectTable(**columns)


MESSAGES = [
    Defects(stream="a", epoch=5, seq=2, frame=3, time_s=1.5, sent_s=2.0, run=9, table=table()),
    Defects(stream="a", table=DefectTable.empty()),
    Statistics(stream="b", data={"counts": {"VS": 3}, "matrix": [[0.5, 0.5], [None, 1.0]]}),
    Alert(stream="a", rule="holes", text="holes cover 5 %", values={"hole": 0.05}),
    Health(state="ok", values={"streams": 1}),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind)
def test_message_round_trip(message):
    assert decode(encode(message)) == message


def test_overlay_round_trip():
    image = np.random.default_rng(2).integers(0, 256, (40, 50), dtype=np.uint8)
    points = np.array([[1.5, 2.5], [3.0, 4.0]], np.float32)
    sent = Overlay(
        stream="a", frame_shape=(400, 500), image=image, points=points, labels=("VS", "MoW"),
        tracks=np.array([4, 5]),
    )  # fmt: skip
    got = decode(encode(sent))
    assert isinstance(got, Overlay)
    assert (got.frame_shape, tuple(got.labels)) == ((400, 500), ("VS", "MoW"))
    np.testing.assert_array_equal(got.image, image)
    np.testing.assert_array_equal(got.points, points)
    np.testing.assert_array_equal(got.tracks, [4, 5])


def partial(rows_done=80, **fields):
    image = np.random.default_rng(3).integers(0, 256, (8, 50), dtype=np.uint8)
    points = np.array([[1.5, 2.5], [3.0, 4.0]], np.float32)
    return PartialOverlay(
        stream="a", frame_shape=(400, 500), image=image, points=points,
        labels=("VS", "MoW+VS/1"), rows_done=rows_done, analysis_ms=31.5, **fields,
    )  # fmt: skip


def test_rows_of_a_frame_round_trip():
    sent = partial(frame=3, seq=2)
    parts = encode(sent)
    assert parts[0] == b"partial/a"  # who subscribes to overlays is not sent them
    got = decode(parts)
    assert isinstance(got, PartialOverlay)
    assert (got.rows_done, got.analysis_ms, got.frame, got.seq) == (80, 31.5, 3, 2)
    assert (got.frame_shape, tuple(got.labels)) == ((400, 500), ("VS", "MoW+VS/1"))
    np.testing.assert_array_equal(got.image, sent.image)
    np.testing.assert_array_equal(got.points, sent.points)


@pytest.mark.parametrize(
    ("name", "value"),
    [("rows_done", 0), ("rows_done", 401), ("rows_done", True), ("rows_done", 8.0),
     ("analysis_ms", "long"), ("labels", ["VS"]), ("image_shape", [8, 51]), ("surplus", 1)],
)  # fmt: skip
def test_damaged_rows_of_a_frame_are_refused(name, value):
    topic, header, payload = encode(partial())
    fields = wire.unpack(header)
    fields["body"][name] = value
    with pytest.raises(MessageError):
        decode([topic, wire.pack(fields), payload])


def test_overlay_of_the_wrong_length_is_refused():
    parts = encode(Overlay(stream="a", frame_shape=(64, 64), image=np.zeros((8, 8), np.uint8)))
    with pytest.raises(MessageError, match="8 x 8"):
        decode([*parts[:2], parts[2][:-1]])


def test_topic_must_fit():
    _, header = encode(MESSAGES[0])
    with pytest.raises(MessageError, match="topic"):
        decode([b"defects/b", header])


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_arbitrary_parts_raise_nothing_but_message_errors(parts):
    with pytest.raises(MessageError):
        decode(parts)


@given(st.sampled_from(MESSAGES), st.data())
def test_mutated_messages_raise_nothing_but_message_errors(message, data):
    topic, header = encode(message)
    raw = bytearray(header)
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MessageError):
        decode([topic, bytes(raw)])


@given(
    hnp.arrays(
        st.sampled_from(sorted(wire.ARRAY_DTYPES)).map(np.dtype),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
def test_arrays_survive(array):
    got = wire.unpack(wire.pack({"a": array}))["a"]
    assert (got.dtype, got.shape) == (array.dtype, array.shape)
    assert got.tobytes() == array.tobytes()


@pytest.mark.parametrize("bad", [np.array([object()]), np.array(["a"]), np.zeros(2, complex)])
def test_other_arrays_are_not_sent(bad):
    with pytest.raises(TypeError, match="no place on the wire"):
        wire.pack(bad)


def test_array_with_a_false_shape_is_refused():
    data = wire.pack(np.zeros(4)).replace(b"\x91\x04", b"\x91\x05")
    with pytest.raises(MessageError, match="32 bytes"):
        wire.unpack(data)


def test_table_conversions():
    whole = DefectTable.concat([table(2, 1), DefectTable.empty(), table(3, 2)])
    assert len(whole) == 5
    assert whole.columns == COLUMNS
    assert DefectTable.from_rows(whole.to_rows()) == whole
    assert DefectTable.from_dict(whole.to_dict()) == whole
    assert whole.select(whole.frame == 2) == table(3, 2)
    assert whole != table(5, 1)
    assert [type(value) for value in whole.to_rows()[0]][:5] == [int, float, int, float, float]


def test_table_to_pandas():
    pandas = pytest.importorskip("pandas")
    frame = table().to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert tuple(frame.columns) == COLUMNS
    assert list(frame["species"]) == ["MoW", "VS", "MoW", "VS", "MoW"]


def test_table_to_arrow():
    pytest.importorskip("pyarrow")
    arrow = table().to_arrow()
    assert tuple(arrow.column_names) == COLUMNS
    assert DefectTable.from_dict({name: arrow[name].to_numpy() for name in COLUMNS}) == table()
    assert len(DefectTable.empty().to_arrow()) == 0


def test_table_to_polars():
    polars = pytest.importorskip("polars", reason="the dev extra brings polars")
    frame = table().to_polars()
    assert isinstance(frame, polars.DataFrame)
    assert DefectTable.from_dict({name: frame[name].to_numpy() for name in COLUMNS}) == table()
    assert tuple(DefectTable.empty().to_polars().columns) == COLUMNS


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_library_that_is_missing_is_named_with_the_mend(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)  # what import finds where it is not installed
    method = {"pyarrow": "to_arrow"}.get(library, f"to_{library}")
    with pytest.raises(
        ImportError, match=rf"^{method}\(\) needs {library}: pip install {library}$"
    ):
        getattr(table(), method)()


def test_statistics_as_a_row():
    data = {
        "frames": 4, "populations": {"VS": {"now": 3.0, "mean": None}}, "ended": False,
        "classes": [{"weight": 1.0}], "stream": "a",
    }  # fmt: skip
    row = Statistics(stream="a", frame=3, time_s=1.5, data=data).row()
    assert row == {
        "frame": 3, "time_s": 1.5, "frames": 4, "populations.VS.now": 3.0,
        "populations.VS.mean": None, "ended": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("track", np.zeros(4)),
        ("track", np.full(5, 0.5)),
        ("sublattice", np.full(5, 300)),
        ("x_px", np.zeros((5, 1))),
        ("x_px", np.array(["a"] * 5)),
        ("species", np.zeros(5)),
    ],
)
def test_table_refuses_what_does_not_fit(column, values):
    with pytest.raises(ValueError, match="column"):
        DefectTable(**{**table().to_dict(), column: values})


@pytest.mark.parametrize(
    "reply",
    [
        Ack("a", 5, (1, 2, 3)),
        Ended("a", 5),
        SendAgain("a", 5, 7),
        ErrorReply("shape", "changed", "start anew", "a", 5, 4),
        ErrorReply("header", "garbage", "send a map"),
    ],
)
def test_reply_round_trip(reply):
    assert parse_reply(pack_reply(reply)) == reply


@given(st.binary(max_size=100))
def test_arbitrary_replies_raise_nothing_but_message_errors(data):
    with pytest.raises(MessageError):
        parse_reply(data)
