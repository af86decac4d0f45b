"""A bit that flips inside a stored number is found; nothing else is taken for one."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from old_sessions import make_older

from latticewatch.cli import main
from latticewatch.client.table import COLUMN_TYPES, DefectTable
from latticewatch.report.contents import read_contents
from latticewatch.results import FrameResult
from latticewatch.storage.checksums import check_rows, damaged
from latticewatch.storage.schema import StoreError
from latticewatch.storage.session import Session
from latticewatch.storage.store import Store

FRAMES, DEFECTS = 12, 20


def table(frame, n=DEFECTS, **columns):
    rng = np.random.default_rng(frame)
    names = {name: kind for name, kind in COLUMN_TYPES.items() if name != "frame"}
    made = {
        name: np.resize(["MoW", "VS"], n) if kind == "str"
        else rng.normal(size=n) if kind.startswith("float") else rng.integers(0, 99, n)
        for name, kind in names.items()
    }  # fmt: skip
    return DefectTable(**{"frame": np.full(n, frame), **made, **columns})


def result(frame, **fields):
    fields = {"lattice": {"a1_x": 10.5, "hole": frame / 7}, "table": table(frame), **fields}
    return FrameResult(frame, 1, frame, 0.5 * frame, **fields)


def write(folder, results):
    with Store.open(folder) as store:
        store.commit(results, b"", {})


def held(session):
    return session.frames(), session.defects().to_rows()


def test_no_flipped_bit_is_read_as_another_number(tmp_path):
    write(tmp_path, [result(k) for k in range(FRAMES)])
    with Session.open_read(tmp_path) as session:
        true = repr(held(session))
    path = tmp_path / "session.sqlite"
    whole, rng, found = path.read_bytes(), random.Random(4), 0
    for _ in range(600):
        at, bit = rng.randrange(len(whole)), rng.randrange(8)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
        try:
            with Session.open_read(tmp_path) as session:
                other = repr(held(session)) != true
                session.check_whole()
                found += other
                check_rows(session)
        except (StoreError, ValueError, OverflowError, TypeError):
            continue
        assert not other, f"bit {bit} of byte {at} is read as another number"
    assert found > 100, "most bits are those of numbers, and SQLite finds the file whole"


def test_report_and_check_tell_what_is_damaged(tmp_path, capsys):
    write(tmp_path, [result(k) for k in range(3)])
    assert main(["check", str(tmp_path)]) == 0
    assert "3 frames, whole\n" in capsys.readouterr().out
    with Store.open(tmp_path) as store:
        store._db.execute("UPDATE defects SET x_nm = x_nm * 2 WHERE frame = 1 AND row = 3")
    assert main(["check", str(tmp_path)]) == 1
    assert "committed in 1; the file is damaged" in capsys.readouterr().err
    with pytest.raises(StoreError, match="committed in 1;"):
        read_contents(tmp_path)


@pytest.mark.parametrize(
    ("change", "frames"),
    [
        ("UPDATE frames SET hole = 0.3 WHERE frame = 2", [2]),
        ("UPDATE frames SET seq = 77 WHERE frame = 0", [0]),
        ("UPDATE frames SET checksum = NULL WHERE frame = 3", [3]),
        ("UPDATE frames SET frame = 9 WHERE frame = 3", [3, 9]),
        ("DELETE FROM defects WHERE frame = 1 AND row = 19", [1]),
        ("UPDATE defects SET frame = 9 WHERE frame = 1 AND row = 19", [1, 9]),
        ("UPDATE defects SET species = 'VSe' WHERE frame = 2 AND row = 0", [2]),
        ("UPDATE defects SET y_px = NULL WHERE frame = 2 AND row = 0", [2]),
    ],
)
def test_each_change_is_found_in_its_frame(tmp_path, change, frames):
    with Store.open(tmp_path) as store:
        store.commit([result(k) for k in range(4)], b"", {})
        assert list(damaged(store)) == []
        store._db.execute(change)
        assert sorted(set(damaged(store))) == frames


def test_frames_of_older_versions_are_passed_over(tmp_path):
    with Store.open(tmp_path) as store:
        store.commit([result(0), result(1)], b"", {})
        make_older(store, 4)
    with Session.open_read(tmp_path) as session:
        assert (session.checksums(), list(damaged(session))) == ({}, [])
    with Store.open(tmp_path) as store:
        store.commit([result(2)], b"", {})
        assert list(store.checksums()) == [2]
        assert list(damaged(store)) == []


numbers = st.floats(width=64)


@settings(max_examples=60, deadline=None)
@given(
    cells=st.lists(numbers, min_size=1, max_size=5),
    lattice=st.dictionaries(st.sampled_from(["a1_x", "noise", "hole"]), numbers),
    time_s=st.one_of(st.none(), numbers, st.integers(0, 2**40)),
    reason=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
)
def test_whatever_is_committed_is_found_whole(tmp_path_factory, cells, lattice, time_s, reason):
    rows = table(0, len(cells), x_px=np.array(cells), time_s=-np.array(cells))
    one = FrameResult(0, 1, 0, time_s, reason=reason, lattice=lattice, table=rows)
    lost = FrameResult(1, 1, 1, status="missing", reason="never came")
    with Store.open(tmp_path_factory.mktemp("s"), fsync="never") as store:
        store.commit([one, lost], b"", {})
        assert list(damaged(store)) == []
