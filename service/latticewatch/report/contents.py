"""What a report tells, read from a session's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from latticewatch.client.table import DefectTable
from latticewatch.report import movement, surroundings, values
from latticewatch.report.values import Absent
from latticewatch.storage.checksums import check_rows
from latticewatch.storage.pictures import Picture
from latticewatch.storage.session import Session
from latticewatch.tracker import codec


@dataclass(frozen=True, eq=False)
class Contents:
    """A session, read.

    Attributes
    ----------
    statistics
        The latest statistics.
    crystal, tracker
        What the tracker was set to, as saved with its state; empty where it cannot be read.
    frames
        Numbers of the analysed frames, (n,).
    time_s, columns
        Their times, seconds, and area fractions and lattice constant (nm) by name, each (n,).
    frame_dose
        Electrons per square angstrom that a frame adds; NaN where not known.
    defects, alerts, changes, models, computed
        Rows of the session's tables.
    settings
        Settings by the frame from which they hold.
    refused
        Frames that could not be used, by reason.
    pictures, alerted
        Kept pictures by frame, and which of them raised an alert.
    """

    statistics: Mapping[str, Any]
    crystal: str
    tracker: Mapping[str, Any]
    frames: np.ndarray
    time_s: np.ndarray
    columns: Mapping[str, np.ndarray]
    frame_dose: float
    defects: DefectTable
    alerts: tuple[Mapping[str, Any], ...]
    changes: tuple[Mapping[str, Any], ...]
    models: tuple[Mapping[str, Any], ...]
    classes: tuple[values.ClassImage, ...] | Absent
    motion: movement.Motion | Absent
    fields: tuple[surroundings.Field, ...] | Absent
    believed: tuple[surroundings.Field, ...] | Absent
    modes: tuple[surroundings.Field, ...] | Absent
    matrices: tuple[values.Matrix, ...] | Absent
    settings: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    pictures: Mapping[int, Picture] = field(default_factory=dict)
    alerted: tuple[int, ...] = ()
    computed: tuple[Mapping[str, Any], ...] = ()

    def rows_of(self, frame: int) -> DefectTable:
        """Defects of one frame."""
        return self.defects.select(self.defects.frame == frame)

    def time_of(self, frame: int) -> float:
        """Time of an analysed frame, seconds; NaN where it is not known."""
        found = self.time_s[self.frames == frame]
        return float(found[0]) if len(found) else float("nan")


def read_contents(path: Path) -> Contents:
    """Read a session.

    Raises
    ------
    StoreError
        No session lies there, or it is damaged.
    ValueError
        It has no analysed frame.
    """
    with Session.open_read(path) as session:
        check_rows(session)
        statistics, state = session.statistics(), session.state()
        every = session.frames()
        rows = [row for row in every if row["status"] == "ok"]
        if not rows:
            raise ValueError(
                f"{path}: the session has no analysed frame; report it after some came"
            )
        kept = session.pictures()
        found = {frame: session.picture(frame) for frame in kept}
        defects, alerts = session.defects(), tuple(session.alerts())
        changes = tuple(row for row in session.events() if row["kind"] == "change")
        models, computed = tuple(session.models()), tuple(session.computed())
        settings = {row["frame"]: row["data"] for row in session.settings()}
    crystal, tracker = _saved(state)
    return Contents(
        statistics,
        crystal,
        tracker,
        np.array([row["frame"] for row in rows]),
        _floats(rows, "time_s"),
        {
            name: _floats(rows, name)
            for name in ("crystalline", "disordered", "hole", "constant_nm")
        },
        values.number(statistics, "transitions.rates.frame_dose_e_per_A2"),
        defects,
        alerts,
        changes,
        models,
        values.classes(statistics),
        movement.motion(statistics),
        surroundings.fields(statistics),
        surroundings.believed(statistics),
        surroundings.modes(statistics),
        values.matrices(statistics),
        settings,
        _refused(every),
        # one that is gone meanwhile gave way to a later one
        {frame: picture for frame, picture in found.items() if picture is not None},
        tuple(frame for frame, alert in kept.items() if alert),
        computed,
    )


def _refused(rows: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        if row["status"] == "rejected":
            counts[row["reason"]] = counts.get(row["reason"], 0) + 1
    return counts


def _floats(rows: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.array([np.nan if row[name] is None else row[name] for row in rows], float)


def _saved(state: bytes | None) -> tuple[str, Mapping[str, Any]]:
    """Crystal and settings that the tracker saved."""
    try:
        saved = codec.unpack(state or b"")
        return str(saved["crystal"]), dict(saved["settings"])
    except (ValueError, KeyError, TypeError):
        return "", {}
