"""What one frame brings: rows of the defect table, closed tracks, events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from latticewatch.client.table import COLUMN_TYPES
from latticewatch.detections import Detections, FrameInfo

from .observation import Observation
from .tracks import TrackArray


class ClosedTrack(NamedTuple):
    """A track that ended; `species` is the one it was seen as most often.

    ``rows`` of its ``detections`` stand in the table; the others are vacancies beside a dopant,
    told by the dopant's state.
    """

    track: int
    species: str
    first_frame: int
    last_frame: int
    first_time_s: float
    last_time_s: float
    detections: int
    rows: int


class Event(NamedTuple):
    """Something that happened to a track or to the lattice.

    No dataclass, of which one takes 1.7 us to make and this 0.25: there are 95 a frame of 500
    defects.

    `kind` is one of ``birth``, ``death``, ``hop``, ``state``, ``species``, ``warm`` (the classes
    are fixed from here on), ``merge`` (two classes are one: numbers before and after, "1,3" and
    "1"), ``split`` (one class is two: "2" and "2,5"; both hold from the next frame on),
    ``lattice_lost`` (a new gauge began; tracks were closed) and ``change`` (a published series left
    its level; `before` and `after` name it and both levels). `track` is -1 where it concerns none.
    """

    frame: int
    kind: str
    track: int = -1
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Update:
    """Result of one frame: table columns, tracks closed, events, and accumulated drift."""

    frame: int
    table: dict[str, np.ndarray]
    closed: tuple[ClosedTrack, ...] = ()
    events: tuple[Event, ...] = ()
    drift_px: tuple[float, float] = (0.0, 0.0)
    missing: bool = False


def empty_table() -> dict[str, np.ndarray]:
    """Return the defect table's columns without rows."""
    return {name: np.zeros(0, kind) for name, kind in COLUMN_TYPES.items()}


def defect_table(
    info: FrameInfo,
    detections: Detections,
    keep: np.ndarray,
    seen: Observation,
    track: np.ndarray,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    drift: tuple[float, float],
    pixel_size_nm: float,
) -> dict[str, np.ndarray]:
    """Rows of a frame; `keep` are the detections that `seen` begins with, in its order.

    `names` are the species and the dopant states by code.
    """
    rows = seen.row[: seen.found].nonzero()[0]
    source = keep[rows]
    x, y = detections.x_px[source], detections.y_px[source]
    species, labels = np.array(names[0]), np.array([*names[1], ""])
    values = {
        "frame": np.full(len(rows), info.frame),
        "time_s": np.full(len(rows), info.time_s),
        "track": track[rows],
        "x_px": x,
        "y_px": y,
        "x_nm": pixel_size_nm * (x - drift[0]),
        "y_nm": pixel_size_nm * (y - drift[1]),
        "site_i": seen.cells[rows, 0],
        "site_j": seen.cells[rows, 1],
        "sublattice": seen.sublattice[rows],
        "probability": detections.probability[source],
        "class_id": seen.class_id[rows],
        "class_probability": seen.class_probability[rows],
        "species": species[seen.species[rows]],
        "state": labels[seen.state[rows]],
    }
    return {name: values[name].astype(kind, copy=False) for name, kind in COLUMN_TYPES.items()}


def closed_tracks(tracks: TrackArray, names: tuple[str, ...]) -> tuple[ClosedTrack, ...]:
    """Describe tracks that end."""
    species = [names[code] for code in tracks["species_seen"].argmax(axis=1).tolist()]
    counts = ("first_frame", "last_frame", "first_time", "last_time", "seen", "rows")
    columns = (tracks[name].tolist() for name in counts)
    return tuple(map(ClosedTrack, tracks["track"].tolist(), species, *columns))
