"""Links against simulated truth: how many are right, beside trackpy's, and what they cost.

A *link* is a pair of detections that follow one another in a track, frames without it left out. It
is *true* if both are of one defect, which was not detected in between, and no more than
`max_gap_frames` frames lie between them. ``right`` is the share of the true links that were made,
``wrong`` the share of the links made that are not true: those that join two defects, or a defect
and a false detection, or leave a detection of the defect out. Links over longer gaps are not looked
at: the whole tracker is judged by the rows of its table, and a vacancy beside a dopant has none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice

import numpy as np
import trackpy
from simulated_detections import Scene, Shot, simulate

from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.tracker.following import mobile
from latticewatch.tracker.links import LinkCosts, Party, link, site_places, track_doubt
from latticewatch.tracker.species import species_names
from latticewatch_models.crystal import Crystal, crystal_named

SETTINGS = TrackerSettings()
#: Frames that a track may go unseen, for every linker alike.
GAP = SETTINGS.max_gap_frames
COSTS = LinkCosts()
#: Search range given to trackpy, lattice constants: nearest sites of one sublattice, and the next.
RANGES = (1.3, 2.1)

#: Seconds from anywhere; by default the process's own, which other programs do not add to.
Clock = Callable[[], float]
#: Which defect each detection of a frame is, and in which track it was put: (n,) each.
Told = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Score:
    """Links that are true, that were made, and that are both."""

    true: int
    made: int
    both: int

    @property
    def right(self) -> float:
        """Share of the true links that were made."""
        return self.both / max(self.true, 1)

    @property
    def wrong(self) -> float:
        """Share of the links made that are not true."""
        return 1.0 - self.both / max(self.made, 1)


def score(frames: Iterable[Told], gap: int = GAP) -> Score:
    """Hold the links of tracks against those of the defects; ident -1 is a false detection."""
    true: set[tuple[int, int]] = set()
    made: set[tuple[int, int]] = set()
    last_of_ident: dict[int, tuple[int, int]] = {}
    last_of_track: dict[int, tuple[int, int]] = {}
    number = 0
    for frame, (idents, tracks) in enumerate(frames):
        for ident, track in zip(idents.tolist(), tracks.tolist(), strict=True):
            before = last_of_track.get(track)
            if before is not None and frame - before[0] <= gap + 1:
                made.add((before[1], number))
            last_of_track[track] = (frame, number)
            if ident >= 0:
                before = last_of_ident.get(ident)
                if before is not None and frame - before[0] <= gap + 1:
                    true.add((before[1], number))
                last_of_ident[ident] = (frame, number)
            number += 1
    return Score(len(true), len(made), len(true & made))


def tracked(
    shots: Sequence[Shot], crystal: Crystal, clock: Clock = time.process_time
) -> tuple[list[Told], list[float]]:
    """Rows of the defect table that the whole tracker gives, and seconds spent on each frame."""
    tracker = Tracker(SETTINGS, crystal)
    told: list[Told] = []
    spent: list[float] = []
    for shot in shots:
        start = clock()
        table = tracker.apply(shot.info, shot.detections).table
        spent.append(clock() - start)
        place = {x: k for k, x in enumerate(shot.detections.x_px.tolist())}
        rows = np.array([place[x] for x in table["x_px"].tolist()], int)
        told.append((shot.ident[rows], table["track"]))
    return told, spent


def linked(
    shots: Sequence[Shot], crystal: Crystal, clock: Clock = time.process_time
) -> tuple[list[Told], list[float]]:
    """Tracks by `link` alone, from the true species, and seconds spent in it on each frame."""
    names = species_names(crystal)
    told: list[Told] = []
    spent: list[float] = []
    before = _nobody()
    track, last, seen, following = np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), 0
    for frame, shot in enumerate(shots):
        after = _party(shot, crystal, names)
        doubt = track_doubt(frame - last - 1, seen, COSTS)
        start = clock()
        partner = link(replace(before, doubt=doubt), after, frame - last, COSTS)
        spent.append(clock() - start)
        linked = partner >= 0
        number, times = np.full(len(after), -1), np.ones(len(after), int)
        number[partner[linked]] = track[linked]
        times[partner[linked]] += seen[linked]
        new = number < 0
        number[new] = following + np.arange(new.sum())
        following += int(new.sum())
        told.append((shot.ident, number))
        waits = ~linked & (frame - last <= GAP)
        before = Party(
            *(
                np.concatenate([getattr(before, f.name)[waits], getattr(after, f.name)])
                for f in fields(Party)
            )
        )
        track, seen = np.concatenate([track[waits], number]), np.concatenate([seen[waits], times])
        last = np.concatenate([last[waits], np.full(len(after), frame)])
    return told, spent


def _nobody() -> Party:
    none = np.zeros(0, np.int8)
    return Party(np.zeros((0, 2), int), none, none, np.zeros(0, bool), np.zeros(0))


def _party(shot: Shot, crystal: Crystal, names: tuple[str, ...]) -> Party:
    found, species = shot.detections, _species(shot, crystal, names)
    free = mobile(crystal, species, found.sublattice)
    return Party(shot.cells, found.sublattice, species, free, np.zeros(len(found)))


def _species(shot: Shot, crystal: Crystal, names: tuple[str, ...]) -> np.ndarray:
    """Species nearest in intensity among those of the site."""
    readings = list(crystal.readings)
    height = np.array([crystal.reading_intensity(r) for r in readings])
    site = np.array([r.sublattice for r in readings])
    gap = np.abs(shot.detections.centre[:, None] - height)
    gap[shot.detections.sublattice[:, None] != site] = np.inf
    code = np.array([names.index(r.species) for r in readings], np.int8)
    return np.asarray(code[gap.argmin(axis=1)])


def by_trackpy(
    shots: Sequence[Shot], reach: float, clock: Clock = time.process_time
) -> tuple[list[Told], list[float]]:
    """Tracks by trackpy from the same sites, and seconds spent on each frame."""
    trackpy.quiet()
    places = [site_places(shot.cells, shot.detections.sublattice) for shot in shots]
    told: list[Told] = []
    spent: list[float] = []
    links = trackpy.link_iter(places, search_range=reach, memory=GAP)
    for shot in shots:
        start = clock()
        _, numbers = next(links)
        spent.append(clock() - start)
        told.append((shot.ident, np.asarray(numbers)))
    return told, spent


@dataclass(frozen=True)
class Row:
    """One linker on one scene: its score, and the median over frames of what it took."""

    linker: str
    defects: float
    crowding: float
    score: Score
    ms: float


def compare(scene: Scene, frames: int, seed: int) -> list[Row]:
    """All linkers on the same frames of a scene."""
    shots, crystal = list(islice(simulate(scene, seed), frames)), crystal_named(scene.crystal)
    runs = [("tracker", tracked(shots, crystal)), ("link", linked(shots, crystal))]
    for reach in RANGES:
        try:
            runs.append((f"trackpy {reach}", by_trackpy(shots, reach)))
        except trackpy.SubnetOversizeException:
            continue  # it gives up where defects stand too close
    seen = float(np.median([len(shot.ident) for shot in shots]))
    return [
        Row(name, seen, scene.crowding, score(told), 1000 * float(np.median(spent)))
        for name, (told, spent) in runs
    ]


def table(rows: Iterable[Row]) -> str:
    """Lay the rows out as text."""
    lines = [
        "defects a frame  crowding  linker       right %  wrong %   ms a frame",
        *(
            f"{row.defects:15.0f}  {row.crowding:8.0f}  {row.linker:11s}  "
            f"{100 * row.score.right:7.2f}  {100 * row.score.wrong:7.2f}  {row.ms:11.2f}"
            for row in rows
        ),
    ]
    return "\n".join(lines)


def main_table(quick: bool) -> str:
    """Links right and wrong, and the processor time of a frame, for all linkers."""
    frames = 40 if quick else 200
    scenes = [Scene(defects=100), Scene(defects=500), Scene(defects=500, crowding=4)]
    if not quick:
        scenes.append(Scene(defects=2000))
    rows = [row for k, scene in enumerate(scenes) for row in compare(scene, frames, k)]
    return (
        "Links: 5 % of the defects missed, 2 % false, vacancies hopping at the simulator's rates; "
        f"{frames} frames.\n{table(rows)}\n"
    )
