"""Reading a session's file, beside the service that writes it or after it."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from latticewatch.client.table import COLUMN_TYPES, COLUMNS, DefectTable
from latticewatch.receiving.gaps import KEPT_GAPS
from latticewatch.receiving.reorder import REMEMBERED, Position
from latticewatch.storage.pictures import Picture
from latticewatch.storage.schema import (
    ALERT_COLUMNS,
    CHECK_COLUMNS,
    COMPUTED_COLUMNS,
    DAMAGED,
    EVENT_COLUMNS,
    FRAME_COLUMNS,
    MODEL_COLUMNS,
    PICTURE_COLUMNS,
    SETTINGS_COLUMNS,
    TRACK_COLUMNS,
    StoreError,
    check_version,
    check_whole,
    explained,
)
from latticewatch.storage.seal import unsealed

SESSION_FILE = "session.sqlite"

#: SQLite waits this long for another program's lock before it gives up, seconds.
BUSY_S = 5.0

#: Larger than any frame number.
_LAST = 2**63 - 1

S = TypeVar("S", bound="Session")


class Session:
    """A session's file, for reading; `Session.open_read` or, to write too, `store.Store.open`.

    Each method reads what is committed at the time of the call.
    """

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        # SQLite must not be closed, or used, under another thread's hands: a cancelled task leaves
        # its worker thread in the middle of a commit
        self._guard = threading.RLock()
        self.path = path

    @classmethod
    def open_read(cls, path: str | Path) -> Session:
        """Open a file for reading, also while the service writes it.

        Parameters
        ----------
        path
            ``session.sqlite`` or the folder that holds it.

        Raises
        ------
        StoreError
            It does not exist, is no session file, or is of a newer version.
        """
        path = session_path(path)
        with explained(path):
            uri = f"{path.resolve().as_uri()}?mode=ro"
            db = sqlite3.connect(uri, BUSY_S, isolation_level=None, uri=True)
        return _checked(Session(db, path))

    def close(self) -> None:
        """Close the file, once what is under way in other threads is done."""
        with self._guard:
            self._db.close()

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def defects(self, first: int = 0, last: int | None = None) -> DefectTable:
        """Defects of the frames from `first` to `last`, both included."""
        names = ", ".join(COLUMNS)
        query = f"SELECT {names} FROM defects WHERE frame BETWEEN ? AND ? ORDER BY frame, row"  # noqa: S608
        rows = self._all(query, (first, _LAST if last is None else last))
        if not rows:
            return DefectTable.empty()
        return DefectTable.from_dict(
            {
                name: _column(name, values)
                for name, values in zip(COLUMNS, zip(*rows, strict=True), strict=True)
            }
        )

    def frames(self, first: int = 0, last: int | None = None) -> list[dict[str, Any]]:
        """Rows of the frames from `first` to `last`, both included, as maps."""
        query = f"SELECT {', '.join(FRAME_COLUMNS)} FROM frames WHERE frame BETWEEN ? AND ?"  # noqa: S608
        return self._maps(FRAME_COLUMNS, query, (first, _LAST if last is None else last))

    def checksums(self, first: int = 0, last: int | None = None) -> dict[int, int]:
        """Checksums of the frames from `first` to `last`, of those that have one."""
        query = (
            "SELECT frame, checksum FROM frames WHERE frame BETWEEN ? AND ? "
            "AND checksum IS NOT NULL"
        )
        span = (first, _LAST if last is None else last)
        rows = self._added(5, ("frame", "checksum"), query, span)
        return {row["frame"]: row["checksum"] for row in rows}

    def check_whole(self) -> None:
        """Raise StoreError unless the pages of the file fit together."""
        with self._guard:
            check_whole(self._db, self.path)

    def tracks(self) -> list[dict[str, Any]]:
        """Tracks that are closed, as maps."""
        query = f"SELECT {', '.join(TRACK_COLUMNS)} FROM tracks ORDER BY track"  # noqa: S608
        return self._maps(TRACK_COLUMNS, query, ())

    def events(self, first: int = 0, last: int | None = None) -> list[dict[str, Any]]:
        """Events of the frames from `first` to `last`, both included, as maps."""
        names = ", ".join(EVENT_COLUMNS)
        query = f"SELECT {names} FROM events WHERE frame BETWEEN ? AND ? ORDER BY id"  # noqa: S608
        return self._maps(EVENT_COLUMNS, query, (first, _LAST if last is None else last))

    def checks(self, first: int = 0, last: int | None = None) -> list[dict[str, Any]]:
        """Rows of the checked frames from `first` to `last`, both included, as maps."""
        names = ", ".join(CHECK_COLUMNS)
        query = f"SELECT {names} FROM checks WHERE frame BETWEEN ? AND ? ORDER BY frame"  # noqa: S608
        return self._added(2, CHECK_COLUMNS, query, (first, _LAST if last is None else last))

    def models(self) -> list[dict[str, Any]]:
        """Models in the order of their first frames, as maps."""
        query = f"SELECT {', '.join(MODEL_COLUMNS)} FROM models ORDER BY frame"  # noqa: S608
        return self._added(2, MODEL_COLUMNS, query, ())

    def alerts(self, first: int = 0, last: int | None = None) -> list[dict[str, Any]]:
        """Alerts raised or ended with the frames from `first` to `last`, both included, as maps.

        `values` of each is the evidence.
        """
        names = ", ".join(ALERT_COLUMNS)
        query = f"SELECT {names} FROM alerts WHERE frame BETWEEN ? AND ? ORDER BY id"  # noqa: S608
        return self._alerts(query, (first, _LAST if last is None else last))

    def last_alert(self) -> dict[str, Any] | None:
        """Return the last row of `alerts`; None where there is none."""
        names = ", ".join(ALERT_COLUMNS)
        rows = self._alerts(f"SELECT {names} FROM alerts ORDER BY id DESC LIMIT 1", ())  # noqa: S608
        return rows[0] if rows else None

    def alert_state(self) -> dict[str, Any] | None:
        """Where the alert rules stand; None before the first frame that they were held against."""
        rows = self._added(3, ("data",), "SELECT data FROM alert_state", ())
        return dict(json.loads(rows[0]["data"])) if rows else None

    def statistics(self) -> dict[str, Any]:
        """Return the latest statistics; empty before the first frame."""
        rows = self._all("SELECT data FROM statistics", ())
        return dict(json.loads(rows[0][0])) if rows else {}

    def statistics_frame(self) -> int:
        """Return the frame that they are of, -1 before the first.

        The service that writes lets frames go without while others wait (`pace`).
        """
        rows = self._all("SELECT frame FROM statistics", ())
        return int(rows[0][0]) if rows else -1

    def settings(self) -> list[dict[str, Any]]:
        """Return what the session was written with: `frame` from which it holds, and `data`."""
        query = "SELECT frame, data FROM settings ORDER BY frame"
        rows = self._added(4, SETTINGS_COLUMNS, query, ())
        return [{**row, "data": json.loads(row["data"])} for row in rows]

    def computed(self) -> list[dict[str, Any]]:
        """Rows of `computed`: what the frames from each `frame` on were computed on."""
        query = f"SELECT {', '.join(COMPUTED_COLUMNS)} FROM computed ORDER BY frame"  # noqa: S608
        return self._added(5, COMPUTED_COLUMNS, query, ())

    def pictures(self) -> dict[int, bool]:
        """Frames of which a picture is kept, and whether for an alert that was raised then."""
        rows = self._added(4, ("frame", "alert"), "SELECT frame, alert FROM pictures", ())
        return {row["frame"]: bool(row["alert"]) for row in rows}

    def picture(self, frame: int) -> Picture | None:
        """Return the picture that is kept of a frame; None where none is."""
        query = f"SELECT {', '.join(PICTURE_COLUMNS)} FROM pictures WHERE frame = ?"  # noqa: S608
        for row in self._added(4, PICTURE_COLUMNS, query, (frame,)):
            pixels = np.frombuffer(row["image"], np.uint8)
            return Picture(pixels.reshape(row["rows"], row["columns"]), row["block"])
        return None

    def place(self) -> tuple[int, int, int, bool] | None:
        """Epoch, next seq, next frame, and whether the epoch has ended; None before any frame.

        Costs the same however long the session is.
        """
        rows = self._all("SELECT epoch, seq, frame, ended FROM checkpoint", ())
        return (*rows[0][:3], bool(rows[0][3])) if rows else None

    def position(self) -> Position:
        """Where the session stands: the first frame that is not committed, and what led there.

        Reads through all frames: for the beginning of a run, not for every frame.
        """
        place = self.place()
        if place is None:
            return Position()
        epoch, seq, frame, ended = place
        closed = self._all(
            "SELECT epoch, MAX(seq) + 1 FROM frames WHERE epoch != ? GROUP BY epoch "
            "ORDER BY MAX(frame) DESC LIMIT ?",
            (epoch, REMEMBERED),
        )
        missing = self._all(
            "SELECT epoch, seq FROM frames WHERE status = 'missing' ORDER BY frame", ()
        )
        rejected = self._all(
            "SELECT epoch, seq, reason FROM frames WHERE status = 'rejected' "
            "ORDER BY frame DESC LIMIT ?",
            (REMEMBERED,),
        )
        ranges = tuple(_ranges(missing))[-KEPT_GAPS:]
        newest_last = (tuple(reversed(closed)), tuple(reversed(rejected)))
        return Position(epoch, seq, frame, ranges, ended, *newest_last)

    def frame_of(self, epoch: int, seq: int) -> int | None:
        """Return the number of the first committed frame of an epoch from `seq` on.

        Past its last it is the number that comes next, be it of another epoch; None where the
        session has no such epoch.
        """
        query = "SELECT MAX(frame) + 1 FROM frames WHERE epoch = ? AND seq < ?"
        ((after,),) = self._all(query, (epoch, seq))
        if after is None:
            ((after,),) = self._all("SELECT MIN(frame) FROM frames WHERE epoch = ?", (epoch,))
        return None if after is None else int(after)

    @contextmanager
    def at_once(self: S) -> Iterator[S]:
        """All that is read inside is of one moment, whatever is committed meanwhile."""
        with self._guard:
            self._all("BEGIN", ())
            try:
                yield self
            finally:
                self._all("COMMIT", ())

    def state(self) -> bytes | None:
        """Return the tracker's state as of `position`; None before the first frame.

        Raises
        ------
        StoreError
            It is damaged.
        """
        rows = self._all("SELECT state FROM checkpoint", ())
        state = unsealed(bytes(rows[0][0])) if rows else None
        if rows and state is None:
            raise StoreError(f"{self.path}: the tracker's state in it is damaged; {DAMAGED}")
        return state

    def _all(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._guard, explained(self.path):
            return self._db.execute(query, values).fetchall()

    def _alerts(self, query: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        told = []
        for row in self._added(3, ALERT_COLUMNS, query, values):
            evidence = json.loads(row.pop("data"))
            told.append({**row, "active": bool(row["active"]), "values": evidence})
        return told

    def _added(
        self, since: int, names: tuple[str, ...], query: str, values: tuple[Any, ...]
    ) -> list[dict[str, Any]]:
        """Give no rows of a session from before the version that the table came with."""
        ((version,),) = self._all("PRAGMA user_version", ())
        return self._maps(names, query, values) if version >= since else []

    def _maps(
        self, names: tuple[str, ...], query: str, values: tuple[Any, ...]
    ) -> list[dict[str, Any]]:
        return [dict(zip(names, row, strict=True)) for row in self._all(query, values)]


def session_path(path: str | Path) -> Path:
    """``session.sqlite`` in a folder, or the file itself."""
    path = Path(path)
    return path if path.name == SESSION_FILE or path.is_file() else path / SESSION_FILE


def _checked(session: Session) -> Session:
    try:
        check_version(session._db, session.path)
    except BaseException:
        session.close()
        raise
    return session


def _column(name: str, values: tuple[Any, ...]) -> Any:
    """Column as SQLite gave it; it keeps NaN as NULL."""
    if COLUMN_TYPES[name].startswith("float"):
        return np.array([np.nan if value is None else value for value in values], float)
    return values


def _ranges(numbers: Iterable[tuple[int, int]]) -> list[tuple[int, range]]:
    """Gather runs of consecutive numbers of the same epoch."""
    runs: list[tuple[int, range]] = []
    for epoch, number in numbers:
        if runs and runs[-1][0] == epoch and runs[-1][1].stop == number:
            runs[-1] = epoch, range(runs[-1][1].start, number + 1)
        else:
            runs.append((epoch, range(number, number + 1)))
    return runs
