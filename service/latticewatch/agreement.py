"""How well the segmenter and the labels of one frame's Bragg peaks agree: a pure function of both.

The labels know no model and the segmenter no threshold on the residual; what both are sure of
should be the same. What either is in doubt about counts neither way. See docs/self-calibration.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.labelling import LABEL_SIGMAS, Labels
from latticewatch_kernels.lattice import Lattice
from latticewatch_kernels.point_labels import PointLabels, points_of_labels
from latticewatch_models.scoring import MATCH_DISTANCE, match

#: Probability from which on there is a mark in doubt, so that a label there is not missed outright,
#: and from which on a mark is sure, so that it asks for a label.
DOUBTFUL_MARK = 0.25
SURE_MARK = 0.8

#: Columns nearer than this to the border are left out, lattice constants: only a part of their
#: surroundings is seen there, and both sides judge worse.
BORDER_CELLS = 1.0

#: The weakest defect that a mark may stand for, as a share of the host column: a dopant or a single
#: vacancy of two takes about half of it away.
WEAKEST_SHARE = 0.5

#: A mark is held against the labels only where such a defect stands out by so many standard
#: deviations on average: then half of them are labelled and 93 of 100 are at least in doubt.
SEEN_SIGMAS = LABEL_SIGMAS


@dataclass(frozen=True)
class Counts:
    """What came of one comparison, or of several together.

    Attributes
    ----------
    agreed
        Labels that the segmenter has marked as well.
    missed
        Labels without a mark, not even one in doubt.
    unlabelled
        Sure marks without a label, not even one in doubt, where the labels could have seen.
    """

    agreed: int = 0
    missed: int = 0
    unlabelled: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.agreed + other.agreed,
            self.missed + other.missed,
            self.unlabelled + other.unlabelled,
        )

    @property
    def total(self) -> int:
        """Columns that were judged."""
        return self.agreed + self.missed + self.unlabelled


def agreement(
    labels: Labels,
    lattice: Lattice,
    points: np.ndarray,
    probability: np.ndarray,
    threshold: float,
) -> Counts:
    """Hold the segmenter's marks of a frame against the labels of the same frame.

    Parameters
    ----------
    labels, lattice
        The frame's.
    points, probability
        (n, 2) pixels (x, y) and (n,): all marks from `DOUBTFUL_MARK` on, surest first.
    threshold
        Least probability of a mark that is reported as a defect.
    """
    found = points_of_labels(labels, lattice)
    return compare(found, lattice, seen_sublattices(labels), points, probability, threshold,
                   labels.order.displacement_at(points))  # fmt: skip


def seen_sublattices(labels: Labels) -> np.ndarray:
    """Sublattices on which the labels would see the weakest defect, bool (3,).

    On the empty site an adatom of half the brighter host column is the weakest.
    """
    columns = labels.columns
    weakest = WEAKEST_SHARE * np.array([columns.host[0], columns.host[1], columns.host[0]])
    noise = columns.noise_by_site.copy()
    noise[2] = max(noise[1], noise[2])  # as `point_labels` judges the empty site
    return np.asarray(weakest >= SEEN_SIGMAS * noise)


def compare(
    found: PointLabels,
    lattice: Lattice,
    seen: np.ndarray,
    points: np.ndarray,
    probability: np.ndarray,
    threshold: float,
    displacement: np.ndarray,
) -> Counts:
    """Count agreement one to one.

    Parameters
    ----------
    found, lattice
        Point labels of the frame.
    seen
        bool (3,): sublattices on which marks are held against the labels.
    points, probability, threshold
        As for `agreement`.
    displacement
        (n, 2) pixels: of the crystal at each mark, from where the lattice puts it.
    """
    silent = found.ignore(lattice) | found.hole | found.contamination
    edge = int(np.ceil(BORDER_CELLS * lattice.constant))
    silent[:edge] = silent[-edge:] = silent[:, :edge] = silent[:, -edge:] = True
    mark, label = match(points, found.points, MATCH_DISTANCE * lattice.constant)
    touched, hit = np.zeros(len(found.points), bool), np.zeros(len(found.points), bool)
    touched[label] = True
    hit[label] = probability[mark] >= threshold
    counted = ~_at(silent, found.points)
    alone = (probability >= max(SURE_MARK, threshold)) & ~_at(silent, points)
    alone[mark] = False
    _, sublattice, _ = lattice.nearest_site(points - displacement)
    return Counts(
        int((counted & hit).sum()),
        int((counted & ~touched).sum()),
        int((alone & seen[sublattice]).sum()),
    )


def _at(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Value of a mask at points (n, 2), bool (n,)."""
    place = np.clip(np.rint(points).astype(int), 0, np.array(mask.shape[::-1]) - 1)
    return np.asarray(mask[place[:, 1], place[:, 0]])
