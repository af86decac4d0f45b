"""Single S vacancies told by one frame and by several, on simulated movies with known truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from judging.frames import Judged, judged

from latticewatch.analysis import Analyser
from latticewatch.detections import Detections, FrameInfo
from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.kinetics import Rates
from latticewatch_models.microscope import ImagingConfig, Microscope, SpecimenConfig
from latticewatch_models.scoring import match

CRYSTAL, SPECIES = "WS2", "VS"
SHAPE = (256, 256)

#: Apart from all seeds of training and of the other benches.
FIRST_SEED = 1_610_000_000

#: A specimen in which nothing moves or breaks.
AT_REST = Rates(**{f.name: 0.0 for f in fields(Rates)})


@dataclass(frozen=True)
class Frame:
    """One frame as analysed, and its truth."""

    info: FrameInfo
    detections: Detections
    truth: Judged


@dataclass(frozen=True)
class Counts:
    """True, reported and rightly reported vacancies by number of the frame, (frames,) each."""

    true: np.ndarray
    reported: np.ndarray
    right: np.ndarray

    @property
    def f1(self) -> np.ndarray:
        """F1 by number of the frame."""
        return np.asarray(2.0 * self.right / np.maximum(self.true + self.reported, 1))


def movie(analyser: Analyser, seed: int, dose: float, rates: Rates, frames: int) -> Iterator[Frame]:
    """Acquire and analyse a movie; the seed turns its lattice."""
    rotation = float(np.random.default_rng(seed).uniform(-60, 60))
    imaging = ImagingConfig(dose_e_per_pixel=dose, rotation_deg=rotation)
    microscope = Microscope(CRYSTAL, SHAPE, seed, SpecimenConfig(rates=rates), imaging)
    for number, frame in enumerate(microscope.frames(frames)):
        time_s = number * imaging.frame_time_s
        info = FrameInfo(number, time_s, SHAPE, imaging.pixel_size_nm, imaging.frame_time_s)
        yield Frame(info, analyser(frame.image), judged(frame.truth))


def count(truth: Judged, table: dict[str, np.ndarray]) -> np.ndarray:
    """Count true, reported and right vacancies of a table's rows, (3,).

    Those that do not count (border, hole's rim, bound to a dopant) are neither hits nor misses.
    """
    points = np.stack([table["x_px"], table["y_px"]], axis=-1)
    points = points[table["species"].astype(str) == SPECIES]
    mine, true = match(points, truth.points, truth.reach_px)
    wanted = truth.counts & (truth.species == SPECIES)
    # a row beside a defect counts as that defect does, on whichever side of the border it lies
    reported = truth.inside(points)
    reported[mine] = truth.counts[true]
    return np.array([wanted.sum(), reported.sum(), wanted[true].sum()])


def trial(
    dose: float, rates: Rates, movies: int, frames: int, first_seed: int = FIRST_SEED
) -> tuple[Counts, Counts]:
    """Count what each frame tells on its own, and what the tracker tells after it."""
    crystal = CRYSTALS[CRYSTAL]
    analyser, total = Analyser(crystal=crystal), np.zeros((2, frames, 3))
    for k in range(movies):
        tracker = Tracker(TrackerSettings(), crystal)
        for frame in movie(analyser, first_seed + k, dose, rates, frames):
            alone = Tracker(TrackerSettings(), crystal)
            number = frame.info.frame
            for kind, one in enumerate((alone, tracker)):
                table = one.apply(frame.info, frame.detections).table
                total[kind, number] += count(frame.truth, table)
    single, fused = (Counts(*part.T) for part in total)
    return single, fused


def latency(fused: Counts, share: float) -> int | None:
    """Frames, the first counted as one, until that share of the vacancies is reported."""
    there = fused.right / np.maximum(fused.true, 1)
    reached = np.flatnonzero(there >= share)
    return int(reached[0]) + 1 if len(reached) else None


def main_table(quick: bool = False) -> str:
    """F1 of single S vacancies by dose and number of frames."""
    movies, frames = (3, 10) if quick else (16, 20)
    shown = [n for n in (1, 2, 3, 5, 10, 20) if n <= frames]
    lines = [
        f"F1 of {SPECIES} in {movies} movies of {SHAPE[0]} x {SHAPE[1]}; one frame: mean over all",
        "| specimen | dose, e/px | one frame | "
        + " | ".join(f"after {n}" for n in shown)
        + " | frames until half / 0.9 are reported |",
        "|" + " --- |" * (4 + len(shown)),
    ]
    for name, rates in (("at rest", AT_REST), ("default rates", Rates())):
        for dose in (800.0, 1600.0, 3200.0, 6400.0):
            single, fused = trial(dose, rates, movies, frames)
            pooled = Counts(*(np.atleast_1d(part.sum()) for part in vars(single).values()))
            cells = [f"{fused.f1[n - 1]:.3f}" for n in shown]
            waits = " / ".join(str(latency(fused, share) or "never") for share in (0.5, 0.9))
            row = [name, f"{dose:.0f}", f"{pooled.f1[0]:.3f}", *cells, waits]
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)
