"""The reciprocal lattice that explains a frame's Bragg peaks, found without parameters.

Reciprocal vectors ``(gx, gy)`` are in cycles per pixel along x and along y.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from latticewatch_kernels.harmonics import Harmonics, fit_reciprocal, refine_and_measure
from latticewatch_kernels.lattice import Array, NoLatticeError
from latticewatch_kernels.spectrum import reached_near, significant_maxima

#: Longest side that is searched; of a larger frame the middle is. 2048 px hold at least 34 cells
#: along a side of the coarsest lattice served, and ten times as many of the finest.
SEARCH_SIDE = 2048

#: How far a hexagonal lattice may be sheared: angle between neighbouring shortest reciprocal
#: vectors, and the ratio of the longest to the shortest of the ring. A shear of 10 % changes them
#: by 6 degrees and 10 %.
ANGLE_RANGE_DEG = (46.0, 74.0)
LENGTH_RATIO = 1.3

#: Longest vector of the first ring, cycles per pixel: a lattice constant of 4 px.
HIGHEST_RING = 0.29

#: Distance of a peak from a node of the reciprocal lattice, in bins, and in parts of its length,
#: at which it is still explained by it.
NODE_TOLERANCE_BINS = 0.8
NODE_TOLERANCE = 0.012

#: Lattices that would explain the peaks, weighted as they are, with more than this chance wherever
#: they lay explain nothing.
MOST_CHANCE = 0.2

#: Least power over noise of the third peak of the first ring, whose place is known: noise exceeds
#: it in 9 bins with a chance of 0.02.
THIRD_PEAK_RATIO = 6.0

#: Least part of the peaks' amplitude that a lattice explains. Recorded frames whose scan splits the
#: peaks reach 0.5 to 0.7.
LEAST_SHARE = 0.25

#: Among lattices that explain as much as the best, to this part, the one with the fewest nodes is
#: the primitive one.
EQUAL_PART = 0.93


@dataclass(frozen=True)
class BraggPeaks:
    """Peaks of a frame's Fourier plane and its primitive reciprocal lattice.

    Attributes
    ----------
    reciprocal
        (2, 2): two shortest reciprocal vectors as rows ``(gx, gy)``, cycles per pixel, the second
        about 60 degrees on from the first (from +x towards +y).
    peaks
        (n, 2) peaks found, cycles per pixel, one of each +-g pair, strongest first.
    indices
        (n, 2) int: peak k lies near ``indices[k] @ reciprocal``.
    indexed
        (n,) bool: whether the reciprocal lattice explains the peak.
    significance
        (n,) amplitude over the root-mean-square amplitude of the noise at its place.
    """

    reciprocal: np.ndarray
    peaks: np.ndarray
    indices: np.ndarray
    indexed: np.ndarray
    significance: np.ndarray

    @property
    def cell_area(self) -> float:
        """Area of the real-space unit cell in pixels squared."""
        return 1.0 / abs(float(np.linalg.det(self.reciprocal)))

    @property
    def radius(self) -> float:
        """Mean length of the six shortest reciprocal vectors, cycles per pixel."""
        return float(_ring_lengths(self.reciprocal[None]).mean())


def find_lattice(image: np.ndarray) -> BraggPeaks:
    """Find the reciprocal lattice of a hexagonal crystal in one image.

    The power of the Hann-windowed image is set against the noise of the Fourier plane. Significant
    maxima are indexed by every pair among them that could span a hexagonal lattice sheared by up to
    10 %; of those that explain the peaks the primitive one is taken and refined on all its
    harmonics. Of a frame with a side beyond 2048 px the middle is searched and the whole refined.

    Parameters
    ----------
    image
        (rows, columns) real; conditioned or raw.

    Returns
    -------
    BraggPeaks

    Raises
    ------
    NoLatticeError
        No hexagonal lattice stands out of the noise.
    """
    searched = _search(image)
    for view in searched.views:
        searched = replace(searched, reciprocal=fit_reciprocal(view, searched.reciprocal))
    return searched.peaks()


def find_lattice_and_harmonics(image: np.ndarray) -> tuple[BraggPeaks, Harmonics]:
    """Give what `find_lattice` gives, and the harmonics of the image at its nodes."""
    searched = _search(image)
    reciprocal, harmonics = refine_and_measure(searched.views, searched.reciprocal)
    return replace(searched, reciprocal=reciprocal).peaks(), harmonics


def few_peaks(number: int) -> NoLatticeError:
    """Say that a frame has too few Bragg peaks."""
    return NoLatticeError(
        f"{number} Bragg peaks stand out of the noise and a lattice needs 2",
        "raise the dose, focus on the specimen, or choose a field of view that shows 6 to 60 px to "
        "a lattice constant",
    )


def not_hexagonal(number: int) -> NoLatticeError:
    """Say that a frame's Bragg peaks form no lattice."""
    return NoLatticeError(
        f"{number} peaks stand out of the noise, but no three of them form a hexagonal lattice",
        "check the focus, and that the field of view holds a crystal seen along its c axis",
    )


@dataclass(frozen=True)
class _Searched:
    """Peaks of a frame, with their power over noise, and the reciprocal lattice that they span.

    ``views`` are the part of the frame that was searched and, where that is not all, the whole.
    """

    views: tuple[Array, ...]
    found: np.ndarray
    ratios: np.ndarray
    reciprocal: np.ndarray

    def peaks(self) -> BraggPeaks:
        """Index the peaks by the lattice as it is now."""
        rows, columns = self.views[0].shape
        indices, explained, _ = _explained(self.found, self.reciprocal[None], (rows, columns))
        significance = np.sqrt(self.ratios)
        return BraggPeaks(self.reciprocal, self.found, indices[0], explained[0], significance)


def _search(image: np.ndarray) -> _Searched:
    """Find the peaks and, by them alone, the reciprocal lattice."""
    views = views_of(image)
    shape = (views[0].shape[0], views[0].shape[1])
    peaks, ratios, reached = significant_maxima(views[0], THIRD_PEAK_RATIO)
    if len(peaks) < 2:
        raise few_peaks(len(peaks))
    reciprocal = reduce_basis(_primitive_basis(peaks, ratios, reached, shape))
    return _Searched(views, peaks, ratios, reciprocal)


def reduce_basis(basis: np.ndarray) -> np.ndarray:
    """Two shortest vectors of the lattice that ``basis`` (rows) spans, about 60 degrees apart.

    Lagrange-Gauss reduction. The first is the vector of the first ring nearest to +x, the second
    the next of the ring from +x towards +y.
    """
    first, second = (np.array(row, float) for row in basis)
    while True:
        if first @ first > second @ second:
            first, second = second, first
        shorter = second - round(float(first @ second / (first @ first))) * first
        # At exactly 60 degrees two choices are equally short, and rounding would swap them forever.
        if shorter @ shorter >= (1.0 - 1e-9) * (second @ second):
            break
        second = shorter
    if first @ second < 0.0:
        second = -second
    ring = np.array([first, second, second - first])
    ring = np.concatenate([ring, -ring])
    ring = ring[np.argsort(np.arctan2(ring[:, 1], ring[:, 0]))]
    start = int(np.argmin(np.abs(np.arctan2(ring[:, 1], ring[:, 0]))))
    return np.asarray(ring[[start, (start + 1) % 6]])


def views_of(image: Array) -> tuple[Array, ...]:
    """Give the part of an image that is searched and, where that is not all, the whole."""
    top, left = (max(0, size - SEARCH_SIDE) // 2 for size in image.shape)
    middle = image[top : top + SEARCH_SIDE, left : left + SEARCH_SIDE]
    return (middle,) if middle.shape == image.shape else (middle, image)


def _explained(
    peaks: np.ndarray, bases: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How each of m bases (m, 2, 2) explains n peaks (n, 2).

    Returns the nearest nodes (m, n, 2), whether they explain the peaks (m, n), and by what chance
    they would wherever the peaks lay: the part of the reciprocal cell within the tolerance. A dense
    enough set of nodes explains any peak.
    """
    bins = np.array([shape[1], shape[0]], float)
    indices = np.rint(peaks @ np.linalg.inv(bases))
    gap = np.hypot(*np.moveaxis((peaks - indices @ bases) * bins, -1, 0))
    tolerance = NODE_TOLERANCE_BINS + NODE_TOLERANCE * np.hypot(*(peaks * bins).T)
    cell = np.abs(np.linalg.det(bases * bins))
    chance = np.pi * tolerance**2 / cell[:, None]
    return indices.astype(int), (gap <= tolerance) & indices.any(-1), chance


def _primitive_basis(
    peaks: np.ndarray, ratios: np.ndarray, reached: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Basis (2, 2) of the primitive hexagonal lattice that explains the peaks."""
    signed = np.concatenate([peaks, -peaks])
    first, second = np.meshgrid(np.arange(len(peaks)), np.arange(len(signed)), indexing="ij")
    bases = np.stack([peaks[first.ravel()], signed[second.ravel()]], 1)
    bases = bases[_hexagonal(bases)]
    if len(bases):
        bases = bases[reached_near(reached, bases[:, 1] - bases[:, 0], shape)]
    weight = np.sqrt(ratios)
    bases = _refit(peaks, weight, bases, shape)
    _, explained, chance = _explained(peaks, bases, shape)
    possible = chance @ weight <= MOST_CHANCE * weight.sum()
    possible &= explained @ weight >= LEAST_SHARE * weight.sum()
    bases = bases[possible]
    if len(bases) == 0:
        raise not_hexagonal(len(peaks))
    score = ((explained[possible] - chance[possible]) * weight).sum(1)
    equal = score >= EQUAL_PART * score.max()
    return np.asarray(bases[equal][np.argmax(np.abs(np.linalg.det(bases[equal])))])


def _refit(
    peaks: np.ndarray, weight: np.ndarray, bases: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Fit each basis (m, 2, 2) to all peaks that it explains instead of the two it came from."""
    indices, explained, _ = _explained(peaks, bases, shape)
    weighted = np.swapaxes(indices * (explained * weight)[..., None], 1, 2)
    normal = weighted @ indices
    # The two peaks that a basis came from are always explained, so that it is never singular.
    return np.asarray(np.linalg.solve(normal, weighted @ peaks))


def _ring_lengths(bases: np.ndarray) -> np.ndarray:
    """Lengths (m, 3) of both vectors of each basis and of their difference."""
    ring = np.stack([bases[:, 0], bases[:, 1], bases[:, 1] - bases[:, 0]], 1)
    return np.asarray(np.hypot(ring[..., 0], ring[..., 1]))


def _hexagonal(bases: np.ndarray) -> np.ndarray:
    """Which bases could be neighbours in the first ring of a sheared hexagonal lattice, (m,)."""
    lengths = np.maximum(_ring_lengths(bases), 1e-12)
    cosine = (bases[:, 0] * bases[:, 1]).sum(1) / (lengths[:, 0] * lengths[:, 1])
    high, low = np.cos(np.radians(ANGLE_RANGE_DEG))
    fits = (cosine >= low) & (cosine <= high) & (lengths.max(1) <= HIGHEST_RING)
    return np.asarray(fits & (lengths.max(1) <= LENGTH_RATIO * lengths.min(1)))
