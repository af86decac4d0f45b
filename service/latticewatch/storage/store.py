"""The session's file: results, tracker state and place in the stream, in one transaction.

A commit that returned is on the disk (``fsync = always``); one that did not return left nothing.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latticewatch.client.filelock import FileLock, HeldError
from latticewatch.client.table import COLUMNS
from latticewatch.results import FrameResult, SessionEnd
from latticewatch.storage.checksums import frame_checksum
from latticewatch.storage.pictures import Picture, chosen, interval
from latticewatch.storage.schema import (
    ALERT_COLUMNS,
    CHECK_COLUMNS,
    COMPUTED_COLUMNS,
    EVENT_COLUMNS,
    FRAME_COLUMNS,
    FSYNC,
    LATTICE_COLUMNS,
    MODEL_COLUMNS,
    PICTURE_COLUMNS,
    SCHEMA,
    SETTINGS_COLUMNS,
    TRACK_COLUMNS,
    Fsync,
    StoreError,
    check_version,
    check_whole,
    explained,
    upgrade,
)
from latticewatch.storage.seal import sealed
from latticewatch.storage.session import BUSY_S, Session, session_path

if TYPE_CHECKING:
    from latticewatch.alerting.reading import Alarm
    from latticewatch.tracker.update import ClosedTrack, Event


#: Pages of the file that SQLite keeps of each stream, KiB; it would take 2,000. The tracker's
#: state, 430 KiB, is the largest row that a commit writes.
CACHE_KIB = 512


def _insert(table: str, names: Sequence[str]) -> str:
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608


_INSERT_FRAME = _insert("frames", (*FRAME_COLUMNS, "checksum"))
_INSERT_DEFECT = _insert("defects", ("row", *COLUMNS))
_INSERT_TRACK = _insert("tracks", TRACK_COLUMNS)
_INSERT_EVENT = _insert("events", EVENT_COLUMNS)
_INSERT_CHECK = _insert("checks", CHECK_COLUMNS)
_INSERT_MODEL = _insert("models", MODEL_COLUMNS)
_INSERT_COMPUTED = _insert("computed", COMPUTED_COLUMNS)
_INSERT_ALERT = _insert("alerts", ALERT_COLUMNS)
_INSERT_PICTURE = _insert("pictures", PICTURE_COLUMNS)


class Store(Session):
    """A session's file, for its one writer; reads like `Session`.

    Threads may share it; one waits for the other.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, lock: FileLock) -> None:
        super().__init__(db, path)
        self._lock = lock

    @classmethod
    def open(cls, path: str | Path, *, create: bool = True, fsync: Fsync = "always") -> Store:
        """Open a session to write it on, or begin one.

        Parameters
        ----------
        path
            Folder of the stream, or the file itself.
        create
            Begin a session where there is none; else that is an error.
        fsync
            ``always``: a commit is on the disk when it returns, whatever happens then.
            ``interval``: a power cut may take the last commits (those since SQLite's last
            checkpoint), a killed process none. ``never``: a power cut may damage the file.

        Raises
        ------
        StoreError
            No session file, another service's, a newer version's, or not writable.
        """
        path = session_path(path)
        if not path.exists() and not create:
            raise StoreError(f"{path} does not exist: check the path, or begin a session")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path.with_suffix(".lock"))
        except HeldError:
            raise StoreError(f"{path} is held by another service: stop that one first") from None
        except OSError as error:
            raise StoreError(
                f"{path.parent} cannot be written ({error}): mend its rights"
            ) from error
        try:
            return cls(_connect(path, fsync), path, lock)
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Close the file, once a commit under way is done, and let another service have it."""
        super().close()
        self._lock.release()

    def commit(
        self,
        batch: Sequence[FrameResult],
        state: bytes,
        statistics: Mapping[str, Any] | None,
        end: SessionEnd | None = None,
        alert_state: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the results of frames, in order, with the tracker's state after them.

        Parameters
        ----------
        batch
            Results of consecutive frames; may be empty where there is an `end`.
        state, statistics
            The tracker's after the last of them; statistics that are None leave those that are
            there.
        end
            The epoch's end, where it follows the batch.
        alert_state
            Where the alert rules stand after it; None leaves what there is.

        Raises
        ------
        StoreError
            It could not be written; the session stands where it stood.
        ValueError
            The batch does not follow on what is committed, or there is nothing to commit.
        """
        rows = [_frame_row(result) for result in batch]
        data = None if statistics is None else _json(statistics)
        place = _place(batch, end)
        with self._transaction():
            self._check_order(batch, end)
            self._write(batch, rows)
            self._write_pictures(batch)
            if end is not None:
                self._write_ends(end.closed, end.events)
            self._write_checkpoint(place, state)
            if data is not None:
                self._write_statistics(place[2] - 1, data)
            if alert_state is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO alert_state (id, data) VALUES (1, ?)",
                    (_json(alert_state),),
                )

    def tell(self, statistics: Mapping[str, Any]) -> None:
        """Keep the statistics after the last committed frame, which went without; StoreError."""
        data = _json(statistics)
        with self._transaction():
            place = self.place()
            if place is not None:
                self._write_statistics(place[2] - 1, data)

    def record_settings(self, settings: Mapping[str, Any]) -> None:
        """Keep the settings that hold from the next frame on, where they are others than before.

        Parameters
        ----------
        settings
            Plain values by name.

        Raises
        ------
        StoreError
            They could not be written.
        """
        data = _json(settings)
        with self._transaction():
            place = self.place()
            frame = 0 if place is None else place[2]
            # under these no frame came
            self._db.execute("DELETE FROM settings WHERE frame >= ?", (frame,))
            before = self.settings()
            if not before or before[-1]["data"] != json.loads(data):
                self._db.execute(_insert("settings", SETTINGS_COLUMNS), (frame, data))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All that is written inside, or nothing."""
        with self._guard, explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _check_order(self, batch: Sequence[FrameResult], end: SessionEnd | None) -> None:
        rows = self._db.execute("SELECT frame FROM checkpoint").fetchall()
        frame = rows[0][0] if rows else 0
        for part in (*batch, *((end,) if end else ())):
            if part.frame != frame:
                raise ValueError(f"frame {part.frame} cannot be committed before frame {frame}")
            frame += 1

    def _write(self, batch: Sequence[FrameResult], rows: list[tuple[Any, ...]]) -> None:
        self._db.executemany(_INSERT_FRAME, rows)
        for result in batch:
            if result.table is not None:
                numbered = ((k, *row) for k, row in enumerate(result.table.to_rows()))
                self._db.executemany(_INSERT_DEFECT, numbered)
            self._write_ends(result.closed, result.events)
            self._write_calibration(result)
            self._db.executemany(_INSERT_ALERT, map(_alert_row, result.alerts))

    def _write_pictures(self, batch: Sequence[FrameResult]) -> None:
        """Keep the batch's pictures that are to be kept, and drop those whose time is over."""
        pictures = {result.frame: result.picture for result in batch if result.picture is not None}
        if not pictures:
            return
        query = "SELECT COUNT(*) FROM pictures WHERE alert"
        ((alerts_kept,),) = self._db.execute(query).fetchall()
        seen = [
            (result.frame, any(alarm.active for alarm in result.alerts))
            for result in batch
            if result.frame in pictures
        ]
        # first, so that the new ones take the room
        query = "DELETE FROM pictures WHERE NOT alert AND frame % ?"
        self._db.execute(query, (interval(max(pictures)),))
        for frame, alert in chosen(seen, alerts_kept).items():
            self._db.execute(_INSERT_PICTURE, _picture_row(frame, alert, pictures[frame]))

    def _write_ends(self, closed: Iterable[ClosedTrack], events: Iterable[Event]) -> None:
        tracks = (track._asdict() for track in closed)
        self._db.executemany(_INSERT_TRACK, (_values(row, TRACK_COLUMNS) for row in tracks))
        happened = (event._asdict() for event in events)
        self._db.executemany(_INSERT_EVENT, (_values(row, EVENT_COLUMNS) for row in happened))

    def _write_calibration(self, result: FrameResult) -> None:
        if result.model is not None:
            row = {"frame": result.frame, **vars(result.model)}
            self._db.execute(_INSERT_MODEL, _values(row, MODEL_COLUMNS))
        if result.computed is not None:
            row = {"frame": result.frame, **vars(result.computed)}
            self._db.execute(_INSERT_COMPUTED, _values(row, COMPUTED_COLUMNS))
        if result.check is not None:
            row = {"frame": result.frame, **result.check}
            self._db.execute(_INSERT_CHECK, _values(row, CHECK_COLUMNS))

    def _write_checkpoint(self, place: tuple[int, int, int, bool], state: bytes) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO checkpoint (id, epoch, seq, frame, ended, state) "
            "VALUES (1, ?, ?, ?, ?, ?)",
            (*place, sealed(state)),
        )

    def _write_statistics(self, frame: int, data: str) -> None:
        query = "INSERT OR REPLACE INTO statistics (id, frame, data) VALUES (1, ?, ?)"
        self._db.execute(query, (frame, data))


def _connect(path: Path, fsync: Fsync) -> sqlite3.Connection:
    with explained(path):
        db = sqlite3.connect(path, BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        with explained(path):
            fresh = not db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA cache_size = {-CACHE_KIB}")
            db.execute(f"PRAGMA synchronous = {FSYNC[fsync]}")
            if fresh:
                db.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;")
        check_version(db, path)
        check_whole(db, path)
        upgrade(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _frame_row(result: FrameResult) -> tuple[Any, ...]:
    unknown = set(result.lattice) - set(LATTICE_COLUMNS)
    if unknown:
        raise ValueError(f"the store has no columns {sorted(unknown)}: use {LATTICE_COLUMNS}")
    found = 0 if result.table is None else len(result.table)
    numbers = (result.lattice.get(name) for name in LATTICE_COLUMNS)
    head = (result.frame, result.epoch, result.seq, result.time_s, result.status, result.reason)
    row = (*head, found, *(None if number is None else float(number) for number in numbers))
    return (*row, frame_checksum(dict(zip(FRAME_COLUMNS, row, strict=True)), result.table))


def _alert_row(alarm: Alarm) -> tuple[Any, ...]:
    return _values({**vars(alarm), "data": _json(alarm.values)}, ALERT_COLUMNS)


def _picture_row(frame: int, alert: bool, picture: Picture) -> tuple[Any, ...]:
    image = picture.image
    return (frame, alert, picture.block, *image.shape, image.tobytes())


def _place(batch: Sequence[FrameResult], end: SessionEnd | None) -> tuple[int, int, int, bool]:
    """Epoch, next sequence number, next frame, whether the epoch has ended."""
    if end is not None:
        return end.epoch, end.seq, end.frame, True
    if not batch:
        raise ValueError("nothing to commit: give results, or the epoch's end")
    last = batch[-1]
    return last.epoch, last.seq + 1, last.frame + 1, False


def _json(statistics: Mapping[str, Any]) -> str:
    """Encode as JSON, in which a number that is not finite is null: not known."""
    try:
        return json.dumps(statistics, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(statistics), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _values(row: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)
