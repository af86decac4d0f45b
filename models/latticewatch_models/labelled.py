"""One frame labelled by its own Bragg peaks, and the labels as a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latticewatch_kernels.bragg import BraggPeaks, find_lattice
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.labelling import LABEL_SIGMAS, Labels, label
from latticewatch_kernels.lattice import Lattice
from latticewatch_kernels.point_labels import PointLabels, points_of_labels
from latticewatch_kernels.registration import register

#: Classes of the mask by their number.
CLASSES = (
    "crystal",
    "bright defect",
    "dark defect",
    "in doubt",
    "contamination",
    "disorder",
    "hole",
)
_BRIGHT, _DARK, _DOUBT, _CONTAMINATION, _DISORDER, _HOLE = range(1, len(CLASSES))

#: Labelled pixels within this distance of a labelled site belong to its defect; lattice constants.
#: Half way to the nearest site and as far again: strong defects are labelled beyond their column.
_DEFECT_REACH = 0.577


@dataclass(frozen=True)
class LabelledFrame:
    """A frame and every step of its labelling.

    Attributes
    ----------
    image
        Conditioned frame, float32 (rows, columns).
    peaks, lattice, labels, points
        What the kernels `bragg`, `registration`, `labelling` and `point_labels` made of it.
    mask
        uint8 (rows, columns), numbers of `CLASSES`.
    """

    image: np.ndarray
    peaks: BraggPeaks
    lattice: Lattice
    labels: Labels
    points: PointLabels
    mask: np.ndarray

    def save(self, path: Path) -> None:
        """Write mask, points and lattice as a compressed .npz file."""
        found = self.points
        np.savez_compressed(
            path,
            mask=self.mask,
            classes=np.array(CLASSES),
            points=found.points,
            significance=found.significance,
            cells=found.cells,
            sublattice=found.sublattice,
            doubtful=found.doubtful,
            lattice_vectors=self.lattice.matrix.T,
            origin=np.array(self.lattice.origin),
        )

    def summary(self) -> str:
        """Say what was labelled, in a line."""
        bright = int((self.points.significance > 0).sum())
        shares = [
            f"{name} {share:.1%}"
            for name in ("contamination", "disorder", "hole")
            if (share := float((self.mask == CLASSES.index(name)).mean())) >= 0.0005
        ]
        counts = f"{bright} bright and {len(self.points.points) - bright} dark defects"
        return ", ".join([counts, f"{len(self.points.doubtful)} sites in doubt", *shares])


def label_frame(frame: np.ndarray, threshold: float = LABEL_SIGMAS) -> LabelledFrame:
    """Label one frame.

    Parameters
    ----------
    frame
        (rows, columns), as acquired.
    threshold
        Standard deviations from which a column is labelled.

    Raises
    ------
    FrameContentError
        NaN, infinity or a constant frame.
    NoLatticeError
        No hexagonal lattice stands out of the noise.
    """
    image = condition(frame)
    peaks = find_lattice(image)
    lattice = register(image, peaks)
    labels = label(image, lattice, threshold)
    points = points_of_labels(labels, lattice, threshold)
    return LabelledFrame(image, peaks, lattice, labels, points, _mask(labels, lattice, points))


def _mask(labels: Labels, lattice: Lattice, points: PointLabels) -> np.ndarray:
    """Class of each pixel; what is labelled and belongs to no defect is in doubt."""
    mask = np.zeros(labels.z.shape, np.uint8)
    mask[labels.bright | labels.dark] = _DOUBT
    reach = _DEFECT_REACH * lattice.constant
    # a pixel between two defects is the stronger one's: weakest first
    for (x, y), value in zip(points.points[::-1], points.significance[::-1], strict=True):
        top, left = max(0, int(y - reach)), max(0, int(x - reach))
        window = slice(top, int(y + reach) + 2), slice(left, int(x + reach) + 2)
        rows, columns = np.indices(mask[window].shape)
        disc = (columns + left - x) ** 2 + (rows + top - y) ** 2 <= reach**2
        labelled = (labels.bright if value > 0 else labels.dark)[window]
        mask[window][disc & labelled] = _BRIGHT if value > 0 else _DARK
    free = (mask != _BRIGHT) & (mask != _DARK)
    mask[points.contamination & free] = _CONTAMINATION
    mask[points.disorder & free] = _DISORDER
    mask[points.hole] = _HOLE
    return mask
