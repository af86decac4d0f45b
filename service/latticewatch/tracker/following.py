"""Carry the open tracks through a frame: link, count the steps, start and end tracks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from latticewatch.detections import FrameInfo
from latticewatch_models.crystal import Crystal

from .counting import count
from .handover import handed_over
from .links import LinkCosts, Party, link, reach, track_doubt
from .memory import Memory
from .observation import Observation
from .settings import TrackerSettings
from .site_grid import SUBLATTICES
from .species import UNKNOWN, species_names
from .tracks import TrackArray, continued, picked
from .update import ClosedTrack, Event, closed_tracks


@lru_cache(maxsize=16)
def _mobile(crystal: Crystal) -> np.ndarray:
    """Tell what may hop, by species times `SUBLATTICES` plus sublattice."""
    names = species_names(crystal)
    table = np.zeros((len(names), SUBLATTICES), bool)
    for name in (crystal.vacancy, f"{crystal.vacancy}2", UNKNOWN):
        if name in names:
            table[names.index(name), 1] = True
    if "adatom" in names:
        table[names.index("adatom")] = True
    return table.ravel()


def mobile(crystal: Crystal, species: np.ndarray, sublattice: np.ndarray) -> np.ndarray:
    """Which defects may hop: vacancies of sublattice 1 (and what cannot be told there), adatoms.

    A column that lost two atoms counts with them: one frame often cannot tell it from one that
    lost a single atom.
    """
    return np.asarray(_mobile(crystal)[species * SUBLATTICES + sublattice])


def _changes(tracks: TrackArray, seen: Observation, frame: int, crystal: Crystal) -> list[Event]:
    """Events of continued tracks, by their numbers: hops, changes of dopant state and of species.

    `tracks` are those of the frame's defects as earlier frames left them.
    """
    names, states = species_names(crystal), crystal.states
    cells, was = tracks["cell"], tracks["state"]
    moved = (cells[:, 0] != seen.cells[:, 0]) | (cells[:, 1] != seen.cells[:, 1])
    moved |= tracks["sublattice"] != seen.sublattice
    turned = (was != seen.state) & (was >= 0) & (seen.state >= 0)
    changed = tracks["species"] != seen.species
    events = []
    some = ((moved | turned | changed) & (tracks["seen"] > 0)).nonzero()[0]
    some = some[np.argsort(tracks["track"][some])]
    columns = (
        tracks["track"], moved, turned, changed,
        was, seen.state, tracks["species"], seen.species,
    )  # fmt: skip
    for number, hop, turn, change, left, entered, before, after in zip(
        *(column[some].tolist() for column in columns), strict=True
    ):
        if hop:
            events.append(Event(frame, "hop", number))
        if turn:
            events.append(Event(frame, "state", number, states[left], states[entered]))
        if change:
            events.append(Event(frame, "species", number, names[before], names[after]))
    return events


def _settle(tracks: TrackArray, seen: Observation, info: FrameInfo) -> None:
    """Write the frame's sites and species into its defects' tracks."""
    tracks["cell"], tracks["sublattice"] = seen.cells, seen.sublattice
    tracks["species"], tracks["bound"] = seen.species, seen.bound
    tracks["belief"], tracks["state_belief"] = seen.belief, seen.state_belief
    tracks["missed"] = 0
    tracks["last_frame"], tracks["last_time"] = info.frame, info.time_s
    tracks["seen"] += 1
    tracks["rows"] += seen.row
    tracks["species_seen"][np.arange(len(tracks)), seen.species] += 1


def _costs(settings: TrackerSettings) -> LinkCosts:
    return LinkCosts(
        settings.hop_cost, settings.change_cost, settings.sublattice_cost, settings.end_cost
    )


def margin(settings: TrackerSettings) -> int:
    """Cells by which the entries of an `Observation` are moved to follow tracks."""
    return reach(settings.max_gap_frames + 1, _costs(settings))


def _partners(
    before: TrackArray,
    entries: np.ndarray,
    frame: int,
    seen: Observation,
    crystal: Crystal,
    settings: TrackerSettings,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the detection that continues each track, -1 for none, and the tracks taken over."""
    costs = _costs(settings)
    unseen = np.zeros(len(seen))
    unseen[seen.found :] = costs.unseen
    may_hop = mobile(crystal, before["species"], before["sublattice"])
    partner = link(
        Party(
            before["cell"],
            before["sublattice"],
            before["species"],
            may_hop,
            track_doubt(before["missed"], before["seen"], costs),
        ),
        Party(
            seen.cells,
            seen.sublattice,
            seen.species,
            mobile(crystal, seen.species, seen.sublattice),
            unseen,
        ),
        frame - before["last_frame"],
        costs,
        (seen.grid, entries),
        before["track"],
    )
    return handed_over(before, partner, frame, may_hop)


def follow(
    memory: Memory,
    info: FrameInfo,
    seen: Observation,
    crystal: Crystal,
    settings: TrackerSettings,
    entries: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple[ClosedTrack, ...], list[Event]]:
    """Link a frame: track number of each defect, tracks that ended, and events.

    A track ends when another takes it over, or when no later frame could continue it.

    `entries` are those of the open tracks' sites in the observation's grid, if they are at hand.
    Changes `memory`: tracks, kinetics and the next track's number.
    """
    before, names = memory.tracks, species_names(crystal)
    if entries is None:
        entries = seen.grid.entries(before["cell"], before["sublattice"])
    partner, absorbed = _partners(before, entries, info.frame, seen, crystal, settings)
    stale = (partner < 0) & (info.frame - before["last_frame"] > settings.max_gap_frames)
    gone = absorbed | stale
    memory.tracks, fresh = continued(before, partner, len(seen), gone)
    tracks = memory.tracks[: len(seen)]
    tracks["track"][fresh] = memory.next_track + np.arange(len(fresh))
    tracks["first_frame"][fresh], tracks["first_time"][fresh] = info.frame, info.time_s
    memory.next_track += len(fresh)
    events = _changes(tracks, seen, info.frame, crystal)
    vacancy = names.index(crystal.vacancy) if crystal.vacancy in names else -2
    memory.kinetics = count(memory.kinetics, tracks, seen, vacancy, info)
    lone = seen.species == vacancy
    memory.windows = memory.windows.add(
        seen.cells[lone], seen.sublattice[lone], info.frame, info.time_s
    )
    _settle(tracks, seen, info)
    closed, ended = _ended(memory, picked(before, gone), crystal)
    events += [
        Event(info.frame, "birth", t, after=names[s])
        for t, s in zip(tracks["track"][fresh].tolist(), seen.species[fresh].tolist(), strict=True)
    ]
    return tracks["track"].copy(), closed, events + ended


def close(
    memory: Memory, chosen: np.ndarray, crystal: Crystal
) -> tuple[tuple[ClosedTrack, ...], list[Event]]:
    """End the chosen open tracks; they and their events."""
    if not chosen.any():
        return (), []
    tracks, memory.tracks = picked(memory.tracks, chosen), picked(memory.tracks, ~chosen)
    return _ended(memory, tracks, crystal)


def _ended(
    memory: Memory, tracks: TrackArray, crystal: Crystal
) -> tuple[tuple[ClosedTrack, ...], list[Event]]:
    if not len(tracks):
        return (), []
    tracks = picked(tracks, np.argsort(tracks["track"]))
    closed = closed_tracks(tracks, species_names(crystal))
    memory.closed += len(closed)
    return closed, [Event(memory.frame, "death", c.track, before=c.species) for c in closed]
