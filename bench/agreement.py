"""Agreement of a segmenter with the labels of good frames by dose, and what a check costs.

    python bench/agreement.py [--model FILE] [--frames 20] [--size 512] [--repeats FRAMES]

With ``--repeats`` also the correlation of a column's outcomes in a movie's checks, ten frames
apart: `latticewatch.standing.REPEAT_SHARE`.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import replace

import numpy as np

from latticewatch.agreement import Counts
from latticewatch.analysis import Analyser
from latticewatch.standing import agreement_of
from latticewatch.threads import blas_threads
from latticewatch_models.holdout import detect
from latticewatch_models.labelled import label_frame
from latticewatch_models.microscope import ImagingConfig, Microscope, SpecimenConfig
from latticewatch_models.runtime import Segmenter
from latticewatch_models.scoring import MATCH_DISTANCE, match

DOSES = (200, 400, 800, 1600, 3200, 6400, 20000)

#: Apart from all seeds of training and of the other benches.
FIRST_SEED = 910_000_000

#: Analyses of one frame that are timed.
TIMED = 15


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", metavar="FILE", help="ONNX; none: the shipped one")
    parser.add_argument("--frames", type=int, default=20, help="to a dose")
    parser.add_argument("--size", type=int, default=512, metavar="PX")
    parser.add_argument("--repeats", type=int, metavar="FRAMES", help="checks of each movie")
    options = parser.parse_args()
    analyser = Analyser(Segmenter(options.model, threads=1), check=True)
    print("| dose, e/px | columns | labels found | marks labelled | agreement |")
    print("|---|---|---|---|---|")
    with blas_threads():
        for dose in DOSES:
            print(row(analyser, dose, options.frames, options.size), flush=True)
        spent, alone = cost(analyser, options.size)
        print(f"\nprocessor time of a frame: {spent:.0f} ms with its check, {alone:.0f} ms without")
        if options.repeats:
            print(f"\ncorrelation of outcomes: {repeats(analyser.segmenter, options.repeats):.2f}")
    return 0


def row(analyser: Analyser, dose: float, frames: int, size: int) -> str:
    """One line of the table."""
    counts = Counts()
    for number in range(frames):
        found = analyser(simulated(dose, size, FIRST_SEED + number).acquire().image)
        assert found.agreement is not None  # noqa: S101 - it was asked for
        counts += found.agreement
    told = agreement_of(counts, 1)  # every frame is of another specimen
    return (
        f"| {dose} | {counts.total} | {counts.agreed / max(1, counts.agreed + counts.missed):.3f} "
        f"| {counts.agreed / max(1, counts.agreed + counts.unlabelled):.3f} "
        f"| {told.mean or 0:.3f} ({told.low:.3f} to {told.high:.3f}) |"
    )


def cost(analyser: Analyser, size: int) -> tuple[float, float]:
    """Processor time of a frame with and without its check, ms, medians of `TIMED`, in turn."""
    image = simulated(1600.0, size, FIRST_SEED).acquire().image
    spent: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * TIMED):
        check = number % 2 == 0
        start = time.process_time()
        replace(analyser, check=check)(image)
        spent[check].append(1000 * (time.process_time() - start))
    return float(np.median(spent[True])), float(np.median(spent[False]))


def simulated(dose: float, size: int, seed: int, **imaging: float) -> Microscope:
    """WS2 at a random rotation."""
    rotation = float(np.random.default_rng(seed).uniform(0.0, 60.0))
    settings = ImagingConfig(dose_e_per_pixel=dose, rotation_deg=rotation, **imaging)
    specimen = SpecimenConfig(metal_vacancy_fraction=0.01)
    return Microscope("WS2", (size, size), seed, specimen, settings)


def repeats(segmenter: Segmenter, checks: int) -> float:
    """Intraclass correlation (one-way) of whether a labelled defect is found, check after check."""
    outcomes: dict[tuple[int, int], list[bool]] = defaultdict(list)
    for seed in range(3):
        movie = simulated(1600.0, 256, FIRST_SEED + seed, drift_nm_per_frame=0.0)
        for frame in movie.frames(10 * checks):
            if frame.truth.frame % 10:
                continue
            labelled = label_frame(frame.image)
            points, _ = detect(segmenter, labelled, 0.5)
            reach = MATCH_DISTANCE * labelled.lattice.constant
            hit = np.zeros(len(labelled.points.points), bool)
            hit[match(points, labelled.points.points, reach)[1]] = True
            for label, true in zip(
                *match(labelled.points.points, frame.truth.points, reach), strict=True
            ):
                outcomes[seed, int(frame.truth.ident[true])].append(bool(hit[label]))
    groups = [np.array(one, float) for one in outcomes.values() if len(one) > 1]
    sizes = np.array([len(one) for one in groups])
    total, count = sizes.sum(), len(groups)
    mean = np.concatenate(groups).mean()
    between = sum(len(one) * (one.mean() - mean) ** 2 for one in groups) / (count - 1)
    within = sum(((one - one.mean()) ** 2).sum() for one in groups) / (total - count)
    looks = (total - (sizes**2).sum() / total) / (count - 1)
    return float((between - within) / (between + (looks - 1) * within))


if __name__ == "__main__":
    raise SystemExit(main())
