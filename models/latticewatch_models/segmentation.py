"""What the segmenter says of one frame, and how it is read as defects and as atomic columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.localisation import heat_cells, place_cells, suppress
from latticewatch_kernels.sampling import bilinear

#: Peaks nearer than this share of the lattice constant are one defect. The two nearest sites that
#: can hold two, a metal site and its chalcogen neighbour, are 0.577 apart.
MERGE_DISTANCE = 0.4

#: Cells at this probability and above have a say in where a detection lies, those whose points are
#: nearer to the surest one's than this share of the merging distance.
LEAST_VOTE = 0.1
VOTE_REACH = 0.25

#: Probabilities are read no nearer to 0 and 1 than this: float32 knows no difference there.
SUREST = 1e-6


@dataclass(frozen=True)
class RanOn:
    """What the network ran on for one frame: provider, device, number format of its weights.

    `device` is ``host`` or ``cuda:N``.
    """

    provider: str
    device: str
    precision: str


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
    ran_on
        None where it was not run.
    """

    heat: Array
    offset: Array
    stride: int
    shape: tuple[int, int]
    column_heat: Array | None = None
    column_offset: Array | None = None
    ran_on: RanOn | None = None

    def detections(
        self, threshold: float = 0.5, merge_px: float = 4.2
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decode into points: where the cells of every group whose offsets meet say it is.

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
            Shape (n,), of the surest cell.
        """
        return self._decode(self.heat, self.offset, threshold, merge_px)

    def columns(
        self, threshold: float = 0.5, merge_px: float = 4.2
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decode atomic columns, as `detections` decodes defects.

        Parameters
        ----------
        threshold, merge_px
            As for `detections`.

        Returns
        -------
        points, probability
            As of `detections`.

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
        return self._decode(heat, offset, threshold, merge_px)

    def logit_at(self, points: np.ndarray) -> np.ndarray:
        """Logit of the heat map at points (n, 2) in pixels (x, y), interpolated; (n,)."""
        place = (np.asarray(points, float) - 0.5 * (self.stride - 1)) / self.stride
        heat = np.clip(to_host(self.heat), SUREST, 1.0 - SUREST)
        x, y = np.ascontiguousarray(place.T)
        return np.asarray(bilinear(np.log(heat / (1.0 - heat)), x, y), float)

    def _decode(
        self, heat: Array, offset: Array, threshold: float, merge_px: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decode a map of objects, on the host."""
        cells = heat_cells(to_host(heat), to_host(offset), min(threshold, LEAST_VOTE))
        return self._agreed(cells, threshold, merge_px)

    def _agreed(
        self, cells: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float, merge_px: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Surest cells first, each moved to the mean of what the cells of a mind with it say.

        Their offsets err each for itself: the mean of 12 frames at 1,600 electrons a pixel was
        0.288 px off where the surest cell's was 0.359 (cells of 2 px; 0.346 and 0.369 of 4 px).
        """
        votes, weight = place_cells(cells, self.stride, self.shape, 0.0)
        sure = weight >= threshold
        points, probability = votes[sure], weight[sure]
        kept = suppress(points, merge_px)
        points, probability = points[kept], probability[kept]
        if not len(points):
            return points, probability
        gap, nearest = cKDTree(points).query(votes, distance_upper_bound=VOTE_REACH * merge_px)
        agreed = np.isfinite(gap)
        index, weight, votes = nearest[agreed], weight[agreed], votes[agreed]
        sums = np.stack([np.bincount(index, weight * v, len(points)) for v in votes.T], axis=1)
        return sums / np.bincount(index, weight, len(points))[:, None], probability
