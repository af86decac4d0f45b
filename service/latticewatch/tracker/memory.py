"""The tracker's whole state as one value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from latticewatch_models.crystal import Crystal

from .anchor import AnchorState
from .baseline import Past
from .classes import Classifier
from .clustering import Windows
from .column_evidence import ColumnEvidence
from .counting import Kinetics
from .crystallography import DisplacementSums
from .fusion import amounts_of
from .hops import DiffusionSums
from .members import Members
from .series import Series
from .settings import TrackerSettings
from .site_filter import SiteFilter
from .species import species_names
from .tracks import MAX_READINGS, MAX_SPECIES, STATES, TrackArray, no_tracks
from .transitions import TransitionCounts
from .watching import Watch
from .words import WordCounts

#: Version of the saved layout; a state of another version is refused.
VERSION = 4
#: Places in `Memory.optics`.
CONSTANT, CRYSTALLINE, DISORDERED, HOLE, DENSITY, HEIGHT, NOISE = range(7)


@dataclass
class Memory:
    """Everything that the tracker remembers; its size does not depend on the session's length.

    Attributes
    ----------
    frame, time_s
        Of the last frame applied; frame -1 before the first.
    first_time_s, frames, missing, duplicates
        Start, frames with a result, frames without, second detections on one site left out.
    pixel_size_nm
        In use since the first frame; `pixel_source` is ``header`` or ``lattice``.
    rotation_deg
        Angle of the anchored a1 in the last frame.
    next_track, closed
        Number of the next track and how many have ended.
    optics, defects
        Series over frames: measured lattice constant (px), area fractions, defect density (nm^-2),
        host height of sublattice 1 and column noise; counts of each species, then of each dopant
        state.
    members
        Counts of each class over frames.
    columns
        What the columns of each class measure, for its intensity over the undisturbed column.
    soft_steps
        (s, s), the state filter's sums of inferred steps.
    doubt
        Series of the mean probability that a dopant's state is another than the one told.
    sites, vacancies
        What all frames say of every column of sublattice 1, and the series of how many vacancies
        that comes to.
    displacements
        Sums over the surroundings of the dopants.
    windows
        Sums of vacancy positions in windows of the lattice, for the original's estimator.
    watch
        Past of the published series, and the changes that were found in them.
    """

    frame: int
    time_s: float
    first_time_s: float
    frames: int
    missing: int
    duplicates: int
    pixel_size_nm: float
    pixel_source: str
    rotation_deg: float
    next_track: int
    closed: int
    anchor: AnchorState | None
    tracks: TrackArray
    classifier: Classifier
    kinetics: Kinetics
    optics: Series
    defects: Series
    members: Members
    columns: ColumnEvidence
    soft_steps: np.ndarray
    doubt: Series
    sites: SiteFilter
    vacancies: Series
    displacements: DisplacementSums
    windows: Windows
    watch: Watch


def fresh(settings: TrackerSettings, crystal: Crystal) -> Memory:
    """State before the first frame."""
    names, states, k = species_names(crystal), crystal.states, settings.room
    if len(names) > MAX_SPECIES:
        raise ValueError(
            f"crystal {crystal.name} has {len(names)} species: at most {MAX_SPECIES} fit a track"
        )
    if len(crystal.readings) + 4 > MAX_READINGS or len(states) not in (0, STATES):
        raise ValueError(
            f"crystal {crystal.name} has {len(crystal.readings)} readings and {len(states)} states:"
            f" at most {MAX_READINGS - 4} and none or {STATES} fit a track"
        )
    lags = settings.max_gap_frames + 1
    kinetics = Kinetics(
        TransitionCounts.empty(len(states), lags),
        TransitionCounts.empty(k, lags),
        DiffusionSums.empty(),
        DiffusionSums.empty(),
        WordCounts.empty(len(states)),
    )
    return Memory(
        frame=-1,
        time_s=0.0,
        first_time_s=0.0,
        frames=0,
        missing=0,
        duplicates=0,
        pixel_size_nm=0.0,
        pixel_source="",
        rotation_deg=0.0,
        next_track=0,
        closed=0,
        anchor=None,
        tracks=no_tracks(),
        classifier=Classifier.empty(k),
        kinetics=kinetics,
        optics=Series.empty(7),
        defects=Series.empty(len(names) + len(states)),
        members=Members.empty(k),
        columns=ColumnEvidence.empty(k, crystal),
        soft_steps=np.zeros((len(states), len(states))),
        doubt=Series.empty(1),
        sites=SiteFilter.empty(len(amounts_of(crystal))),
        vacancies=Series.empty(1),
        displacements=DisplacementSums.empty(len(states)),
        windows=Windows.empty(),
        watch=Watch.empty(crystal),
    )


def to_state(memory: Memory, settings: TrackerSettings, crystal: Crystal) -> dict[str, Any]:
    """Nested dicts for the codec, with what the state belongs to."""
    own = {"classifier": memory.classifier.state(), "sites": memory.sites.state()}
    body = {**vars(memory), **own}
    return {
        "version": VERSION,
        "crystal": crystal.name,
        "settings": asdict(settings),
        "memory": {name: _plain(value) for name, value in body.items()},
    }


def _plain(value: Any) -> Any:
    """Give dataclasses as dicts; unlike `asdict` it copies no array, the codec's packing does."""
    if not is_dataclass(value):
        return value
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def from_state(state: dict[str, Any], settings: TrackerSettings, crystal: Crystal) -> Memory:
    """Undo `to_state`; raises ValueError if it belongs to other settings or another crystal."""
    if state.get("version") != VERSION:
        raise ValueError(
            f"saved tracker state has version {state.get('version')}, not {VERSION}: "
            "start a new session"
        )
    if state["crystal"] != crystal.name:
        raise ValueError(
            f"saved tracker state is of crystal {state['crystal']}, not {crystal.name}: "
            "set the crystal back or start a new session"
        )
    if state["settings"] != asdict(settings):
        changed = sorted(k for k, v in asdict(settings).items() if state["settings"].get(k) != v)
        raise ValueError(
            f"saved tracker state was made with other settings ({', '.join(changed)}): "
            "set them back or start a new session"
        )
    body = dict(state["memory"])
    kinetics = body["kinetics"]
    body["anchor"] = AnchorState(**body["anchor"]) if body["anchor"] is not None else None
    body["classifier"] = Classifier.from_state(body["classifier"])
    body["sites"] = SiteFilter.from_state(body["sites"])
    body["kinetics"] = Kinetics(
        TransitionCounts(**kinetics["states"]),
        TransitionCounts(**kinetics["classes"]),
        DiffusionSums(**kinetics["all_steps"]),
        DiffusionSums(**kinetics["free_steps"]),
        WordCounts(**kinetics["words"]),
    )
    body["members"] = Members(**body["members"])
    body["columns"] = ColumnEvidence.from_state(body["columns"])
    for name in ("optics", "defects", "doubt", "vacancies"):
        body[name] = Series(**body[name])
    body["displacements"] = DisplacementSums(**body["displacements"])
    body["watch"] = Watch(Past(**body["watch"]["past"]), body["watch"]["last"])
    body["windows"] = Windows(**body["windows"])
    body["tracks"] = np.array(body["tracks"])
    return Memory(**body)
