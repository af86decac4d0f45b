"""The tracker: one frame's detections in, rows of the defect table and kinetics out.

Pure state and update: no clock, no files, no threads. One writer applies frames strictly in order.
"""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np

from latticewatch.detections import Detections, FrameInfo
from latticewatch_models.crystal import Crystal

from . import codec, crystallography, memory
from .anchor import ALIKE, Alignment, align
from .beliefs import Past, recall
from .class_changes import settle_classes
from .clustering import Windows
from .column_evidence import TURN_OF_LOOKS, TURN_OF_MEMBERS, TURNS, look_again
from .following import close, follow, margin
from .fusion import Told, fuse, named
from .interpretation import class_moments
from .newest import newest
from .observation import (
    Observation,
    anchored,
    check_finite,
    name_species,
    observe,
)
from .settings import TrackerSettings
from .site_grid import SiteGrid
from .species import Readings, class_posterior, host_heights, readings, species_names
from .statistics import infer, statistics
from .update import ClosedTrack, Event, Update, defect_table, empty_table


class Tracker:
    """Follows defects from frame to frame and keeps their kinetics.

    Parameters
    ----------
    settings
        What a user may change.
    crystal
        The specimen: its sites, readings and dopant states.
    """

    def __init__(self, settings: TrackerSettings, crystal: Crystal) -> None:
        self.settings = settings
        self.crystal = crystal
        self._margin = margin(settings)
        self._memory = memory.fresh(settings, crystal)
        self._inferred: tuple[int, dict[str, object]] | None = None  # at which frame; not state

    @property
    def frame(self) -> int:
        """Number of the last frame applied, -1 before the first."""
        return self._memory.frame

    @property
    def time_s(self) -> float:
        """Acquisition time of the last frame applied."""
        return self._memory.time_s

    def apply(self, info: FrameInfo, detections: Detections | None) -> Update:
        """Take in one frame, or None for a frame that is missing or was rejected.

        Frames count from 0; those that are skipped altogether count as missing. Raises ValueError
        if `info.frame` does not come after the last one or detections hold NaN; the state is then
        unchanged.
        """
        now = self._memory
        if info.frame <= now.frame:
            raise ValueError(
                f"frame {info.frame} after frame {now.frame}: apply frames once and in order"
            )
        if detections is not None:
            check_finite(detections)
        now.missing += info.frame - now.frame - 1
        now.frame, now.time_s = info.frame, info.time_s
        if detections is None:
            now.missing += 1
            closed, events = self._close_stale(info.frame)
            return Update(info.frame, empty_table(), closed, tuple(events), self._drift(), True)
        return self._apply(info, detections)

    def finish(self) -> Update:
        """Close all open tracks, at the end of a run; a later frame then starts new ones."""
        closed, events = close(self._memory, np.ones(len(self._memory.tracks), bool), self.crystal)
        return Update(self._memory.frame, empty_table(), closed, tuple(events), self._drift())

    def statistics(self, kept: int = 0) -> dict[str, object]:
        """Everything learnt so far, as plain JSON-able values, each estimate with its interval.

        What `statistics.infer` estimates costs more than all the rest together; it may be that of
        up to `kept` frames ago, and ``inferred_at_frame`` says which.
        """
        if self._inferred is None or not 0 <= self.frame - self._inferred[0] < kept:
            inferred = self.infer()
        else:
            inferred = self._inferred[1]
        return statistics(self._memory, self.settings, self.crystal, self._readings(), inferred)

    @property
    def inferred_at(self) -> int:
        """Frame that the costly estimates are of; -1 before they were made."""
        return -1 if self._inferred is None else self._inferred[0]

    def infer(self) -> dict[str, object]:
        """Make the costly estimates of `statistics`, for it to find in the next frames."""
        inferred = infer(self._memory, self.settings, self.crystal)
        self._inferred = self.frame, inferred
        return inferred

    def newest(self) -> dict[str, object]:
        """Density, fractions and counts of the last frame alone; empty before the first."""
        return newest(self._memory, self.crystal)

    def save(self) -> bytes:
        """Return the whole state; equal histories give equal bytes."""
        return codec.pack(memory.to_state(self._memory, self.settings, self.crystal))

    @classmethod
    def restore(cls, data: bytes, settings: TrackerSettings, crystal: Crystal) -> Tracker:
        """Resume from `save`; raises ValueError for another crystal, version or settings."""
        tracker = cls(settings, crystal)
        tracker._memory = memory.from_state(codec.unpack(data), settings, crystal)
        return tracker

    def _apply(self, info: FrameInfo, detections: Detections) -> Update:
        """Anchor, classify, link, count."""
        # Frames that never came may have left tracks that are too old to be continued.
        closed, events = self._close_stale(info.frame - 1)
        alignment = self._align(info, detections)
        if alignment.lost:
            lost, ended = close(self._memory, np.ones(len(self._memory.tracks), bool), self.crystal)
            closed += lost
            self._memory.windows = Windows.empty()
            self._memory.watch = self._memory.watch.anew(self.crystal)
            events += [Event(info.frame, "lattice_lost"), *ended]
        self._settle_pixel_size(info, detections)
        detections, told = self._fuse(info.frame, detections, alignment)
        warm = self._memory.classifier.mixture is not None
        seen, keep, entries = self._observe(info.frame, detections, alignment, told)
        if not warm and self._memory.classifier.mixture is not None:
            events.append(Event(info.frame, "warm"))
        track, gone, happened = follow(
            self._memory, info, seen, self.crystal, self.settings, entries
        )
        self._memory.displacements = crystallography.look(
            self._memory.displacements, detections, keep, seen, track, alignment, self.crystal
        )
        changed = self._count(info, detections, seen, warm)
        table = defect_table(
            info,
            detections,
            keep,
            seen,
            track,
            (species_names(self.crystal), self.crystal.states),
            self._drift(),
            self._memory.pixel_size_nm,
        )
        events += happened + changed + settle_classes(self._memory, self.settings)
        return Update(info.frame, table, closed + gone, tuple(events), self._drift())

    def _align(self, info: FrameInfo, detections: Detections) -> Alignment:
        """Carry the gauge on."""
        now = self._memory
        if not now.frames:
            now.first_time_s = info.time_s
        now.anchor, alignment = align(
            now.anchor,
            detections.lattice,
            info.frame,
            (now.tracks["cell"], now.tracks["sublattice"]),
            (detections.cells, detections.sublattice),
            info.shape,
            alike=self.crystal.host_intensity(1) >= ALIKE,
        )
        x, y = now.anchor.matrix[:, 0]
        now.rotation_deg = math.degrees(math.atan2(y, x))
        return alignment

    def _settle_pixel_size(self, info: FrameInfo, detections: Detections) -> None:
        """Fix the pixel size on the first frame: a size that moved would look like diffusion."""
        now = self._memory
        if now.pixel_source:
            return
        if info.pixel_size_nm is not None:
            now.pixel_size_nm, now.pixel_source = float(info.pixel_size_nm), "header"
            return
        now.pixel_size_nm = self.crystal.lattice_constant_nm / detections.lattice.constant
        now.pixel_source = "lattice"

    def _fuse(
        self, frame: int, detections: Detections, alignment: Alignment
    ) -> tuple[Detections, Told]:
        """Put what all frames tell of vacancies in the place of what this one does."""
        now, least = self._memory, self.settings.vacancy_threshold
        now.sites, merged, told = fuse(now.sites, frame, detections, alignment, self.crystal, least)
        if now.frames % TURNS == TURN_OF_LOOKS:
            now.columns = look_again(now.columns, now.tracks, detections, told, self.crystal)
        if told.expected is not None:
            now.vacancies = now.vacancies.add(np.array([told.expected]))
        return merged, told

    def _observe(
        self, frame: int, detections: Detections, alignment: Alignment, fused: Told
    ) -> tuple[Observation, np.ndarray, np.ndarray]:
        """Sites, classes, species and states; which detections were kept; where the tracks are."""
        now = self._memory
        cells, sublattice, sample = anchored(detections, alignment)
        grid, keep = SiteGrid.of_first(cells, sublattice, self._margin)
        now.duplicates += len(cells) - len(keep)
        if len(keep) < len(cells):
            cells, sublattice, sample = cells[keep], sublattice[keep], sample.take(keep)
            fused = fused.take(keep)
        entries = grid.entries(now.tracks["cell"], now.tracks["sublattice"])
        known = recall(now.tracks, grid.rows[entries], len(keep), frame)
        table = self._readings(detections)
        look = now.classifier.look(sample)
        told, classes = None, (np.full(len(keep), -1), np.zeros(len(keep)))
        if look is not None:
            of_class = class_posterior(table, *class_moments(now.classifier.sums))
            told = (of_class.T @ look.probability).T
            probability = look.probability.max(axis=0)
            classes = (np.where(fused.bare, -1, look.best), np.where(fused.bare, 0.0, probability))
        past = Past(now.tracks, known, now.soft_steps)
        species, posterior = name_species(
            table, told, (cells, sample), (detections, keep), past, self.settings
        )
        species, posterior = named(fused, table, species, posterior, self.crystal)
        inner = (~(detections.in_hole[keep] | fused.bare)).nonzero()[0]
        taught = sample, look
        if len(inner) < len(sample):
            taught = sample.take(inner), None if look is None else look.take(inner)
        now.classifier = now.classifier.learnt(
            *taught,
            self.settings,
            self._floor(fmean(detections.noise)),
        )
        if taught[1] is not None and now.frames % TURNS == TURN_OF_MEMBERS:
            r, members = taught[1].probability, taught[0]
            now.columns = now.columns.with_members(r, members, detections.noise, self.crystal)
        seen = observe(
            (cells, sublattice, grid),
            (species, posterior),
            sample.neighbours,
            classes,
            detections.noise,
            table,
            self.crystal,
            self.settings,
            past,
            fused.columns,
        )
        now.soft_steps = now.soft_steps + seen.soft_steps
        if math.isfinite(seen.doubt):
            now.doubt = now.doubt.add(np.array([seen.doubt]))
        return seen, keep, entries

    def _floor(self, noise: float) -> float:
        """Least class variance: that of the measurement, from the mean noise of all frames."""
        optics = self._memory.optics
        mean = (float(optics.total[memory.NOISE]) + noise) / (optics.n + 1)
        return max(self.settings.covariance_floor, mean**2)

    def _readings(self, detections: Detections | None = None) -> Readings:
        """List expected intensities, by the mean host height up to and with this frame."""
        optics = self._memory.optics
        total, n = float(optics.total[memory.HEIGHT]), optics.n
        if detections is not None:
            total, n = total + detections.lattice.heights[1], n + 1
        height = total / n if n else None
        hosts = host_heights(self.crystal, height)
        return readings(self.crystal, hosts, self.settings.intensity_systematic)

    def _count(
        self, info: FrameInfo, detections: Detections, seen: Observation, warm: bool
    ) -> list[Event]:
        """Add this frame's populations, fractions and lattice constant to their series.

        Returns the changes that they show.
        """
        now = self._memory
        kinds = len(now.defects.total) - len(self.crystal.states)
        species = np.bincount(seen.species[seen.row], minlength=kinds)
        states = np.bincount(seen.state + 1, minlength=len(self.crystal.states) + 1)[1:]
        fractions = np.asarray(detections.fractions, float)
        area = info.shape[0] * info.shape[1] * now.pixel_size_nm**2 * (1.0 - fractions[2])
        density = np.count_nonzero(seen.row) / area if area > 0 else 0.0
        lattice = detections.lattice
        noise = fmean(detections.noise)
        values = [lattice.constant, *fractions.tolist(), density, lattice.heights[1], noise]
        now.optics = now.optics.add(np.array(values))
        now.defects = now.defects.add(np.concatenate([species, states]))
        if warm:
            members = np.bincount(seen.class_id[seen.row] + 1, minlength=self.settings.room + 1)
            now.members = now.members.add(members[1:])
        now.frames += 1
        now.watch, changed = now.watch.look(
            now.optics.last[:4],
            (density, area),
            now.defects.last,
            info.frame,
            self.crystal,
            self.settings.credible,
        )
        return changed

    def _close_stale(self, frame: int) -> tuple[tuple[ClosedTrack, ...], list[Event]]:
        """Close tracks that no frame after this one could continue."""
        unseen = frame - self._memory.tracks["last_frame"]
        return close(self._memory, unseen > self.settings.max_gap_frames, self.crystal)

    def _drift(self) -> tuple[float, float]:
        anchor = self._memory.anchor
        return (0.0, 0.0) if anchor is None else (float(anchor.drift[0]), float(anchor.drift[1]))
