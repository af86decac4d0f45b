"""Column intensities at lattice sites, calibrated on the frame's own host columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from latticewatch_kernels.arrays import array_module, to_host
from latticewatch_kernels.harmonics import Harmonics, measure_harmonics
from latticewatch_kernels.lattice import HEXAGONAL_SITES, Array, Lattice
from latticewatch_kernels.sampling import cubic

#: Bounds of a column's Gaussian width in lattice constants. Below, it is narrower than the spacing
#: of harmonics can show; above, neighbouring columns 0.58 a apart are no longer resolved.
SIGMA_BOUNDS = (0.05, 0.3)


class _Labelled(Protocol):
    @property
    def z(self) -> Array: ...
    @property
    def columns(self) -> ColumnMap: ...


@dataclass(frozen=True)
class ColumnMap:
    """Calibration of a map of residual significance z to column intensity.

    Attributes
    ----------
    sigma
        Gaussian width of a column in pixels.
    unit
        Intensity, in units of the host column of sublattice 0 above the empty site, that makes
        z = 1 at its centre.
    crosstalk
        What a column adds at a site 1/sqrt(3) lattice constants away, as a part of its own.
    host
        (3,) intensity of the undisturbed site of each sublattice, same units.
    offset
        (3,) median over the frame's sites of the deviation, which is taken off.
    noise
        Standard deviation of one column's intensity, robust over all sites of the frame.
    """

    sigma: float
    unit: float
    crosstalk: float
    host: np.ndarray
    offset: np.ndarray
    noise: float


def column_sigma(image: Array, lattice: Lattice) -> float:
    """Gaussian width of a column in pixels, from the fall of the harmonics with frequency."""
    return _column_profile(measure_harmonics(image, np.linalg.inv(lattice.matrix)), lattice)[0]


def _column_profile(harmonics: Harmonics, lattice: Lattice) -> tuple[float, float]:
    """Width (px) and height of the host column of sublattice 0 above the empty site.

    For Gaussian columns of height h, ``A = h 2 pi s^2 / cell * exp(-2 pi^2 s^2 g^2) * S`` with the
    structure factor S of the relative heights: a straight line of ``log |A / S|`` over g^2.
    """
    structure = np.abs(
        np.exp(-2j * np.pi * HEXAGONAL_SITES @ harmonics.nodes_in(lattice).T).T @ lattice.heights
    )
    amplitude = np.abs(harmonics.amplitudes)
    weight = np.where(structure > 0.1, np.maximum(amplitude**2 - 2 * harmonics.noise**2, 0.0), 0.0)
    g2 = (harmonics.nodes**2).sum(1)
    root = np.sqrt(weight)
    design = np.stack([np.ones_like(g2), -2.0 * np.pi**2 * g2], 1) * root[:, None]
    logs = np.log(np.maximum(amplitude, 1e-30) / np.maximum(structure, 0.1)) * root
    solution = np.linalg.lstsq(design, logs, rcond=None)[0]
    low, high = (bound * lattice.constant for bound in SIGMA_BOUNDS)
    sigma = float(np.sqrt(np.clip(solution[1], low**2, high**2)))
    # The height belongs to the width that is used: fit it alone where the width was bounded.
    free = (logs / np.maximum(root, 1e-30) + 2.0 * np.pi**2 * sigma**2 * g2) * weight
    level = float(np.exp(free.sum() / weight.sum()))
    return sigma, level * lattice.cell_area / (2.0 * np.pi * sigma**2)


def column_map(image: Array, lattice: Lattice, z: Array, noise: float, sigma: float) -> ColumnMap:
    """Calibrate z (whose unit is ``noise`` in image units) on all sites of the frame."""
    harmonics = measure_harmonics(image, np.linalg.inv(lattice.matrix))
    _, height = _column_profile(harmonics, lattice)
    # A Gaussian smoothed by its own shape keeps half its height.
    unit = noise / (0.5 * height)
    distance = lattice.constant / np.sqrt(3.0)
    crosstalk = float(np.exp(-(distance**2) / (4.0 * sigma**2)))
    host = np.array(lattice.heights, float)
    bare = ColumnMap(sigma, unit, crosstalk, host, np.zeros(3), 0.0)
    cells, sublattice = frame_sites(lattice, (image.shape[0], image.shape[1]))
    deviation = _deviation(z, bare, lattice, cells, sublattice)
    offset = np.zeros(3)
    spreads = []
    for site in range(3):
        values = deviation[sublattice == site]
        if len(values):
            offset[site] = np.median(values)
            spreads.append(np.abs(values - offset[site]))
    spread = 1.4826 * float(np.median(np.concatenate(spreads))) if spreads else 0.0
    return ColumnMap(sigma, unit, crosstalk, host, offset, spread)


def frame_sites(lattice: Lattice, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Cells (n, 2) and sublattices (n,) of all sites half a lattice constant inside the frame."""
    corners = np.array([[0, 0], [shape[1], 0], [0, shape[0]], [shape[1], shape[0]]], float)
    fractional = lattice.to_fractional(corners)
    low, high = np.floor(fractional.min(0)), np.ceil(fractional.max(0))
    first, second = (np.arange(low[k] - 1, high[k] + 1) for k in range(2))
    cells = np.stack(np.meshgrid(first, second), -1).reshape(-1, 2).astype(np.int32)
    margin = 0.5 * lattice.constant
    kept_cells, kept_sites = [], []
    for site in range(3):
        points = lattice.to_pixels(cells + HEXAGONAL_SITES[site])
        inside = (points >= margin).all(1) & (
            points <= np.array([shape[1], shape[0]]) - 1 - margin
        ).all(1)
        kept_cells.append(cells[inside])
        kept_sites.append(np.full(int(inside.sum()), site, np.int8))
    return np.concatenate(kept_cells), np.concatenate(kept_sites)


def site_intensity(
    labels: _Labelled, lattice: Lattice, cells: np.ndarray, sublattice: np.ndarray
) -> np.ndarray:
    """Intensity of the columns at given sites.

    The matched-filter response at the site, less what the six neighbouring sites add to it, in
    units of the undisturbed column of sublattice 0 above the empty site. The standard deviation of
    one value is ``labels.columns.noise``.

    Parameters
    ----------
    labels
        Labels of the frame.
    lattice
        Its lattice.
    cells, sublattice
        (n, 2) and (n,): the sites.

    Returns
    -------
    ndarray
        float32 (n,), on the host.
    """
    sublattice = np.asarray(sublattice, int)
    columns = labels.columns
    deviation = _deviation(labels.z, columns, lattice, np.asarray(cells), sublattice)
    value = columns.host[sublattice] + deviation - columns.offset[sublattice]
    return np.asarray(value.astype(np.float32))


def _deviation(
    z: Array, columns: ColumnMap, lattice: Lattice, cells: np.ndarray, sublattice: np.ndarray
) -> np.ndarray:
    """Deviation from the periodic part at sites, float64 (n,), neighbours' share taken off."""
    centres = lattice.site_positions(cells, sublattice)
    # The six sites nearest to any site lie at +-(a1 + 2 a2) / 3 and its turns.
    arm = np.array([[1, 2], [-2, -1], [1, -1]]) / 3.0 @ lattice.matrix.T
    ring = np.concatenate([[[0.0, 0.0]], arm, -arm])
    places = centres[:, None, :] + ring
    xp = array_module(z)
    x, y = (
        xp.asarray(places[..., 0].astype(np.float32)),
        xp.asarray(places[..., 1].astype(np.float32)),
    )
    values = to_host(cubic(z, x, y)).astype(float) * columns.unit
    q = columns.crosstalk
    # First-order inverse of (1 + q N): exact to q^2.
    return np.asarray((values[:, 0] - q * values[:, 1:].sum(1)) / (1.0 - 6.0 * q * q))
