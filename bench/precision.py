"""What 16-bit floats change in what the segmenter sees, without a GPU.

    python bench/precision.py [--model FILE] [--frames N] [--doses E ...]
    python bench/precision.py --format bf16     # where the openvino extra is installed

The fp16 graph runs on the CPU provider, which rounds weights and activations to 16 bits and adds
up in 32, as the matrix units of a GPU do; brain floats are OpenVINO's. Both formats see the same
simulated frames; prints a Markdown table. Detections are those of probability 0.5 and more, paired
within 1 px.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from latticewatch_models.microscope import SimulatedFrame
from latticewatch_models.runtime import Segmenter
from latticewatch_models.scenes import scene_of
from latticewatch_models.tuning import Tuning
from latticewatch_models.validation import judge, validation_frame

#: Cells of the heat map at this and above count in the quantiles; the rest are nearly all 0.
SEEN = 0.01
PAIRED_PX = 1.0

HEADER = (
    "| dose, e/px | detections fp32 | {0} | not in both | probability, cells: median | 99 % "
    "| most | probability, detections: most | position, px: median | most | F1 fp32 | F1 {0} |\n"
    + "|---" * 12
    + "|"
)

#: What computes in each format without a GPU.
PROVIDERS = {"fp16": "cpu", "bf16": "openvino"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="the shipped model without")
    parser.add_argument("--frames", type=int, default=40, help="to a dose (%(default)s)")
    parser.add_argument("--doses", type=float, nargs="+", default=[400.0, 1600.0, 6400.0])
    parser.add_argument("--format", choices=PROVIDERS, default="fp16")
    options = parser.parse_args()
    full, half = (
        Segmenter(options.model, PROVIDERS[options.format], 1, tuning=Tuning(kind))
        for kind in ("fp32", options.format)
    )
    print(HEADER.format(options.format))
    for dose in options.doses:
        frames = [validation_frame(dose, k) for k in range(options.frames)]
        print(row(dose, full, half, frames))


def row(dose: float, full: Segmenter, half: Segmenter, frames: Sequence[SimulatedFrame]) -> str:
    """One line of the table."""
    cells, claims, shifts, counts, alone = [], [], [], np.zeros(2, int), 0
    for frame in frames:
        image = scene_of(frame.image, frame.truth).image
        ours, theirs = full.segment(image), half.segment(image)
        seen = np.maximum(ours.heat, theirs.heat) >= SEEN
        cells.append(np.abs(ours.heat - theirs.heat)[seen])
        found = ours.detections(), theirs.detections()
        counts += [len(points) for points, _ in found]
        paired = pairs(found[0][0], found[1][0])
        alone += sum(len(points) for points, _ in found) - 2 * len(paired)
        one, other = paired.T
        claims.append(np.abs(found[0][1][one] - found[1][1][other]))
        shifts.append(np.linalg.norm(found[0][0][one] - found[1][0][other], axis=1))
    heat, claim, shift = (np.concatenate(parts) for parts in (cells, claims, shifts))
    scores = [judge(segmenter.segment, frames).score.f1() for segmenter in (full, half)]
    told: list[Any] = [f"{dose:g}", *counts, alone]
    told += [f"{v:.1e}" for v in (np.median(heat), np.quantile(heat, 0.99), heat.max())]
    told += [f"{v:.1e}" for v in (claim.max(), np.median(shift), shift.max())]
    told += [f"{score:.4f}" for score in scores]
    return f"| {' | '.join(map(str, told))} |"


def pairs(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Give indices (n, 2) of points that are each other's nearest, within `PAIRED_PX`."""
    if not len(ours) or not len(theirs):
        return np.zeros((0, 2), int)
    gap, there = cKDTree(theirs).query(ours, distance_upper_bound=PAIRED_PX)
    _, back = cKDTree(ours).query(theirs)
    here = np.flatnonzero(np.isfinite(gap))
    mutual = here[back[there[here]] == here]
    return np.stack([mutual, there[mutual]], axis=1)


if __name__ == "__main__":
    main()
