"""The store: all of a commit or nothing, readable meanwhile, plain about what is wrong."""

from __future__ import annotations

import concurrent.futures
import contextlib
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest
from old_sessions import make_older

from latticewatch.alerting import Alarm
from latticewatch.client.errors import FrameError
from latticewatch.client.replies import Ack, ErrorReply
from latticewatch.client.table import DefectTable
from latticewatch.computed import Computed
from latticewatch.receiving.deliveries import Gap, Refusal
from latticewatch.receiving.intake import StreamIntake
from latticewatch.receiving.reorder import Position
from latticewatch.results import FrameResult, SessionEnd, missing_frames, refused_frame
from latticewatch.segmenters import ModelRecord
from latticewatch.storage.schema import StoreError
from latticewatch.storage.session import Session
from latticewatch.storage.store import Store
from latticewatch.tracker.update import ClosedTrack, Event


def table(frame, n=4):
    rng = np.random.default_rng(frame)
    numbers = {name: rng.random(n) for name in ("x_px", "y_px", "y_nm", "probability")}
    return DefectTable(
        frame=np.full(n, frame),
        time_s=np.full(n, 0.5 * frame),
        track=np.arange(n),
        x_nm=np.full(n, np.nan),
        site_i=np.arange(n),
        site_j=-np.arange(n),
        sublattice=np.zeros(n),
        class_id=np.full(n, -1),
        class_probability=np.zeros(n),
        species=np.resize(["MoW", "VS"], n),
        state=np.resize(["MoW+VS/2", ""], n),
        **numbers,
    )


def result(frame, epoch=7, seq=None, **fields):
    seq = frame if seq is None else seq
    fields = {"lattice": {"a1_x": 10.5, "hole": 0.25}, "table": table(frame), **fields}
    return FrameResult(frame, epoch, seq, 0.5 * frame, **fields)


CHECK = {
    "model": "ab", "agreed": 3, "missed": 1, "unlabelled": 0, "agreement": 0.86,
    "agreement_low": 0.4, "agreement_high": 0.97, "streak": 0, "low": 0,
}  # fmt: skip


def alarm(frame, active=True):
    text, values = "hole_fraction is 0.1, above 0.05", {"value": 0.1, "active_rules": ["holes"]}
    return Alarm(frame, 0.5 * frame, "holes", "critical", active, text, values)


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "stem") as opened:
        yield opened


def test_what_is_committed_is_read_back(store):
    closed = (ClosedTrack(3, "VS", 0, 1, 0.0, 0.5, 2, 2),)
    change = Event(1, "change", -1, "fractions.hole = 0.01", "fractions.hole = 0.2 from frame 0")
    events = (Event(1, "birth", 4, "", "MoW"), change)
    last = result(1, closed=closed, events=events)
    store.commit([result(0), last], b"state", {"frames": 2, "D": float("nan")})
    assert store.defects() == DefectTable.concat([table(0), table(1)])
    assert store.defects(1, 1) == table(1)
    assert len(store.defects(5)) == 0
    first = store.frames(0, 0)[0]
    assert (first["epoch"], first["time_s"], first["n_defects"]) == (7, 0.0, 4)
    assert (first["a1_x"], first["hole"], first["a2_x"]) == (10.5, 0.25, None)
    assert store.statistics() == {"frames": 2, "D": None}
    assert store.state() == b"state"
    assert store.position() == Position(epoch=7, seq=2, frame=2)
    assert [track["track"] for track in store.tracks()] == [3]
    assert [event["after"] for event in store.events()] == ["MoW", change.after]
    assert store.events()[1]["kind"] == "change"


def test_empty_session(store):
    assert store.position() == Position()
    assert (store.state(), store.statistics(), len(store.defects())) == (None, {}, 0)


def test_position_remembers_gaps_epochs_and_the_end(store):
    store.commit([result(0), result(1)], b"", {}, SessionEnd(2, 7, 2))
    assert store.position() == Position(epoch=7, seq=2, frame=2, ended=True)
    gap = missing_frames(Gap("stem", 3, 8, 1, 3))
    store.commit([result(2, 8, 0), *gap, result(6, 8, 4)], b"", {})
    assert store.position() == Position(8, 5, 7, ((8, range(1, 4)),), closed=((7, 2),))
    assert [row["status"] for row in store.frames(2)] == ["ok", *["missing"] * 3, "ok"]


def test_what_an_earlier_epoch_lacks_is_not_acknowledged_later(store):
    error = FrameError("frame", "constant: 7; all of it", "mend the detector")
    bad = refused_frame(Refusal("stem", 1, 7, 1, error))
    gap = missing_frames(Gap("stem", 2, 7, 2, 1))
    store.commit([result(0), bad, *gap, result(3, 7, 3), result(4, 8, 0)], b"", {})
    intake = StreamIntake("stem", store.position())
    replies = [intake.refusal(error, 7, seq).reply for seq in range(4)]
    assert [type(reply) for reply in replies] == [Ack, ErrorReply, ErrorReply, Ack]
    assert "missing" in replies[2].reason


def test_position_remembers_why_frames_were_rejected(store):
    error = FrameError("frame", "constant: 7; all of it", "mend the detector")
    bad = refused_frame(Refusal("stem", 1, 7, 1, error))
    store.commit([result(0), bad], b"", {})
    ((epoch, seq, reason),) = store.position().rejected
    intake = StreamIntake("stem", store.position())
    again = intake.refusal(error, 7, 1)
    assert (epoch, seq) == (7, 1)
    assert again.reply == ErrorReply(error.field, error.reason, error.mend, "stem", 7, 1)
    assert str(FrameError.parsed(reason)) == str(error)


def test_end_alone_closes_tracks(store):
    store.commit([result(0)], b"", {})
    closed = (ClosedTrack(3, "VS", 0, 1, 0.0, 0.5, 2, 2),)
    store.commit([], b"end", {}, SessionEnd(1, 7, 1, closed=closed))
    assert (store.state(), len(store.tracks())) == (b"end", 1)


@pytest.mark.parametrize("batch", [[result(0)], [result(2)], [result(1), result(1, seq=2)], []])
def test_commits_that_do_not_follow_leave_nothing(store, batch):
    store.commit([result(0)], b"before", {})
    with pytest.raises(ValueError, match=r"commit"):
        store.commit(batch, b"after", {})
    assert (store.state(), len(store.frames()), len(store.defects())) == (b"before", 1, 4)


def test_a_frame_number_of_the_source_counts_once(store):
    store.commit([result(0)], b"before", {})
    with pytest.raises(StoreError, match="UNIQUE"):
        store.commit([result(1, seq=0)], b"after", {})
    assert store.state() == b"before"


def test_unknown_lattice_number_is_named(store):
    with pytest.raises(ValueError, match="wobble"):
        store.commit([result(0, lattice={"wobble": 1.0})], b"", {})


def test_readers_see_whole_commits_while_it_writes(store):
    with Session.open_read(store.path.parent) as reader:
        for frame in range(5):
            store.commit([result(frame)], b"", {})
            assert len(reader.defects()) == 4 * (frame + 1)
        store._db.execute("BEGIN IMMEDIATE")
        store._db.execute("DELETE FROM defects")
        assert len(reader.defects()) == 20
        store._db.execute("ROLLBACK")


def test_closing_waits_for_a_commit_in_another_thread(store):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for frame in range(20):
            commit = pool.submit(store.commit, [result(frame, table=table(frame, 500))], b"", {})
        store.close()
        pool.shutdown(wait=True)
        assert commit.done()
    with pytest.raises(StoreError, match="closed"):
        store.commit([result(99)], b"", {})
    with Store.open(store.path.parent) as again:
        assert len(again.defects()) == 500 * again.position().frame


@pytest.mark.parametrize(("fsync", "level"), [("always", 2), ("interval", 1), ("never", 0)])
def test_fsync_reaches_sqlite(tmp_path, fsync, level):
    with Store.open(tmp_path, fsync=fsync) as opened:
        assert opened._db.execute("PRAGMA synchronous").fetchone() == (level,)
        assert opened._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_session_is_continued(tmp_path):
    with Store.open(tmp_path / "a.b") as opened:
        opened.commit([result(0)], b"one", {})
    with Store.open(tmp_path / "a.b", create=False) as opened:
        assert opened.path == tmp_path / "a.b" / "session.sqlite"
        opened.commit([result(1)], b"two", {})
        assert opened.position().frame == 2


def test_missing_session_is_told(tmp_path):
    with pytest.raises(StoreError, match="does not exist"):
        Store.open(tmp_path, create=False)
    with pytest.raises(StoreError, match="unable to open"):
        Session.open_read(tmp_path)


def test_something_else_is_left_alone(tmp_path):
    path = tmp_path / "session.sqlite"
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 40)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="no session file"):
        Store.open(tmp_path)
    assert path.read_bytes() == before


def test_another_programs_database_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "session.sqlite") as db:
        db.execute("CREATE TABLE cats (name)")
    db.close()
    with pytest.raises(StoreError, match="some other program"):
        Store.open(tmp_path)


def test_newer_session_is_left_alone(tmp_path):
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "session.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="newer latticewatch"):
        Store.open(tmp_path)


def test_a_session_of_version_1_is_read_and_written_on(tmp_path):
    with Store.open(tmp_path) as store:
        store.commit([result(0)], b"one", {})
        make_older(store, 1)
    with Session.open_read(tmp_path) as session:
        assert (session.checks(), session.models(), len(session.frames())) == ([], [], 1)
        assert (session.alerts(), session.last_alert(), session.alert_state()) == ([], None, None)
    with Store.open(tmp_path) as store:
        store.commit([result(1, check=CHECK, model=ModelRecord("ab", reason="why"))], b"two", {})
        assert [row["frame"] for row in store.checks()] == [1]
    with Store.open(tmp_path) as store:
        assert store.position().frame == 2
        assert len(store.models()) == 1


def test_a_session_of_version_2_keeps_its_checks_and_gets_alerts(tmp_path):
    with Store.open(tmp_path) as store:
        store.commit([result(0, check=CHECK)], b"one", {})
        make_older(store, 2)
    with Session.open_read(tmp_path) as session:
        assert (len(session.checks()), session.alerts()) == (1, [])
    with Store.open(tmp_path) as store:
        store.commit([result(1, alerts=(alarm(1),))], b"two", {}, alert_state={"dose": 1.5})
    with Store.open(tmp_path) as store:
        assert [row["frame"] for row in store.checks()] == [0]
        assert [row["frame"] for row in store.alerts()] == [1]
        assert store.alert_state() == {"dose": 1.5}


def test_what_frames_were_computed_on_is_committed_with_them(tmp_path):
    first = Computed("cuda", "cuda:0", "cuda:0", "float32", "the service was started with it")
    then = Computed("cpu", "host", "host", "float32", "cuda:0 failed (unknown error)")
    with Store.open(tmp_path) as store:
        store.commit([result(0)], b"one", {})
        make_older(store, 4)
    with Session.open_read(tmp_path) as session:
        assert session.computed() == []
    with Store.open(tmp_path) as store:
        store.commit([result(1, computed=first), result(2)], b"two", {})
        with pytest.raises(ValueError, match="commit"):
            store.commit([result(3, computed=then), result(9, computed=first)], b"no", {})
        assert store.computed() == [{"frame": 1, **vars(first)}]
        store.commit([result(3, computed=then)], b"three", {})
        assert store.computed() == [{"frame": 1, **vars(first)}, {"frame": 3, **vars(then)}]


def test_alerts_and_their_state_are_committed_with_their_frames(store):
    store.commit([result(0), result(1, alerts=(alarm(1), alarm(1, active=False)))], b"", {})
    assert store.alert_state() is None
    store.commit([result(2, alerts=(alarm(2),))], b"", {}, alert_state={"missing": 0})
    with pytest.raises(ValueError, match="commit"):
        store.commit([result(9, alerts=(alarm(9),))], b"", {}, alert_state={"missing": 7})
    assert [Alarm(**row) for row in store.alerts()] == [
        alarm(1), alarm(1, active=False), alarm(2),
    ]  # fmt: skip
    assert [row["frame"] for row in store.alerts(2)] == [2]
    assert Alarm(**store.last_alert()) == alarm(2)
    assert store.alert_state() == {"missing": 0}


def test_checks_and_models_are_committed_with_their_frames(store):
    own = ModelRecord("cd", "self-trained", "models/cd.onnx", "better")
    store.commit([result(0, model=ModelRecord("ab"), check=CHECK), result(1)], b"", {})
    store.commit([result(2, model=own)], b"", {})
    with pytest.raises(ValueError, match="commit"):
        store.commit([result(9, model=own, check=CHECK)], b"", {})
    assert store.checks() == [{"frame": 0, **CHECK}]
    assert store.checks(1) == []
    first = {"frame": 0, "digest": "ab", "origin": "configured", "file": "", "reason": ""}
    second = {"frame": 2, **{name: value for name, value in vars(own).items() if name != "facts"}}
    assert store.models() == [first, second]


def committed_session(folder, frames=4):
    """Session whose frames each stand in the log by a commit of their own, as a kill leaves it."""
    with Store.open(folder / "source") as store:
        for frame in range(frames):
            store.commit([result(frame)], b"%d" % frame * 3000, {"frame": frame})
        main = store.path.read_bytes()
        return main, store.path.with_name("session.sqlite-wal").read_bytes()


@pytest.mark.parametrize("seed", range(24))
def test_a_torn_log_leaves_whole_commits(tmp_path, seed):
    main, log = committed_session(tmp_path)
    rng = np.random.default_rng(seed)
    at = int(rng.integers(len(log)))
    torn = log[:at] + (rng.bytes(int(rng.integers(5000))) if seed % 2 else b"")
    (tmp_path / "session.sqlite").write_bytes(main)
    (tmp_path / "session.sqlite-wal").write_bytes(torn)
    with Store.open(tmp_path) as store:
        frame = store.position().frame
        assert len(store.frames()) == frame <= 4, f"seed {seed}"
        assert store.defects() == DefectTable.concat([table(k) for k in range(frame)])
        if frame:
            assert store.state() == b"%d" % (frame - 1) * 3000
            assert store.statistics() == {"frame": frame - 1}
        store.commit([result(frame)], b"", {})


@pytest.mark.parametrize("fill", [0x00, 0xA5, 0xFF])
def test_a_damaged_page_is_told_before_the_session_is_written_on(tmp_path, fill):
    with Store.open(tmp_path) as store:
        for frame in range(20):
            store.commit([result(frame, table=table(frame, 50))], b"%d" % frame * 3000, {})
    path = tmp_path / "session.sqlite"
    whole, harmless = path.read_bytes(), 0
    for page in range(len(whole) // 4096):
        at = page * 4096
        path.write_bytes(whole[:at] + bytes([fill]) * 4096 + whole[at + 4096 :])
        # else the page was free, or held bytes of the state, which has a checksum of its own
        with contextlib.suppress(StoreError), Store.open(tmp_path) as store:
            assert store.defects() == DefectTable.concat([table(k, 50) for k in range(20)])
            assert store.state() == b"19" * 3000
            harmless += 1
    assert harmless <= len(whole) // 4096 // 10
    path.write_bytes(whole)
    with Store.open(tmp_path) as store:
        assert store.position().frame == 20


def test_a_flipped_bit_of_the_state_is_told(store):
    store.commit([result(0)], b"state" * 100, {})
    (kept,) = store._db.execute("SELECT state FROM checkpoint").fetchone()
    flipped = bytes([*kept[:99], kept[99] ^ 1, *kept[100:]])
    store._db.execute("UPDATE checkpoint SET state = ?", (flipped,))
    with pytest.raises(StoreError, match="state in it is damaged"):
        store.state()
    # as an older latticewatch wrote it, without a checksum
    store._db.execute("UPDATE checkpoint SET state = ?", (b"\x81\xa1a\x01",))
    assert store.state() == b"\x81\xa1a\x01"


def test_one_writer_a_session(store):
    with pytest.raises(StoreError, match="held by another service"):
        Store.open(store.path.parent)


def test_lock_of_another_program_is_named_and_passes(store):
    store._db.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="another program holds it"):
        store.commit([result(0)], b"", {})
    other.execute("ROLLBACK")
    other.close()
    store.commit([result(0)], b"", {})
    assert store.position().frame == 1


def test_full_disk_is_named_and_passes(store):
    store.commit([result(0)], b"", {})
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="make room"):
        store.commit([result(1, table=table(1, 2000))], b"x" * 10**6, {})
    assert store.position().frame == 1
    store._db.execute(f"PRAGMA max_page_count = {10**6}")
    store.commit([result(1, table=table(1, 2000))], b"", {})
    assert len(store.defects(1, 1)) == 2000


_CHILD = """
import sys
import numpy as np
from latticewatch.client.table import COLUMNS, COLUMN_TYPES, DefectTable
from latticewatch.results import FrameResult
from latticewatch.storage.store import Store

store = Store.open(sys.argv[1])
frame = store.position().frame
while True:
    columns = {
        name: np.full(50, "VS") if kind == "str" else np.full(50, frame % 100)
        for name, kind in COLUMN_TYPES.items()
    }
    columns["frame"] = np.full(50, frame)
    row = FrameResult(frame, 1, frame, float(frame), table=DefectTable(**columns))
    store.commit([row], b"%d" % frame * 5000, {"frame": frame})
    frame += 1
    print(frame, flush=True)
"""


def test_killed_in_mid_commit_it_resumes_with_whole_frames(tmp_path):
    rng = np.random.default_rng(5)
    told = 0
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(10):
            told = int(child.stdout.readline())
        # anywhere within the next commits: what matters is that it is not chosen by us
        time.sleep(rng.uniform(0, 0.01))
        child.send_signal(signal.SIGKILL)
        told = int(([str(told), *child.stdout.read().split()])[-1])
        child.wait()
        child.stdout.close()
        with Store.open(tmp_path) as store:
            frame = store.position().frame
            assert frame in (told, told + 1)  # what was told is there; at most one more
            assert len(store.frames()) == frame
            np.testing.assert_array_equal(store.defects().frame, np.repeat(np.arange(frame), 50))
            assert store.state() == b"%d" % (frame - 1) * 5000
            assert store.statistics() == {"frame": frame - 1}
