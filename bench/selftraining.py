"""How far a segmenter gets that was taught by one frame's own Bragg peaks.

The frame to train on is written first, and the model judged afterwards, beside the labels that
taught it and beside the shipped model, on the same new frames::

  python bench/selftraining.py --write frame.npy
  latticewatch train frame.npy --frames 0:1 --out self.onnx
  python bench/selftraining.py --model self.onnx --frames 40
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from judging.counting import Found, tally
from judging.frames import Condition, judged
from judging.measure import measure, test_frames
from judging.ours import Ours

from latticewatch_models.labelled import label_frame
from latticewatch_models.microscope import ImagingConfig, Microscope, SimulatedFrame, SpecimenConfig
from latticewatch_models.runtime import Segmenter
from latticewatch_models.scenes import HOLE_RIM
from latticewatch_models.scoring import MATCH_DISTANCE, Score
from latticewatch_models.validation import judge, validation_frame

DOSES = (400.0, 800.0, 1600.0, 3200.0, 6400.0)

#: Of the frame that is trained on; no frame that is judged has it.
SEED = 900_001

#: Number of the first validation frame that is judged: thresholds of the labels were chosen with
#: an eye on the first twenty.
FIRST = 1000
SPECIES = ("MoW", "VW", "VS", "VS2", "adatom")


def training_frame() -> np.ndarray:
    """WS2, 512 x 512, 1,600 electrons a pixel, as specimen and imaging of the judged frames."""
    specimen = SpecimenConfig(metal_vacancy_fraction=0.01)
    imaging = ImagingConfig(dose_e_per_pixel=1600.0, rotation_deg=17.0)
    return Microscope("WS2", (512, 512), SEED, specimen, imaging).acquire().image


def judge_labels(frames: list[SimulatedFrame]) -> Score:
    """Score the point labels as `validation.judge` scores a segmenter."""
    score = Score()
    for frame in frames:
        truth = frame.truth
        rim = HOLE_RIM * truth.lattice.constant
        points = label_frame(frame.image).points.points
        points = points[~truth.in_hole(points, rim)]
        beyond = truth.in_hole(truth.points, rim)
        reach = MATCH_DISTANCE * truth.lattice.constant
        score.add(points, truth.points, truth.species, reach, ignore=beyond)
    return score


def describe(name: str, dose: float, score: Score) -> str:
    """One row of the table."""
    cells = [score.precision(), score.recall(), score.f1()]
    cells += [score.recall([species]) for species in SPECIES]
    cells.append(score.position_error())
    return f"| {dose:g} | {name} | " + " | ".join(f"{c:.3f}" for c in cells) + " |"


def in_service(model: Path, frames: int) -> str:
    """F1 of the service with the model, and of the labels alone, as bench/accuracy.py counts.

    There vacancies bound to a dopant, which its state tells of, are neither hits nor false alarms.
    """
    ours, shipped = Ours.load(model), Ours.load(None)
    lines = [
        "| dose, e/px | labels | service, self-trained | service, shipped |",
        "|---|---|---|---|",
    ]
    for dose in DOSES:
        condition = Condition(dose)
        drawn = test_frames(condition, frames)
        points = [label_frame(frame.image).points.points for frame in drawn]
        labels = tally(
            (Found(found, np.ones(len(found))), judged(frame.truth))
            for found, frame in zip(points, drawn, strict=True)
        )
        f1 = [labels.f1(), *(measure(one, condition, drawn).sure.f1() for one in (ours, shipped))]
        lines.append(f"| {dose:g} | " + " | ".join(f"{value:.3f}" for value in f1) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the frame to train on")
    parser.add_argument("--model", type=Path, metavar="FILE", help="judge this model")
    parser.add_argument("--frames", type=int, default=40, help="to a dose (%(default)s)")
    options = parser.parse_args()
    if options.write:
        np.save(options.write, training_frame())
    if not options.model:
        return
    models = {"self-trained": Segmenter(options.model, threads=1), "shipped": Segmenter(threads=1)}
    print(
        "| dose, e/px | | precision | recall | F1 |" + "".join(f" {s} |" for s in SPECIES), "px |"
    )
    print("|---" * 11 + "|")
    for dose in DOSES:
        frames = [validation_frame(dose, FIRST + index) for index in range(options.frames)]
        print(describe("labels", dose, judge_labels(frames)))
        for name, model in models.items():
            print(describe(name, dose, judge(model.segment, frames).score))
    print(in_service(options.model, options.frames))


if __name__ == "__main__":
    main()
