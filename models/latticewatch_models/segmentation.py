"""What the segmenter says of one frame, and how it is read as points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
    """

    heat: np.ndarray
    offset: np.ndarray
    stride: int
    shape: tuple[int, int]

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
