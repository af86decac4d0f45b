"""What is kept from a self-training run, and how well the model agrees with the labels there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.patches import rescale, scale_for
from latticewatch_models.labelled import LabelledFrame
from latticewatch_models.runtime import Segmenter
from latticewatch_models.scoring import MATCH_DISTANCE, Score
from latticewatch_models.segmentation import MERGE_DISTANCE

#: Of a single frame this part, the last that was scanned, is kept; of several this part of them.
HELD_SHARE = 0.25


@dataclass(frozen=True)
class Part:
    """Some rows of a labelled frame."""

    frame: LabelledFrame
    rows: slice


def divide(frames: Sequence[LabelledFrame]) -> tuple[list[Part], list[Part]]:
    """Divide labelled frames into what is trained on and what is kept: the last quarter."""
    whole = [Part(frame, slice(0, len(frame.image))) for frame in frames]
    if len(frames) > 1:
        kept = max(1, round(HELD_SHARE * len(frames)))
        return whole[:-kept], whole[-kept:]
    rows = len(frames[0].image)
    first = round((1.0 - HELD_SHARE) * rows)
    return [Part(frames[0], slice(0, first))], [Part(frames[0], slice(first, rows))]


def detect(
    segmenter: Segmenter, frame: LabelledFrame, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Run a segmenter on a frame at its own scale; points (n, 2) in pixels and probabilities."""
    constant = frame.lattice.constant
    factor = scale_for(constant, segmenter.lattice_constant_px, segmenter.card.scale_range)
    if factor == 1.0:
        return segmenter.segment(frame.image).detections(threshold, MERGE_DISTANCE * constant)
    seen = segmenter.segment(rescale(frame.image, factor))
    points, probability = seen.detections(threshold, MERGE_DISTANCE * constant * factor)
    return (points + 0.5) / factor - 0.5, probability


def agreement(segmenter: Segmenter, parts: Sequence[Part], threshold: float = 0.5) -> Score:
    """Count where segmenter and labels agree; sites in doubt and untold areas are left out.

    Hits and misses are counted by ``bright`` and ``dark``.
    """
    score = Score()
    for part in parts:
        found, constant = part.frame.points, part.frame.lattice.constant
        reach = MATCH_DISTANCE * constant
        points, _ = detect(segmenter, part.frame, threshold)
        silent = found.ignore(part.frame.lattice) | found.hole
        place = np.clip(np.rint(points).astype(int), 0, np.array(silent.shape[::-1]) - 1)
        points = points[_inside(points, part.rows, 0.0) & ~silent[place[:, 1], place[:, 0]]]
        near = _inside(found.points, part.rows, reach)
        sign = np.where(found.significance > 0, "bright", "dark")
        beyond = ~_inside(found.points[near], part.rows, 0.0)
        score.add(points, found.points[near], sign[near], reach, ignore=beyond)
    return score


def _inside(points: np.ndarray, rows: slice, margin: float) -> np.ndarray:
    y = points[:, 1]
    return np.asarray((y >= rows.start - 0.5 - margin) & (y < rows.stop - 0.5 + margin))
