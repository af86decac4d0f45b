"""The two-dimensional lattice of one frame, and the coordinates that belong to it.

Points are ``(..., 2)`` arrays of ``(x, y)`` in pixels: x along columns, y along rows, the centre of
the first pixel at (0, 0). Fractional coordinates count lattice vectors from ``origin``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray: kernels ask the array for its module

#: Sublattices of a hexagonal crystal by their place in the cell, in units of (a1, a2).
#: 0 is the brightest column of the motif, 1 the second, 2 the empty site between them.
HEXAGONAL_SITES = np.array([[0.0, 0.0], [1 / 3, 2 / 3], [2 / 3, 1 / 3]])

#: Cells from a site to its three nearest columns of another sublattice, by the site's own: those of
#: 0 lie along (a1 + 2 a2)/3 turned by 0, 120 and 240 degrees, those of 1 opposite; the empty site 2
#: looks at its three columns of sublattice 0. Shape (3, 3, 2).
NEIGHBOUR_CELLS = np.array(
    [
        [[0, 0], [-1, -1], [0, -1]],
        [[0, 0], [1, 1], [0, 1]],
        [[1, 1], [0, 0], [1, 0]],
    ],
    np.int32,
)

#: Sublattice of those columns, by the site's own; shape (3,).
NEIGHBOUR_SUBLATTICE = np.array([1, 0, 0], np.int8)


class FrameFaultError(ValueError):
    """A frame that cannot be used.

    Attributes
    ----------
    cause, mend
        What is wrong, and what to do about it.
    """

    def __init__(self, cause: str, mend: str) -> None:
        super().__init__(cause, mend)
        self.cause = cause
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.cause}: {self.mend}"


class NoLatticeError(FrameFaultError):
    """A frame shows no periodic lattice: no Bragg peak stands out of the noise."""


def within(points: np.ndarray, shape: tuple[int, int], margin: float = 0.0) -> np.ndarray:
    """Whether points (n, 2) lie inside a frame of (rows, columns), that far from its border."""
    x, y = points.T
    across = (x >= margin) & (x <= shape[1] - 1 - margin)
    return np.asarray(across & (y >= margin) & (y <= shape[0] - 1 - margin))


@dataclass(frozen=True)
class Lattice:
    """Lattice vectors and phase of one frame.

    Attributes
    ----------
    a1, a2
        Lattice vectors ``(x, y)`` in pixels, a2 about 120 degrees on from a1 (from +x towards +y).
        a1 lies within 60 degrees of +x, on the choice that puts the second-brightest column of the
        motif at (1/3, 2/3).
    origin
        Position ``(x, y)`` in pixels of the brightest column (sublattice 0) nearest to the frame's
        centre: cell (0, 0).
    heights
        Column height of each sublattice above the empty site, in units of sublattice 0; shape (3,).
    significance
        Strongest Bragg peak's amplitude over the noise of the Fourier plane.
    """

    a1: tuple[float, float]
    a2: tuple[float, float]
    origin: tuple[float, float]
    heights: tuple[float, float, float] = (1.0, 0.0, 0.0)
    significance: float = 0.0

    @property
    def matrix(self) -> np.ndarray:
        """Lattice vectors as the columns of a (2, 2) array, pixels."""
        return np.array([self.a1, self.a2], dtype=float).T

    @property
    def cell_area(self) -> float:
        """Area of the unit cell in pixels squared."""
        return float(abs(self.a1[0] * self.a2[1] - self.a1[1] * self.a2[0]))

    @property
    def constant(self) -> float:
        """Lattice constant in pixels: of the hexagonal cell that has this cell's area.

        The area is what a shear (specimen drift within a frame) leaves alone.
        """
        return math.sqrt(2.0 * self.cell_area / math.sqrt(3.0))

    @property
    def rotation(self) -> float:
        """Angle of a1 from +x towards +y, degrees."""
        return float(np.degrees(np.arctan2(self.a1[1], self.a1[0])))

    def to_fractional(self, points: np.ndarray) -> np.ndarray:
        """Pixels ``(..., 2)`` to lattice coordinates ``(..., 2)``."""
        offset = np.asarray(points, float) - np.array(self.origin)
        return np.asarray(offset @ np.linalg.inv(self.matrix).T)

    def to_pixels(self, fractional: np.ndarray) -> np.ndarray:
        """Lattice coordinates ``(..., 2)`` to pixels ``(..., 2)``."""
        return np.asarray(np.asarray(fractional, float) @ self.matrix.T + np.array(self.origin))

    def site_positions(self, cells: np.ndarray, sublattice: np.ndarray) -> np.ndarray:
        """Ideal positions in pixels, shape (n, 2), of sites: cells (n, 2) and sublattice (n,)."""
        return self.to_pixels(np.asarray(cells) + HEXAGONAL_SITES[np.asarray(sublattice)])

    def covering_cells(self, shape: tuple[int, int]) -> np.ndarray:
        """Cells (m, n, 2) int32, by (i, j), that hold every site in a frame of (rows, columns)."""
        rows, columns = shape
        corners = np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]], float)
        fractional = self.to_fractional(corners)
        low, high = np.floor(fractional.min(0)), np.ceil(fractional.max(0))
        span = [np.arange(low[k] - 1, high[k] + 1) for k in range(2)]
        return np.stack(np.meshgrid(*span, indexing="ij"), -1).astype(np.int32)

    def nearest_site(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cell (n, 2) int, sublattice (n,) int8 and distance (n,) in pixels of the nearest site."""
        fractional = self.to_fractional(np.asarray(points, float).reshape(-1, 2))
        corners = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 2)
        best_cell = np.zeros(fractional.shape, np.int32)
        best_site = np.zeros(len(fractional), np.int8)
        best = np.full(len(fractional), np.inf)
        for site, place in enumerate(HEXAGONAL_SITES):
            base = np.floor(fractional - place + 0.5).astype(np.int32)
            for corner in corners:
                gap = (fractional - place - base - corner) @ self.matrix.T
                distance = np.hypot(gap[:, 0], gap[:, 1])
                closer = distance < best
                best[closer] = distance[closer]
                best_cell[closer] = base[closer] + corner
                best_site[closer] = site
        return best_cell, best_site, best
