"""What the analysis of one frame hands to the tracker: plain arrays, no memory of other frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from latticewatch.agreement import Counts
from latticewatch.computed import Computed
from latticewatch.vacancies import Vacancies
from latticewatch_kernels.displacements import Displacements
from latticewatch_kernels.lattice import Lattice

#: Samples along a side of a lattice-aligned patch, and lattice constants that the side spans.
PATCH_SIZE = 16
PATCH_SPAN = 2.0


@dataclass(frozen=True)
class FrameInfo:
    """The header of a frame, as far as the tracker needs it.

    ``frame`` counts through the session, over all epochs; a frame that never came leaves a hole.
    """

    frame: int
    time_s: float
    shape: tuple[int, int]
    pixel_size_nm: float | None = None
    frame_time_s: float | None = None
    dose_e_per_A2: float | None = None  # noqa: N815 - the name of the wire format


@dataclass(frozen=True)
class Detections:
    """Defects found in one frame; n of them, in order of descending probability.

    Attributes
    ----------
    lattice
        The frame's lattice.
    x_px, y_px, probability
        float64 (n,), position in the frame as acquired, probability that it is a defect.
    cells, sublattice
        int32 (n, 2) and int8 (n,), nearest site of this frame's own lattice.
    centre, neighbours
        float32 (n,) and (n, 3): HAADF intensity of the site's own column and of the three nearest
        columns of the other sublattice, in units of the host column of sublattice 0. Neighbours of
        sublattice-0 sites lie along (a1 + 2 a2)/3 turned by 0, 120 and 240 degrees; those of
        sublattice 1 opposite; those of sublattice 2 are the three sublattice-0 columns.
    noise
        float64 (3,), standard deviation of one column's intensity on each sublattice in this frame,
        same units; counting noise makes it greatest on the brightest.
    patches
        float32 (n, PATCH_SIZE, PATCH_SIZE): by how much columns differ from the perfect crystal
        around the site, in units of the host column of sublattice 0: the residual after the matched
        filter, which has a column's whole deviation where the column stands (0 is the host) and
        falls off around it. In the lattice's frame (a1 along +columns), turned by `turns`.
    turns
        int8 (n,): the neighbour that was turned to direction 0, the darkest of the three.
    fractions
        float64 (3,): crystalline, disordered and hole area fraction.
    in_hole
        bool (n,): the site touches a hole or its edge.
    timings_ms
        Duration of each stage, milliseconds.
    agreement
        Segmenter against labels, where the frame was checked.
    vacancies
        Every judged column of the second sublattice, in the frame's own cells, for what several
        frames tell together.
    displaced
        Displacements (n, 7, 2) of the column and its six neighbours, pixels of the frame, where the
        detection is on sublattice 0; NaN elsewhere and where a column is missing. None: not
        measured.
    computed
        What it was computed on.
    runs
        How often it was run there: again where a device had assumed other sizes (`resident`).
    """

    lattice: Lattice
    x_px: np.ndarray
    y_px: np.ndarray
    probability: np.ndarray
    cells: np.ndarray
    sublattice: np.ndarray
    centre: np.ndarray
    neighbours: np.ndarray
    noise: np.ndarray
    patches: np.ndarray
    turns: np.ndarray
    fractions: np.ndarray
    in_hole: np.ndarray
    timings_ms: dict[str, float] = field(default_factory=dict)
    agreement: Counts | None = None
    vacancies: Vacancies | None = None
    displaced: Displacements | None = None
    computed: Computed | None = None
    runs: int = 1

    def __len__(self) -> int:
        return len(self.x_px)
