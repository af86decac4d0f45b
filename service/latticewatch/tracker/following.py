"""Carry the open tracks through a frame: link, count the steps, start and end tracks."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from latticewatch.detections import FrameInfo
from latticewatch_models.crystal import Crystal

from .clustering import add_detections
from .counting import count_classes, count_states, count_steps
from .handover import handed_over
from .links import LinkCosts, Party, link, track_doubt
from .memory import Memory
from .observation import Observation
from .settings import TrackerSettings
from .species import UNKNOWN, species_names
from .tracks import TrackArray, gathered, new_tracks, picked
from .update import ClosedTrack, Event, closed_tracks
from .words import count_words


@lru_cache(maxsize=16)
def _mobile(crystal: Crystal) -> np.ndarray:
    """Table (species, sublattice) of what may hop."""
    names = species_names(crystal)
    table = np.zeros((len(names), 3), bool)
    for name in (crystal.vacancy, f"{crystal.vacancy}2", UNKNOWN):
        if name in names:
            table[names.index(name), 1] = True
    if "adatom" in names:
        table[names.index("adatom")] = True
    return table


def mobile(crystal: Crystal, species: np.ndarray, sublattice: np.ndarray) -> np.ndarray:
    """Which defects may hop: vacancies of sublattice 1 (and what cannot be told there), adatoms.

    A column that lost two atoms counts with them: one frame often cannot tell it from one that
    lost a single atom.
    """
    return np.asarray(_mobile(crystal)[species, sublattice])


def _changes(
    tracks: TrackArray, seen: Observation, index: np.ndarray, frame: int, crystal: Crystal
) -> list[Event]:
    """Events of linked tracks: hops, changes of dopant state and of species."""
    names, states = species_names(crystal), crystal.states
    species, state = seen.species[index], seen.state[index]
    moved = (tracks["cell"] != seen.cells[index]).any(axis=1)
    moved |= tracks["sublattice"] != seen.sublattice[index]
    turned = (tracks["state"] >= 0) & (state >= 0) & (tracks["state"] != state)
    changed = tracks["species"] != species
    events = []
    some = np.flatnonzero(moved | turned | changed)
    columns = (
        tracks["track"], moved, turned, changed,
        tracks["state"], state, tracks["species"], species,
    )  # fmt: skip
    for number, hop, turn, change, was, now, before, after in zip(
        *(column[some].tolist() for column in columns), strict=True
    ):
        if hop:
            events.append(Event(frame, "hop", number))
        if turn:
            events.append(Event(frame, "state", number, states[was], states[now]))
        if change:
            events.append(Event(frame, "species", number, names[before], names[after]))
    return events


def _settle(tracks: TrackArray, seen: Observation, index: np.ndarray, info: FrameInfo) -> None:
    """Write the new frame's sites and species into the tracks."""
    tracks["cell"], tracks["sublattice"] = seen.cells[index], seen.sublattice[index]
    tracks["species"], tracks["bound"] = seen.species[index], seen.bound[index]
    tracks["belief"], tracks["state_belief"] = seen.belief[index], seen.state_belief[index]
    tracks["missed"] = 0
    tracks["last_frame"], tracks["last_time"] = info.frame, info.time_s
    tracks["seen"] += 1
    tracks["rows"] += seen.row[index]
    tracks["species_seen"][np.arange(len(tracks)), seen.species[index]] += 1


def _partners(
    before: TrackArray, frame: int, seen: Observation, crystal: Crystal, settings: TrackerSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Find the detection that continues each track, -1 for none, and the tracks taken over."""
    costs = LinkCosts(
        settings.hop_cost, settings.change_cost, settings.sublattice_cost, settings.end_cost
    )
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
            costs.unseen * (np.arange(len(seen)) >= seen.found),
        ),
        frame - before["last_frame"],
        costs,
    )
    return handed_over(before, partner, frame, may_hop)


def follow(
    memory: Memory, info: FrameInfo, seen: Observation, crystal: Crystal, settings: TrackerSettings
) -> tuple[np.ndarray, tuple[ClosedTrack, ...], list[Event]]:
    """Link a frame: track number of each defect, tracks that another took over, and events.

    Changes `memory`: tracks, kinetics and the next track's number.
    """
    before, names = memory.tracks, species_names(crystal)
    partner, absorbed = _partners(before, info.frame, seen, crystal, settings)
    linked = partner >= 0
    continued, index = picked(before, linked), partner[linked]
    events = _changes(continued, seen, index, info.frame, crystal)
    vacancy = names.index(crystal.vacancy) if crystal.vacancy in names else -2
    known = memory.kinetics
    steps = count_steps(known, continued, seen, index, vacancy, info)
    states = count_states(known.states, continued, seen.state[index], info.frame)
    classes = count_classes(known.classes, continued, seen.class_id[index], info.frame)
    words = count_words(known.words, continued, seen.single[index], info)
    unlinked = np.ones(len(seen), bool)
    unlinked[index] = False
    fresh = np.flatnonzero(unlinked)
    lone = seen.species == vacancy
    memory.windows = add_detections(
        memory.windows, seen.cells[lone], seen.sublattice[lone], info.frame, info.time_s
    )
    born = new_tracks(memory.next_track + np.arange(len(fresh)))
    born["first_frame"], born["first_time"] = info.frame, info.time_s
    memory.next_track += len(fresh)
    count_states(known.states, born, seen.state[fresh], info.frame)
    count_classes(known.classes, born, seen.class_id[fresh], info.frame)
    words = count_words(words, born, seen.single[fresh], info)
    memory.kinetics = replace(
        known, states=states, classes=classes, all_steps=steps[0], free_steps=steps[1], words=words
    )
    _settle(continued, seen, index, info)
    _settle(born, seen, fresh, info)
    kept = ~absorbed
    memory.tracks = gathered(picked(before, kept), linked[kept], continued, born)
    closed, ended = _ended(memory, before[absorbed], crystal)
    track = np.zeros(len(seen), np.int64)
    track[index], track[fresh] = continued["track"], born["track"]
    events.extend(
        Event(info.frame, "birth", t, after=names[s])
        for t, s in zip(born["track"].tolist(), born["species"].tolist(), strict=True)
    )
    return track, closed, events + ended


def close(
    memory: Memory, chosen: np.ndarray, crystal: Crystal
) -> tuple[tuple[ClosedTrack, ...], list[Event]]:
    """End the chosen open tracks; they and their events."""
    if not chosen.any():
        return (), []
    tracks, memory.tracks = memory.tracks[chosen], picked(memory.tracks, ~chosen)
    return _ended(memory, tracks, crystal)


def _ended(
    memory: Memory, tracks: TrackArray, crystal: Crystal
) -> tuple[tuple[ClosedTrack, ...], list[Event]]:
    closed = closed_tracks(tracks, species_names(crystal))
    memory.closed += len(closed)
    return closed, [Event(memory.frame, "death", c.track, before=c.species) for c in closed]
