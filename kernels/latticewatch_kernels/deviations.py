"""By how much every column of a frame differs from its host, as exactly as the frame can say.

Least squares of one column's height at each site, every pixel weighted by its own counting noise:
the matched filter in noise that is not white (Barrett and Myers, Foundations of Image Science,
ch. 13 (2004)). It looks for columns half of which is missing, at two to five standard deviations,
which is why it takes more care than `labelling.site_intensity`, which serves what stands out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from latticewatch_kernels.columns import ColumnMap
from latticewatch_kernels.conditioning import block_means
from latticewatch_kernels.labelling import Labels
from latticewatch_kernels.lattice import HEXAGONAL_SITES, Array, Lattice, within
from latticewatch_kernels.order import BLOCKS_PER_CELL, SMOOTHING_CELLS, averaging, enlarge
from latticewatch_kernels.point_labels import SOUND_AMPLITUDE
from latticewatch_kernels.robust import median, spread
from latticewatch_kernels.stamps import draw, stamps

#: Sites nearer to the border than this, lattice constants, are not judged: part of their column and
#: of its surroundings is outside.
MARGIN = 0.5

#: Columns that differ by more standard deviations than this are taken out before the others are
#: judged: of 10,000 columns that do not differ one is.
STRONG_SIGMAS = 4.0

#: The probe's tails, which no Bragg peak shows: height at the centre, as a part of the column's,
#: and standard deviation in lattice constants. A typical aberration-corrected probe has 30 % of its
#: current in tails of 0.13 nm, which around a missing metal column dim the chalcogen columns by a
#: tenth of what a vacancy does. They are taken out with strong columns and not looked for.
TAIL_HEIGHT, TAIL_SIGMA = 0.032, 0.42

#: Width of the window, in lattice constants, over which the columns' own spread is taken, since it
#: rises where the scan jumped or something lies on the crystal; and the significance at which it is
#: clipped, so that defects do not count as noise. On 120 simulated frames of 1,600 electrons a
#: pixel it lifts the average precision for single vacancies from 0.256 to 0.281.
LOCAL_CELLS, LOCAL_CLIP = 3.0, 2.5

#: No region counts as more than twice as quiet as the frame's median.
LEAST_EXCESS = 0.5


@dataclass(frozen=True)
class Deviations:
    """Deviation of every site that the frame shows well; n of them.

    Sites at the border and in holes are left out.

    Attributes
    ----------
    cells, sublattice
        int (n, 2) and int (n,).
    points
        (n, 2) pixels (x, y), displaced as the scan is there.
    deviation
        (n,) column height less the host's, in units of the host column of sublattice 0.
    error
        (n,) its standard deviation, same units: counting noise, scaled to the spread that the
        frame's own columns of the sublattice show.
    level
        (n,) local mean, 0 at the empty site's level, 1 at the crystal's (`order.OrderMap.level`):
        contamination raises it.
    """

    cells: np.ndarray
    sublattice: np.ndarray
    points: np.ndarray
    deviation: np.ndarray
    error: np.ndarray
    level: np.ndarray

    def __len__(self) -> int:
        return len(self.sublattice)


def site_deviations(labels: Labels, lattice: Lattice) -> Deviations:
    """Measure every column's deviation from its host.

    What the filter of Bragg peaks leaves is weighted by its noise, freed of what varies over more
    than a cell (contamination), and matched with the column's shape. Columns that stand out are
    then taken out, tails included, and all are measured once more, since a missing metal column
    darkens the chalcogen columns around it.

    Parameters
    ----------
    labels, lattice
        `labelling.label` of a frame and its lattice.

    Returns
    -------
    Deviations
    """
    return SitesInView.of(labels, lattice).deviations()


@dataclass(frozen=True)
class SitesInView:
    """The sites that are judged, and what is asked of the frame about them.

    Attributes
    ----------
    labels, lattice
        The frame's.
    cells, sublattice, points
        As in `Deviations`, one sublattice after the other.
    """

    labels: Labels
    lattice: Lattice
    cells: np.ndarray
    sublattice: np.ndarray
    points: np.ndarray

    @classmethod
    def of(cls, labels: Labels, lattice: Lattice) -> SitesInView:
        """Choose the sites of a frame."""
        shape = (labels.residual.shape[0], labels.residual.shape[1])
        return cls(labels, lattice, *_sites(labels, lattice, shape))

    def deviations(self) -> Deviations:
        """Measure the deviations."""
        points, sublattice, columns = self.points, self.sublattice, self.labels.columns
        squares, response = self._matching(points)
        first = response(self.labels.residual)
        energy = np.maximum(squares.astype(float), 1e-12)
        root = np.sqrt(energy)
        height = rest = _less_median(first / energy, sublattice)
        sigma = _spread(height * root, sublattice)
        strong = np.abs(height) * root > STRONG_SIGMAS * sigma[sublattice]
        if strong.any():
            cleared = response(self._without(points[strong], height[strong]))
            rest = _less_median(cleared / energy, sublattice)
            height = rest + np.where(strong, height, 0.0)
            sigma = _spread(rest * root, sublattice)
        unit = _unit(columns)
        error = sigma[sublattice] / root
        error *= _local_excess(height / error, points, self.lattice.constant)
        level_at = _at(self.labels.order.level, points, self.labels)
        return Deviations(self.cells, sublattice, points, height * unit, error * unit, level_at)

    def _matching(self, points: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Energy of the columns at points (n, 2), and what gives their response to an image."""
        weight = _weights(self.labels)
        level = _weighted_less_mean(weight, self.labels, self.lattice)
        laid = stamps(points, self.labels.columns.sigma, weight)

        def response(image: Array) -> Array:
            return laid.sums(level(image))

        return laid.squared_sums(weight), response

    def _without(self, points: Array, height: Array) -> Array:
        """Residual without columns of given heights."""
        drawn = _drawn(points, height, self.lattice, self.labels)
        return self.labels.residual - _as_in_residual(drawn, self.labels, self.lattice)


def _unit(columns: ColumnMap) -> float:
    """Host columns to one unit of the image in a column's height.

    A Gaussian smoothed by its own shape, which `ColumnMap.unit` refers to, keeps half its height.
    """
    return 0.5 * columns.unit


def _sites(
    labels: Labels, lattice: Lattice, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells, sublattice and displaced places of the sites that are judged."""
    cells = lattice.covering_cells(shape).reshape(-1, 2)
    number = len(cells)
    points = lattice.to_pixels(cells + HEXAGONAL_SITES[:, None]).reshape(-1, 2)
    # half of the cells that cover a turned frame lie outside, farther than any scan displaces them
    near = np.flatnonzero(within(points, shape))
    cells, sublattice, points = cells[near % number], near // number, points[near]
    points = points + labels.order.displacement_at(points)
    kept = within(points, shape, MARGIN * lattice.constant)
    sound = _at(labels.order.amplitude, points[kept], labels) >= SOUND_AMPLITUDE
    if labels.order.hole.any():
        sound &= ~_in_hole(labels, np.rint(points[kept]))
    kept[kept] = sound
    return cells[kept], sublattice[kept], points[kept]


def _in_hole(labels: Labels, pixels: np.ndarray) -> np.ndarray:
    """Whether pixels (n, 2), x first, are in a hole."""
    column, row = pixels.astype(int).T
    return np.asarray(labels.hole[row, column])


def _at(cells: np.ndarray, points: np.ndarray, labels: Labels) -> np.ndarray:
    """Values of a map of the order's cells at points (n, 2) in pixels."""
    place = np.rint(points).astype(int) // labels.order.stride
    row, column = (
        np.clip(place[:, axis], 0, size - 1) for axis, size in zip((1, 0), cells.shape, strict=True)
    )
    return np.asarray(cells[row, column], float)


def _weights(labels: Labels) -> Array:
    """One over each pixel's variance, 0 in holes."""
    weight = labels.noise.variance(labels.periodic)
    np.reciprocal(weight, out=weight)
    weight[labels.hole] = 0.0
    return weight


def _weighted_less_mean(
    weight: Array, labels: Labels, lattice: Lattice
) -> Callable[[Array], Array]:
    """Give what weighs an image less its weighted mean over a Gaussian of one lattice constant."""
    stride, shape = labels.order.stride, (weight.shape[0], weight.shape[1])
    total = _averaged(weight, None, labels, lattice)
    np.maximum(total, np.float32(1e-12), out=total)

    def weighted(image: Array) -> Array:
        mean = _averaged(image, weight, labels, lattice) / total
        gap = image - enlarge(mean, stride, shape)
        gap *= weight
        return gap

    return weighted


def _averaged(image: Array, weight: Array | None, labels: Labels, lattice: Lattice) -> Array:
    """Mean of an image, times weights, over a Gaussian of one lattice constant, in cells."""
    block = labels.order.stride // BLOCKS_PER_CELL
    sigma = SMOOTHING_CELLS * lattice.constant / block
    means = block_means(image if weight is None else image * weight, block)
    rows, columns = (averaging(size // block, sigma) for size in image.shape)
    return np.asarray(np.matmul(np.matmul(rows, means), columns.T))


def _drawn(points: Array, height: Array, lattice: Lattice, labels: Labels) -> Array:
    """Image of columns of given heights with their tails, float32."""
    parts = (
        ((1.0 - TAIL_HEIGHT) * height, labels.columns.sigma),
        (TAIL_HEIGHT * height, TAIL_SIGMA * lattice.constant),
    )
    return draw(points, parts, labels.residual)


def _as_in_residual(drawn: Array, labels: Labels, lattice: Lattice) -> Array:
    """Give what an image leaves of itself in the residual: its local mean is in the periodic part.

    That mean is not weighted by the noise (`order.local_order`). With the weighted one, which next
    to a bright column is lower, the chalcogen columns beside a missing metal column read 0.4
    standard deviations too bright (240 simulated frames of 1,600 electrons a pixel).
    """
    mean, stride = _averaged(drawn, None, labels, lattice), labels.order.stride
    return drawn - enlarge(mean, stride, (drawn.shape[0], drawn.shape[1]))


def _local_excess(z: np.ndarray, points: np.ndarray, constant: float) -> np.ndarray:
    """Spread of the columns around each over that around the frame's median column, (n,)."""
    if not len(z):
        return np.ones(0)
    clipped = np.minimum(z * z, LOCAL_CLIP**2)
    place = np.floor(points / constant).astype(int)
    shape = tuple(place.max(axis=0) + 1)
    flat = place[:, 0] * shape[1] + place[:, 1]
    total, number = (
        np.bincount(flat, values, minlength=shape[0] * shape[1]).reshape(shape)
        for values in (clipped, np.ones(len(z)))
    )
    mean, cover = (ndimage.gaussian_filter(part, LOCAL_CELLS) for part in (total, number))
    local = np.sqrt(mean / np.maximum(cover, 1e-12)).ravel()[flat]
    return np.asarray(np.maximum(local / max(median(local), 1e-12), LEAST_EXCESS))


def _less_median(values: np.ndarray, sublattice: np.ndarray) -> np.ndarray:
    """Values less the median of their sublattice: most columns are the host."""
    result = values.copy()
    for site in range(len(HEXAGONAL_SITES)):
        here = sublattice == site
        if here.any():
            result[here] -= median(values[here])
    return result


def _spread(values: np.ndarray, sublattice: np.ndarray) -> np.ndarray:
    """Robust standard deviation on each sublattice, (3,)."""
    parts = [values[sublattice == site] for site in range(len(HEXAGONAL_SITES))]
    return np.array([spread(part) if len(part) else 1.0 for part in parts])
