"""Column intensities at lattice sites, calibrated on the frame's own host columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from latticewatch_kernels.harmonics import Harmonics
from latticewatch_kernels.lattice import HEXAGONAL_SITES, Array, Lattice, NoLatticeError, within
from latticewatch_kernels.order import OrderMap
from latticewatch_kernels.robust import median, spread
from latticewatch_kernels.sampling import cubic

#: Bounds of a column's Gaussian width in lattice constants. Below, it is narrower than the spacing
#: of harmonics can show; above, neighbouring columns 0.58 a apart are no longer resolved.
SIGMA_BOUNDS = (0.05, 0.3)


#: The six sites nearest to any site lie at plus and minus these, in units of (a1, a2).
_ARMS = np.array([[1, 2], [-2, -1], [1, -1]]) / 3.0


class _Labelled(Protocol):
    @property
    def matched(self) -> Array: ...
    @property
    def order(self) -> OrderMap: ...
    @property
    def columns(self) -> ColumnMap: ...


@dataclass(frozen=True)
class ColumnMap:
    """Calibration of a map of the matched residual to column intensity.

    Attributes
    ----------
    sigma
        Gaussian width of a column in pixels.
    unit
        Intensity, in units of the host column of sublattice 0 above the empty site, to one unit of
        the image in the matched residual.
    crosstalk
        What a column adds at a site 1/sqrt(3) lattice constants away, as a part of its own.
    host
        (3,) intensity of the undisturbed site of each sublattice, same units.
    offset
        (3,) median over the frame's sites of the deviation, which is taken off.
    noise_by_site
        (3,) standard deviation of one column's intensity on each sublattice, robust over all sites
        of the frame; counting noise makes it greatest on the brightest.
    noise
        The same over all sublattices.
    """

    sigma: float
    unit: float
    crosstalk: float
    host: np.ndarray
    offset: np.ndarray
    noise_by_site: np.ndarray
    noise: float


def column_profile(harmonics: Harmonics, lattice: Lattice) -> tuple[float, float]:
    """Width (px) and height of the host column of sublattice 0 above the empty site.

    For Gaussian columns of height h, ``A = h 2 pi s^2 / cell * exp(-2 pi^2 s^2 g^2) * S`` with the
    structure factor S of the relative heights: a straight line of ``log |A / S|`` over g^2.

    Raises
    ------
    NoLatticeError
        No harmonic stands out of the noise.
    """
    structure = np.abs(
        np.exp(-2j * np.pi * HEXAGONAL_SITES @ harmonics.nodes_in(lattice).T).T @ lattice.heights
    )
    amplitude = np.abs(harmonics.amplitudes)
    weight = np.where(structure > 0.1, np.maximum(amplitude**2 - 2 * harmonics.noise**2, 0.0), 0.0)
    if not weight.any():
        raise no_harmonic()
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


def no_harmonic() -> NoLatticeError:
    """Say that a frame shows too little of its lattice to measure columns."""
    return NoLatticeError(
        "no harmonic of the lattice stands out of the noise",
        "use a higher dose or a larger field of view",
    )


@dataclass(frozen=True)
class SitesInside:
    """Every site half a lattice constant inside a frame; on the host.

    Attributes
    ----------
    shape
        Of a table of all sites around: (3, cells, cells).
    inside
        (n,) numbers of the sites in the flattened table.
    places
        (n, 2) pixels (x, y) where they are, displaced.
    empty
        bool (n,): in holes.
    """

    shape: tuple[int, int, int]
    inside: np.ndarray
    places: np.ndarray
    empty: np.ndarray

    @classmethod
    def of(cls, lattice: Lattice, order: OrderMap, shape: tuple[int, int]) -> SitesInside:
        """Find the sites of a frame of (rows, columns)."""
        cells = lattice.covering_cells(shape)
        points = lattice.to_pixels(cells[None] + HEXAGONAL_SITES[:, None, None, :]).reshape(-1, 2)
        inside = np.flatnonzero(within(points, shape, 0.5 * lattice.constant))
        points = points[inside]
        last = np.array(order.hole.shape)[::-1] - 1
        cell = np.minimum((points / order.stride).astype(int), last)
        return cls(
            (3, cells.shape[0], cells.shape[1]),
            inside,
            points + order.displacement_at(points),
            order.hole[cell[:, 1], cell[:, 0]],
        )

    def table(self, values: np.ndarray) -> np.ndarray:
        """Lay values (n,) out as a table; NaN outside the frame and in holes."""
        values = np.where(self.empty, np.nan, values)
        table = np.full(self.shape, np.nan)
        table.reshape(-1)[self.inside] = values
        return table


def column_map(
    values: np.ndarray,
    sites: SitesInside,
    lattice: Lattice,
    profile: tuple[float, float],
    leak: float,
) -> ColumnMap:
    """Calibrate the matched residual on all sites of its frame.

    Parameters
    ----------
    values
        (n,) residual filtered with the column's shape, at the places of the sites.
    sites
        The sites.
    lattice
        Lattice of the frame.
    profile
        Width and height of the host column, from `column_profile`.
    leak
        Part of a defect that the periodic part takes up.
    """
    sigma, height = profile
    # A Gaussian smoothed by its own shape keeps half its height.
    unit = 1.0 / (0.5 * height * (1.0 - leak))
    distance = lattice.constant / np.sqrt(3.0)
    crosstalk = float(np.exp(-(distance**2) / (4.0 * sigma**2)))
    deviation = _less_crosstalk(sites.table(values) * unit, crosstalk)
    known = [table[~np.isnan(table)] for table in deviation]
    if not any(map(len, known)):
        raise no_harmonic()
    offset = np.array([median(found) if len(found) else 0.0 for found in known])
    gaps = [found - level for found, level in zip(known, offset, strict=True)]
    # The lattice's heights are means over host and defects: medians tell the host alone.
    host = np.array(lattice.heights, float) + offset
    scale = float(host[0] - host[2])
    return ColumnMap(
        sigma,
        unit / scale,
        crosstalk,
        (host - host[2]) / scale,
        offset / scale,
        np.array([spread(gap) if len(gap) else 0.0 for gap in gaps]) / scale,
        spread(np.concatenate(gaps)) / scale,
    )


def sample(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values of an image at places (..., 2) in pixels by cubic convolution, float64."""
    x, y = (places[..., axis].astype(np.float32) for axis in range(2))
    return np.asarray(cubic(image, x, y), float)


def _less_crosstalk(values: np.ndarray, crosstalk: float) -> np.ndarray:
    """Table of site values (3, m, n) less what the six nearest sites add; NaN counts as nothing."""
    known = np.nan_to_num(values)
    around = np.zeros_like(values)
    for site, other, cell in neighbours():
        # The table is a cell wider than the frame all round: what wraps is NaN, hence nothing.
        around[site] += np.roll(known[other], (-cell[0], -cell[1]), axis=(0, 1))
    return np.asarray((values - crosstalk * around) / (1.0 - 6.0 * crosstalk**2))


@lru_cache(maxsize=1)
def neighbours() -> tuple[tuple[int, int, tuple[int, int]], ...]:
    """Each site's six nearest: number of the site, that of the neighbour, and the latter's cell."""
    found = []
    for site in range(3):
        for arm in np.concatenate([_ARMS, -_ARMS]):
            place = HEXAGONAL_SITES[site] + arm
            other = int(np.argmin([_off_lattice(place - s) for s in HEXAGONAL_SITES]))
            down, across = np.rint(place - HEXAGONAL_SITES[other]).astype(int)
            found.append((site, other, (int(down), int(across))))
    return tuple(found)


def _off_lattice(fractional: np.ndarray) -> float:
    return float(np.abs(fractional - np.rint(fractional)).max())


def site_intensity(
    labels: _Labelled, lattice: Lattice, cells: np.ndarray, sublattice: np.ndarray
) -> np.ndarray:
    """Intensity of the columns at given sites.

    The matched-filter response where the site's column stands (its ideal place and the local
    displacement), less what the six nearest sites add to it, in units of the undisturbed column of
    sublattice 0 above the empty site. The standard deviation of one value is
    ``labels.columns.noise``.

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
        float32 (n,).
    """
    sublattice = np.asarray(sublattice, int)
    columns = labels.columns
    centres = lattice.site_positions(cells, sublattice)
    centres = centres + labels.order.displacement_at(centres)
    arms = _ARMS @ lattice.matrix.T
    places = centres[:, None, :] + np.concatenate([[[0.0, 0.0]], arms, -arms])
    x, y = (places[..., axis].astype(np.float32) for axis in range(2))
    host, offset, q = columns.host[sublattice], columns.offset[sublattice], columns.crosstalk
    values = cubic(labels.matched, x, y).astype(float) * columns.unit
    # First-order inverse of (1 + q N), N the sum over nearest sites: exact to q^2.
    deviation = (values[:, 0] - q * values[:, 1:].sum(1)) / (1.0 - 6.0 * q * q)
    return np.asarray(host + deviation - offset, np.float32)
