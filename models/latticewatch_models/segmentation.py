"""What the segmenter says of one frame, and how it is read as defects and as atomic columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from latticewatch_kernels.localisation import decode_heat_map

#: Peaks nearer than this share of the lattice constant are one defect. The two nearest sites that
#: can hold two, a metal site and its chalcogen neighbour, are 0.577 apart.
MERGE_DISTANCE = 0.4


@dataclass(frozen=True)
class Segmentation:
    """What the network says of one frame.

    Attributes
    ----------
    heat
        Probability that a defect lies within 3 px of the cell's centre, shape (h, w), float32.
    offset
        Pixels (x, y) from the cell's centre to the nearest defect, shape (2, h, w), float32;
        meaningless where `heat` is low.
    stride
        Pixels along a side of a cell: cell (r, c) covers pixels [stride c, stride (c + 1)) and is
        centred on x = stride c + (stride - 1) / 2.
    shape
        Rows and columns of the frame.
    column_heat, column_offset
        The same of atomic columns, host's and dopants' alike: probability that the centre of one
        lies within 3 px, and pixels to the nearest. None where the model does not tell, or was not
        asked.
    """

    heat: np.ndarray
    offset: np.ndarray
    stride: int
    shape: tuple[int, int]
    column_heat: np.ndarray | None = None
    column_offset: np.ndarray | None = None

    def detections(
        self, threshold: float = 0.5, merge_px: float = 4.2
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decode into points: the surest cell of every group whose offsets meet.

        Parameters
        ----------
        threshold
            Lowest probability of a detection.
        merge_px
            Of detections nearer than this the surest is kept; `MERGE_DISTANCE` lattice constants.

        Returns
        -------
        points
            Shape (n, 2), pixels (x, y), surest first.
        probability
            Shape (n,).
        """
        return decode_heat_map(self.heat, self.offset, self.stride, self.shape, threshold, merge_px)

    def columns(
        self, threshold: float = 0.5, merge_px: float = 4.2
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decode atomic columns: the mean of what the cells around each say, by their probability.

        Parameters
        ----------
        threshold, merge_px
            As for `detections`; cells whose points lie within half of ``merge_px`` of the surest
            one's speak for the same column.

        Returns
        -------
        points
            Shape (n, 2), pixels (x, y), surest first.
        probability
            Shape (n,), of the surest cell.

        Raises
        ------
        ValueError
            There is no map of columns.
        """
        heat, offset = self.column_heat, self.column_offset
        if heat is None or offset is None:
            raise ValueError(
                "no map of atomic columns: ask for it with segment(image, columns=True), of a "
                "model whose card says columns"
            )
        votes, weight = decode_heat_map(heat, offset, self.stride, self.shape, threshold, 0.0)
        points, probability = decode_heat_map(
            heat, offset, self.stride, self.shape, threshold, merge_px
        )
        if not len(points):
            return points, probability
        gap, nearest = cKDTree(points).query(votes, distance_upper_bound=0.5 * merge_px)
        spoken = np.isfinite(gap)
        index, weight, votes = nearest[spoken], weight[spoken], votes[spoken]
        sums = np.stack([np.bincount(index, weight * v, len(points)) for v in votes.T], axis=1)
        return sums / np.bincount(index, weight, len(points))[:, None], probability
