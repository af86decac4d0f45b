"""What a report tells, read from a session's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latticewatch.client.table import DefectTable
from latticewatch.report import keys
from latticewatch.report.keys import Absent
from latticewatch.session import Session
from latticewatch.tracker import codec


@dataclass(frozen=True, eq=False)
class Contents:
    """A session, read.

    Attributes
    ----------
    statistics
        The latest statistics.
    crystal, settings
        What the tracker was set to, as saved with its state; empty where it cannot be read.
    frames
        Numbers of the analysed frames, (n,).
    time_s, columns
        Their times, seconds, and area fractions by name, each (n,).
    frame_dose
        Electrons per square angstrom that a frame adds; NaN where not known.
    defects, alerts, changes, models
        Rows of the session's tables.
    """

    statistics: Mapping[str, Any]
    crystal: str
    settings: Mapping[str, Any]
    frames: np.ndarray
    time_s: np.ndarray
    columns: Mapping[str, np.ndarray]
    frame_dose: float
    defects: DefectTable
    alerts: tuple[Mapping[str, Any], ...]
    changes: tuple[Mapping[str, Any], ...]
    models: tuple[Mapping[str, Any], ...]
    classes: tuple[keys.ClassImage, ...] | Absent
    motion: keys.Motion | Absent
    fields: tuple[keys.Field, ...] | Absent
    modes: tuple[keys.Field, ...] | Absent
    matrices: tuple[keys.Matrix, ...] | Absent

    def rows_of(self, frame: int) -> DefectTable:
        """Defects of one frame."""
        return self.defects.select(self.defects.frame == frame)


def read_contents(path: Path) -> Contents:
    """Read a session.

    Raises
    ------
    StoreError
        No session lies there.
    ValueError
        It has no analysed frame.
    """
    with Session.open_read(path) as session:
        statistics, state = session.statistics(), session.state()
        rows = [row for row in session.frames() if row["status"] == "ok"]
        if not rows:
            raise ValueError(
                f"{path}: the session has no analysed frame; report it after some came"
            )
        defects, alerts = session.defects(), tuple(session.alerts())
        changes = tuple(row for row in session.events() if row["kind"] == "change")
        models = tuple(session.models())
    crystal, settings = _saved(state)
    return Contents(
        statistics,
        crystal,
        settings,
        np.array([row["frame"] for row in rows]),
        _floats(rows, "time_s"),
        {name: _floats(rows, name) for name in ("crystalline", "disordered", "hole")},
        keys.number(statistics, "transitions.rates.frame_dose_e_per_A2"),
        defects,
        alerts,
        changes,
        models,
        keys.classes(statistics),
        keys.motion(statistics),
        keys.fields(statistics),
        keys.modes(statistics),
        keys.matrices(statistics),
    )


def _floats(rows: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.array([np.nan if row[name] is None else row[name] for row in rows], float)


def _saved(state: bytes | None) -> tuple[str, Mapping[str, Any]]:
    """Crystal and settings that the tracker saved."""
    try:
        saved = codec.unpack(state or b"")
        return str(saved["crystal"]), dict(saved["settings"])
    except (ValueError, KeyError, TypeError):
        return "", {}
