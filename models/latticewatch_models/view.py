"""Which sites a frame shows, and where: the geometry between specimen and image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.lattice import Lattice
from latticewatch_models.crystal import Crystal
from latticewatch_models.specimen import SiteTable

#: Columns this far outside the frame still reach into it with the probe's tail.
RIM_NM = 0.6


@dataclass(frozen=True)
class View:
    """The sites in and around a frame; n of them.

    Attributes
    ----------
    lattice
        The frame's lattice.
    site
        (n,), number in the supercell.
    cell, sublattice
        (n, 2) and (n,), in the lattice's numbering.
    points
        (n, 2), ideal positions in pixels.
    """

    lattice: Lattice
    site: np.ndarray
    cell: np.ndarray
    sublattice: np.ndarray
    points: np.ndarray


def lattice_vectors(crystal: Crystal, pixel_size_nm: float, rotation_deg: float) -> np.ndarray:
    """Vectors a1, a2 as the columns of a (2, 2) array in pixels.

    A turn by 120 degrees leaves the crystal as it is, so a1 is taken within 60 degrees of +x.
    """
    turned = (rotation_deg + 60.0) % 120.0 - 60.0
    angles = np.radians([turned, turned + 120.0])
    return np.array([np.cos(angles), np.sin(angles)]) * crystal.lattice_constant_nm / pixel_size_nm


def drift_matrix(drift_px: np.ndarray, rows: int) -> np.ndarray:
    """Describe what steady drift does to a frame that is scanned row by row.

    A point at (X, Y) when the scan starts is met in the row y = Y + drift_y * y / rows, and found
    at x = X + drift_x * y / rows; ``drift_px`` is the drift (x, y) over a whole frame.

    Raises
    ------
    ValueError
        The specimen drifts as fast as the scan runs.
    """
    if drift_px[1] >= 0.5 * rows:
        raise ValueError(f"drift of {drift_px[1]:.0f} px in a frame of {rows} rows: set it lower")
    slow = 1.0 / (1.0 - drift_px[1] / rows)
    return np.array([[1.0, drift_px[0] / rows * slow], [0.0, slow]])


def lattice_of(matrix: np.ndarray, origin: np.ndarray, crystal: Crystal) -> Lattice:
    """Make the true `Lattice` from vectors (columns of a (2, 2) array) and cell (0, 0)'s place."""
    return Lattice(
        a1=(float(matrix[0, 0]), float(matrix[1, 0])),
        a2=(float(matrix[0, 1]), float(matrix[1, 1])),
        origin=(float(origin[0]), float(origin[1])),
        heights=(1.0, crystal.host_intensity(1), 0.0),
    )


def cell_window(
    lattice: Lattice, shape: tuple[int, int], rim_px: float
) -> tuple[int, int, int, int]:
    """First and last cell (i0, i1, j0, j1) that the frame with its rim can touch."""
    rows, columns = shape
    x, y = [-rim_px, columns - 1 + rim_px], [-rim_px, rows - 1 + rim_px]
    corners = lattice.to_fractional(np.array([[u, v] for u in x for v in y]))
    low, high = np.floor(corners.min(axis=0)) - 1, np.ceil(corners.max(axis=0))
    return int(low[0]), int(high[0]), int(low[1]), int(high[1])


def look(lattice: Lattice, shape: tuple[int, int], rim_px: float, table: SiteTable) -> View:
    """List the sites within ``rim_px`` of the frame; the supercell repeats as far as is needed."""
    i0, i1, j0, j1 = cell_window(lattice, shape, rim_px)
    i, j = np.meshgrid(np.arange(i0, i1 + 1), np.arange(j0, j1 + 1), indexing="ij")
    cell = np.tile(np.stack([i.ravel(), j.ravel()], -1), (3, 1))
    sublattice = np.repeat(np.arange(3), i.size)
    points = lattice.site_positions(cell, sublattice)
    high = np.array(shape[::-1]) - 1 + rim_px
    near = ((points >= -rim_px) & (points <= high)).all(axis=1)
    cell, sublattice, points = cell[near], sublattice[near], points[near]
    return View(lattice, table.index(sublattice, cell), cell, sublattice, points)
