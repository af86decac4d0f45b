"""What the stages of a frame hand on, as arrays of the device; n is the room, not the number."""

from __future__ import annotations

from typing import NamedTuple

from latticewatch_kernels.lattice import Array


class OrderAbove(NamedTuple):
    """Local order on a grid of (h, w) cells; twin: `order.OrderMap`.

    Attributes
    ----------
    maps
        float32 (5, h, w): amplitude, level, mean, and displacement along x and y.
    crystalline, hole
        int8 (h, w), 0 or 1.
    """

    maps: Array
    crystalline: Array
    hole: Array


class PixelsAbove(NamedTuple):
    """Residual, periodic part, float32, and holes, int8; all of the frame's shape."""

    residual: Array
    periodic: Array
    hole: Array


class LabelsAbove(NamedTuple):
    """Maps of the frame's shape; twin: `labelling.Labels`.

    Attributes
    ----------
    image, periodic, residual, matched, z
        float32; the last is None where nobody asks what stands out of the noise.
    bright, dark, hole
        int8, 0 or 1; the first two likewise.
    shifts
        float64 (rows + 1,): shift of each row and, last, the jitter.
    """

    image: Array
    periodic: Array
    residual: Array
    matched: Array
    z: Array | None
    bright: Array | None
    dark: Array | None
    hole: Array
    shifts: Array


class SitesAbove(NamedTuple):
    """Sites that are judged, one sublattice after the other; twin: `deviations.Deviations`.

    Attributes
    ----------
    cells, sublattice
        int32 (n, 2) and int8 (n,).
    points
        float64 (n, 2) pixels (x, y).
    deviation, error, level
        float64 (n,).
    """

    cells: Array
    sublattice: Array
    points: Array
    deviation: Array
    error: Array
    level: Array


class FoundAbove(NamedTuple):
    """Points, surest first: float64 (n, 2) pixels (x, y) of the frame, and float64 (n,)."""

    points: Array
    probability: Array


class JudgedAbove(NamedTuple):
    """Sites of the second sublattice as weighed; twin: `latticewatch.vacancies.Vacancies`.

    Attributes
    ----------
    cells, points
        int32 (n, 2) and float64 (n, 2), as in `SitesAbove`.
    probability, odd, intensity
        float64 (n,).
    bright
        int8 (n,).
    ratio
        float64 (n, k).
    """

    cells: Array
    points: Array
    probability: Array
    bright: Array
    intensity: Array
    ratio: Array
    odd: Array


class DescribedAbove(NamedTuple):
    """What is told of each reported point; twin: `latticewatch.analysis._describe`.

    Attributes
    ----------
    cells, sublattice
        int32 (n, 2) and int8 (n,): the site it stands on.
    intensity
        float32 (n, 4): of the column and of the three next to it on the other sublattice.
    turns
        int8 (n,): the darkest of these three.
    patches
        float32 (n, 16, 16), in units of the host column.
    in_hole
        int8 (n,).
    shift, error
        float32 (n, 7, 2): `displacements.Displacements`; NaN off sublattice 0.
    """

    cells: Array
    sublattice: Array
    intensity: Array
    turns: Array
    patches: Array
    in_hole: Array
    shift: Array
    error: Array
