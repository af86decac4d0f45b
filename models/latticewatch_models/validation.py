"""Judge a segmenter on simulated frames that no training has seen: accuracy by dose and species."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import ImagingConfig, Microscope, SimulatedFrame, SpecimenConfig
from latticewatch_models.observer import best_f1, detectability
from latticewatch_models.runtime import Segmenter
from latticewatch_models.scenes import HOLE_RIM, scene_of
from latticewatch_models.scoring import MATCH_DISTANCE, Score, calibration_error, match
from latticewatch_models.segmentation import MERGE_DISTANCE, Segmentation

#: Seeds of validation frames start here, far above any that training draws its scenes by: those
#: come out of a generator's 62 bits, these are counted up.
FIRST_SEED = 700_000_000

#: Doses of the table, electrons a pixel at 0.03 nm a pixel.
DOSES = (200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0, 20000.0)

#: Detections surer than this count.
THRESHOLD = 0.5

#: Columns nearer to the border than this are not judged: half of their image lies outside.
COLUMN_BORDER_PX = 4.0

#: A false alarm counts against the species of the site that it lies on.
SITE_SPECIES: dict[str, tuple[str, ...]] = {
    "metal": ("MoW", "VW", "V@Mo", "VMo", "SiC", "VC"),
    "chalcogen": ("VS", "VS2", "VSe", "VSe2"),
    "empty": ("adatom",),
}
_SITE_NAMES = np.array(tuple(SITE_SPECIES))


@dataclass(frozen=True)
class Result:
    """Accuracy over some frames: the counts, and the calibration of single detections."""

    score: Score
    calibration_error: float
    frames: int


def validation_frame(
    dose: float, index: int, shape: tuple[int, int] = (256, 256)
) -> SimulatedFrame:
    """WS2 at default settings but for dose and rotation; reproducible by dose and index."""
    seed = FIRST_SEED + index
    imaging = ImagingConfig(
        dose_e_per_pixel=dose, rotation_deg=float(np.random.default_rng(seed).uniform(-60, 60))
    )
    specimen = SpecimenConfig(metal_vacancy_fraction=0.01)
    return Microscope("WS2", shape, seed, specimen, imaging).acquire()


def judge(
    segment: Callable[[np.ndarray], Segmentation],
    frames: Sequence[SimulatedFrame],
    threshold: float = THRESHOLD,
) -> Result:
    """Count hits, misses and false alarms of a segmenter on frames at its own scale.

    Parameters
    ----------
    segment
        `Segmenter.segment`.
    frames
        Simulated frames with their truth.
    threshold
        Lowest probability that counts.

    Returns
    -------
    Result
        Hits and misses by species, false alarms by the kind of site they lie on (the keys of
        `SITE_SPECIES`); defects and detections in holes and on their rims are left out.
    """
    score = Score()
    claims, rights = [], []
    for frame in frames:
        truth = frame.truth
        scene = scene_of(frame.image, truth)
        seen = segment(scene.image)
        reach = MATCH_DISTANCE * truth.lattice.constant
        # calibration is judged on all that is claimed at 0.1 or more, not on the sure ones alone
        points, probability = seen.detections(0.1, MERGE_DISTANCE * truth.lattice.constant)
        clear = ~truth.in_hole(points, HOLE_RIM * truth.lattice.constant)
        points, probability = points[clear], probability[clear]
        right = np.zeros(len(points), bool)
        right[match(points, scene.points, reach)[0]] = True
        claims.append(probability)
        rights.append(right)
        sure = points[probability >= threshold]
        sites = _SITE_NAMES[truth.lattice.nearest_site(sure)[1]]
        rim = truth.in_hole(scene.points, HOLE_RIM * truth.lattice.constant)
        score.add(sure, scene.points, scene.species, reach, sites, rim)
    error = calibration_error(np.concatenate(claims), np.concatenate(rights))
    return Result(score, error, len(frames))


def table(segment: Callable[[np.ndarray], Segmentation], frames: int) -> str:
    """Accuracy by dose as a Markdown table, ``frames`` frames of 256 x 256 to a dose."""
    header = (
        "| dose, e/px | MoW recall | VW recall | metal-site precision | VS recall "
        "| chalcogen-site precision | VS F1 | VS F1, limit | VS2 recall | adatom recall "
        "| F1, all | position error, px | ECE |"
    )
    lines = [header, "|---" * 13 + "|"]
    for dose in DOSES:
        result = judge(segment, [validation_frame(dose, k) for k in range(frames)])
        s = result.score
        cells = [
            s.recall(["MoW"]),
            s.recall(["VW"]),
            s.precision(SITE_SPECIES["metal"], ["metal"]),
            s.recall(["VS"]),
            s.precision(SITE_SPECIES["chalcogen"], ["chalcogen"]),
            s.f1(["VS"], ["chalcogen"]),
            vacancy_limit(dose),
            s.recall(["VS2"]),
            s.recall(["adatom"]),
            s.f1(),
            s.position_error(),
            result.calibration_error,
        ]
        lines.append(f"| {dose:g} | " + " | ".join(f"{c:.3f}" for c in cells) + " |")
    return "\n".join(lines)


def judge_columns(
    segment: Callable[..., Segmentation],
    frames: Sequence[SimulatedFrame],
    threshold: float = THRESHOLD,
) -> Score:
    """Count atomic columns found and missed, by sublattice, and marks that are no column.

    As `judge`; columns and marks within `COLUMN_BORDER_PX` of the frame's border are left out.
    """
    score = Score()
    for frame in frames:
        lattice, columns = frame.truth.lattice, frame.columns
        scene = scene_of(frame.image, frame.truth)
        seen = segment(scene.image, columns=True)
        points, _ = seen.columns(threshold, MERGE_DISTANCE * lattice.constant)
        shape = scene.image.shape
        points = points[~_at_border(points, shape)]
        sites, beyond = _SITE_NAMES[columns.sublattice], _at_border(columns.points, shape)
        score.add(points, columns.points, sites, MATCH_DISTANCE * lattice.constant, ignore=beyond)
    return score


def _at_border(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    high = np.array(shape[::-1]) - 1 - COLUMN_BORDER_PX
    return np.asarray(((points < COLUMN_BORDER_PX) | (points > high)).any(axis=1))


def columns_table(segment: Callable[..., Segmentation], frames: int) -> str:
    """Accuracy of atomic columns by dose as a Markdown table; positions in picometres RMS."""
    lines = [
        "| dose, e/px | columns | recall | metal | chalcogen | precision | position error, pm |",
        "|---" * 7 + "|",
    ]
    for dose in DOSES:
        some = [validation_frame(dose, k) for k in range(frames)]
        s = judge_columns(segment, some)
        number = sum(s.hits.values()) + sum(s.misses.values())
        cells = [s.recall(), s.recall(["metal"]), s.recall(["chalcogen"]), s.precision()]
        error = s.position_error() * some[0].header["pixel_size_nm"] * 1000.0
        told = " | ".join(f"{c:.4f}" for c in cells)
        lines.append(f"| {dose:g} | {number} | {told} | {error:.1f} |")
    return "\n".join(lines)


def vacancy_limit(dose: float) -> float:
    """Best F1 that single sulphur vacancies allow at a dose, 0.03 nm a pixel, as common as here."""
    crystal = CRYSTALS["WS2"]
    reading = next(r for r in crystal.readings if r.species == crystal.vacancy)
    separation = detectability(crystal, reading, ImagingConfig(dose_e_per_pixel=dose))
    return best_f1(separation, SpecimenConfig().vacancy_fraction)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``python -m latticewatch_models.validation [--model FILE] [--frames N]``."""
    parser = argparse.ArgumentParser(prog="latticewatch_models.validation", description=__doc__)
    parser.add_argument("--model", type=Path, help="ONNX file; the shipped model without")
    parser.add_argument("--frames", type=int, default=20, help="frames to a dose")
    options = parser.parse_args(arguments)
    segmenter = Segmenter(options.model, threads=1)
    print(table(segmenter.segment, options.frames))  # noqa: T201
    if segmenter.card.columns:
        print("\n" + columns_table(segmenter.segment, options.frames))  # noqa: T201


if __name__ == "__main__":
    main()
