"""Agreement of a segmenter with the labels of good frames by dose, and what a check costs.

    python bench/agreement.py [--model FILE] [--frames 20] [--size 512] [--kinds] [--repeats FRAMES]

With ``--kinds`` by specimen and imaging in place of the dose. With ``--repeats`` also the
correlation of a column's outcomes in a movie's checks, ten frames apart:
`latticewatch.standing.REPEAT_SHARE`.
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

#: Crystal, and how it is imaged.
Condition = tuple[str, ImagingConfig]

#: Analyses of one frame that are timed.
TIMED = 15


def imaged(dose: float = 1600.0, crystal: str = "WS2", **imaging: float) -> Condition:
    return crystal, ImagingConfig(dose_e_per_pixel=dose, **imaging)


#: What the shipped model was trained for, to the edge of it and beyond.
KINDS = {
    "MoS2": imaged(crystal="MoS2"),
    "WSe2": imaged(crystal="WSe2"),
    "graphene, 6,400 electrons a pixel": imaged(6400.0, "graphene"),
    "WS2, skew 0.22": imaged(skew=0.22),
    "WS2, stretch 1.25": imaged(stretch=1.25),
    "WS2, jitter 1 px": imaged(jitter_px=1.0),
    "WS2, 0.06 nm a pixel": imaged(pixel_size_nm=0.06),
    "WS2, 0.012 nm a pixel": imaged(pixel_size_nm=0.012),
    "WS2, probe 0.16 nm": imaged(probe_fwhm_nm=0.16),
    "WS2, film of half a column": imaged(film=0.5),
    "WS2, contamination 0.6 of a column": imaged(contamination=0.6),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", metavar="FILE", help="ONNX; none: the shipped one")
    parser.add_argument("--frames", type=int, default=20, help="to a dose")
    parser.add_argument("--size", type=int, default=512, metavar="PX")
    parser.add_argument("--kinds", action="store_true", help="specimens and imaging, not doses")
    parser.add_argument("--repeats", type=int, metavar="FRAMES", help="checks of each movie")
    options = parser.parse_args()
    analyser = Analyser(Segmenter(options.model, threads=1), check=True)
    conditions = KINDS if options.kinds else {f"{dose:,}": imaged(dose) for dose in DOSES}
    print(f"| {'frames' if options.kinds else 'dose, e/px'} | columns | labels found ", end="")
    print("| marks labelled | agreement |\n|---|---|---|---|---|")
    with blas_threads():
        for name, (crystal, imaging) in conditions.items():
            told = row(analyser, options.frames, options.size, crystal, imaging)
            print(f"| {name} | {told}", flush=True)
        spent, alone = cost(analyser, options.size)
        print(f"\nprocessor time of a frame: {spent:.0f} ms with its check, {alone:.0f} ms without")
        if options.repeats:
            print(f"\ncorrelation of outcomes: {repeats(analyser.segmenter, options.repeats):.2f}")
    return 0


def row(analyser: Analyser, frames: int, size: int, crystal: str, imaging: ImagingConfig) -> str:
    """One line of the table, after its name."""
    counts = Counts()
    for number in range(frames):
        seed = FIRST_SEED + number
        found = analyser(simulated(crystal, size, seed, imaging).acquire().image)
        assert found.agreement is not None  # noqa: S101 - it was asked for
        counts += found.agreement
    told = agreement_of(counts, 1)  # every frame is of another specimen
    return (
        f"{counts.total} | {counts.agreed / max(1, counts.agreed + counts.missed):.3f} "
        f"| {counts.agreed / max(1, counts.agreed + counts.unlabelled):.3f} "
        f"| {told.mean or 0:.3f} ({told.low:.3f} to {told.high:.3f}) |"
    )


def cost(analyser: Analyser, size: int) -> tuple[float, float]:
    """Processor time of a frame with and without its check, ms, medians of `TIMED`, in turn."""
    image = simulated("WS2", size, FIRST_SEED, ImagingConfig()).acquire().image
    spent: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * TIMED):
        check = number % 2 == 0
        start = time.process_time()
        replace(analyser, check=check)(image)
        spent[check].append(1000 * (time.process_time() - start))
    return float(np.median(spent[True])), float(np.median(spent[False]))


def simulated(crystal: str, size: int, seed: int, imaging: ImagingConfig) -> Microscope:
    """Specimen at a random rotation."""
    rotation = float(np.random.default_rng(seed).uniform(0.0, 60.0))
    specimen = SpecimenConfig(metal_vacancy_fraction=0.01)
    settings = replace(imaging, rotation_deg=rotation)
    return Microscope(crystal, (size, size), seed, specimen, settings)


def repeats(segmenter: Segmenter, checks: int) -> float:
    """Intraclass correlation (one-way) of whether a labelled defect is found, check after check."""
    outcomes: dict[tuple[int, int], list[bool]] = defaultdict(list)
    for seed in range(3):
        movie = simulated("WS2", 256, FIRST_SEED + seed, ImagingConfig(drift_nm_per_frame=0.0))
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
