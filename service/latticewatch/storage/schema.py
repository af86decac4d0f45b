"""The tables of ``session.sqlite`` and the errors of its files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from latticewatch.client.table import COLUMN_TYPES

#: Marks the file as ours: "LWSE" in SQLite's header.
APPLICATION_ID = 0x4C575345

#: 2: the tables ``checks`` and ``models``; 3: ``alerts`` and ``alert_state``; 4: ``pictures`` and
#: ``settings``; 5: ``computed``, and a checksum of each frame. Sessions of older versions get what
#: they lack when they are written on.
SCHEMA_VERSION = 5

#: Numbers of a frame that `FrameResult.lattice` may hold: lattice vectors and the column nearest to
#: the centre in pixels, lattice constant in pixels and nm, angle, strongest Bragg peak over the
#: noise, area fractions, accumulated drift in pixels, noise of one
#: host column of sublattice 0.
LATTICE_COLUMNS = (
    "a1_x", "a1_y", "a2_x", "a2_y", "origin_x", "origin_y", "constant_px", "constant_nm",
    "rotation_deg", "significance", "crystalline", "disordered", "hole", "drift_x_px",
    "drift_y_px", "noise",
)  # fmt: skip

FRAME_COLUMNS = (
    "frame", "epoch", "seq", "time_s", "status", "reason", "n_defects", *LATTICE_COLUMNS,
)  # fmt: skip

TRACK_COLUMNS = (
    "track", "species", "first_frame", "last_frame", "first_time_s", "last_time_s", "detections",
    "rows",
)  # fmt: skip

EVENT_COLUMNS = ("frame", "kind", "track", "before", "after")

#: A frame whose labels were held against the segmenter: its model, its counts, and the pooled
#: agreement with its interval as of then.
CHECK_COLUMNS = (
    "frame", "model", "agreed", "missed", "unlabelled", "agreement", "agreement_low",
    "agreement_high", "streak", "low",
)  # fmt: skip

#: A model and the first frame that was analysed with it.
MODEL_COLUMNS = ("frame", "digest", "origin", "file", "reason")

#: What frames were computed on, and the first frame of which it holds.
COMPUTED_COLUMNS = ("frame", "provider", "device", "arrays", "precision", "reason")

#: An alert that was raised or has ceased with a frame, `data` the evidence as JSON.
ALERT_COLUMNS = ("frame", "time_s", "rule", "severity", "active", "text", "data")

#: A frame as it is kept; the image is last, so that the others are read without it.
PICTURE_COLUMNS = ("frame", "alert", "block", "rows", "columns", "image")

#: The settings that hold from a frame on, as JSON.
SETTINGS_COLUMNS = ("frame", "data")

FSYNC = {"always": "FULL", "interval": "NORMAL", "never": "OFF"}

Fsync = Literal["always", "interval", "never"]


class StoreError(RuntimeError):
    """A session's file cannot be opened, read or written; nothing was committed."""


def _defect_columns() -> str:
    kinds = {"int": "INTEGER", "flo": "REAL", "str": "TEXT"}
    return ", ".join(f"{name} {kinds[kind[:3]]}" for name, kind in COLUMN_TYPES.items())


#: What version 2 has more than version 1.
CALIBRATION_SCHEMA = """
CREATE TABLE checks (
    frame INTEGER PRIMARY KEY, model TEXT NOT NULL, agreed INTEGER NOT NULL,
    missed INTEGER NOT NULL, unlabelled INTEGER NOT NULL, agreement REAL,
    agreement_low REAL NOT NULL, agreement_high REAL NOT NULL, streak INTEGER NOT NULL,
    low INTEGER NOT NULL
);
CREATE TABLE models (
    frame INTEGER PRIMARY KEY, digest TEXT NOT NULL, origin TEXT NOT NULL, file TEXT NOT NULL,
    reason TEXT NOT NULL
);
"""

#: What version 3 has more than version 2.
ALERT_SCHEMA = """
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY, frame INTEGER NOT NULL, time_s REAL, rule TEXT NOT NULL,
    severity TEXT NOT NULL, active INTEGER NOT NULL, text TEXT NOT NULL, data TEXT NOT NULL
);
CREATE INDEX alerts_frame ON alerts (frame);
CREATE TABLE alert_state (id INTEGER PRIMARY KEY CHECK (id = 1), data TEXT NOT NULL);
"""

#: What version 4 has more than version 3.
REPORT_SCHEMA = """
CREATE TABLE pictures (
    frame INTEGER PRIMARY KEY, alert INTEGER NOT NULL, block INTEGER NOT NULL,
    rows INTEGER NOT NULL, columns INTEGER NOT NULL, image BLOB NOT NULL
);
CREATE TABLE settings (frame INTEGER PRIMARY KEY, data TEXT NOT NULL);
"""

#: What version 5 has more than version 4; older frames have no checksum.
PROVENANCE_SCHEMA = """
CREATE TABLE computed (
    frame INTEGER PRIMARY KEY, provider TEXT NOT NULL, device TEXT NOT NULL, arrays TEXT NOT NULL,
    precision TEXT NOT NULL, reason TEXT NOT NULL
);
ALTER TABLE frames ADD COLUMN checksum INTEGER;
"""

#: What came with each version.
ADDED = {2: CALIBRATION_SCHEMA, 3: ALERT_SCHEMA, 4: REPORT_SCHEMA, 5: PROVENANCE_SCHEMA}

SCHEMA = f"""
CREATE TABLE frames (
    frame INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, time_s REAL,
    status TEXT NOT NULL CHECK (status IN ('ok', 'missing', 'rejected')), reason TEXT NOT NULL,
    n_defects INTEGER NOT NULL, {", ".join(f"{name} REAL" for name in LATTICE_COLUMNS)},
    UNIQUE (epoch, seq)
);
CREATE TABLE defects (
    row INTEGER NOT NULL, {_defect_columns()}, PRIMARY KEY (frame, row)
) WITHOUT ROWID;
CREATE TABLE tracks (
    track INTEGER PRIMARY KEY, species TEXT NOT NULL, first_frame INTEGER NOT NULL,
    last_frame INTEGER NOT NULL, first_time_s REAL, last_time_s REAL, detections INTEGER NOT NULL,
    rows INTEGER NOT NULL
);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, frame INTEGER NOT NULL, kind TEXT NOT NULL, track INTEGER NOT NULL,
    before TEXT NOT NULL, after TEXT NOT NULL
);
CREATE INDEX events_frame ON events (frame);
CREATE TABLE statistics (
    id INTEGER PRIMARY KEY CHECK (id = 1), frame INTEGER NOT NULL, data TEXT NOT NULL
);
CREATE TABLE checkpoint (
    id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    frame INTEGER NOT NULL, ended INTEGER NOT NULL, state BLOB NOT NULL
);
{"".join(ADDED.values())}
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""

DAMAGED = "the file is damaged: restore it, or move it away"

_MENDS = (
    ("not a database", "it is no session file: move it away, or choose another data folder"),
    ("malformed", DAMAGED),
    ("is locked", "another program holds it: close that program"),
    ("is full", "the disk is full: make room; the frames are kept by their sources meanwhile"),
    ("readonly", "it cannot be written: mend the rights of the file and its folder"),
    ("unable to open", "it cannot be opened: mend the path and the rights of its folder"),
    ("disk I/O", "the disk does not take it: make room or check the disk"),
)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into `StoreError` with the cause and the mend."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        mend = next((mend for sign, mend in _MENDS if sign in text), "see the message of SQLite")
        raise StoreError(f"{path}: {text}; {mend}") from error


def upgrade(db: sqlite3.Connection, path: Path) -> None:
    """Give a session of an older version the tables that it lacks."""
    with explained(path):
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version < SCHEMA_VERSION:
            lacking = "".join(added for since, added in ADDED.items() if since > version)
            for statement in lacking.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")


def check_whole(db: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError unless the pages of the file fit together.

    What stands in the rows is not checked: `checksums.check_rows` does that. Takes 0.3 s for
    600,000 defects in 4,000 frames (49 MB), and grows with them.
    """
    with explained(path):
        ((verdict,),) = db.execute("PRAGMA quick_check(1)").fetchall()
    if verdict != "ok":
        first = verdict.splitlines()[-1]
        raise StoreError(f"{path}: {first}; {DAMAGED}")


def check_version(db: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError unless the file is a session of a version that is understood."""
    with explained(path):
        (mark,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
    if mark != APPLICATION_ID:
        raise StoreError(f"{path} is some other program's database: choose another data folder")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer latticewatch (schema {version}, here "
            f"{SCHEMA_VERSION}): update latticewatch"
        )
