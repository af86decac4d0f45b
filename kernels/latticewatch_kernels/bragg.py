"""Bragg peaks of a frame and the reciprocal lattice that explains them, without parameters.

Reciprocal vectors ``(gx, gy)`` are in cycles per pixel along x and along y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.arrays import array_module, rfft2, to_host
from latticewatch_kernels.harmonics import fit_reciprocal
from latticewatch_kernels.lattice import Array, NoLatticeError

#: Longest side that is searched; of a larger frame the middle is. 2048 px hold at least 34 cells
#: along a side of the coarsest lattice served, and twenty times as many of the finest.
SEARCH_SIDE = 2048

#: A candidate's power over the mean of the noise around it. Noise power is exponential: of 131,000
#: bins of a 512-px frame 0.02 exceed 16 by chance.
CANDIDATE_RATIO = 16.0

#: The strongest candidates are kept for indexing.
MOST_CANDIDATES = 32

#: Nearer than this to a stronger one, in bins, a maximum belongs to the same peak (a Hann window's
#: main lobe is 4 bins wide; slow distortion of the scan widens it).
PEAK_WIDTH_BINS = 3.5

#: Fewest periods across the shorter side.
LEAST_PERIODS = 3.0

#: How far a hexagonal lattice may be sheared: angle between neighbouring shortest reciprocal
#: vectors, and the ratio of their lengths. A shear of 10 % changes them by 6 degrees and 10 %.
ANGLE_RANGE_DEG = (46.0, 74.0)
LENGTH_RATIO = 1.3

#: Distance of a peak from a node of the reciprocal lattice, in bins, and in parts of its length,
#: at which it is still explained by it.
NODE_TOLERANCE_BINS = 1.2
NODE_TOLERANCE = 0.015

#: Lattices that would explain a peak anywhere with more than this chance explain nothing.
MOST_CHANCE = 0.3

#: Least significance of the third peak of the first ring, whose place is known.
THIRD_PEAK_RATIO = 6.0

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
        first, second = self.reciprocal
        return float(np.mean([np.hypot(*first), np.hypot(*second), np.hypot(*(second - first))]))


def find_lattice(image: Array) -> BraggPeaks:
    """Find the reciprocal lattice of a hexagonal crystal in one image.

    The power of the Hann-windowed image is set against the noise of the Fourier plane (a robust
    mean over rings, and over rows and columns near the axes, where scan lines leave streaks).
    Significant maxima are indexed by every pair among them that could span a hexagonal lattice
    sheared by up to 10 %; of those that explain the peaks the primitive one is taken and refined
    on all its harmonics.

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
    middle = _middle(image)
    shape = np.array([middle.shape[1], middle.shape[0]], float)
    power = _power(middle)
    ratio = power / _noise_power(power, middle.shape)
    peaks, ratios = _candidates(power, ratio, middle.shape)
    if len(peaks) < 2:
        raise NoLatticeError(
            f"{len(peaks)} Bragg peaks stand out of the noise and a lattice needs 2: raise the "
            "dose, focus on the specimen, or take a field of view with 6 to 60 px to a lattice "
            "constant"
        )
    first = _index(peaks, ratios, ratio, shape)
    reciprocal = fit_reciprocal(image, reduce_basis(first))
    indices, explained, _ = _explained(peaks, reciprocal, shape)
    return BraggPeaks(reciprocal, peaks, indices, explained, np.sqrt(ratios))


def reduce_basis(basis: np.ndarray) -> np.ndarray:
    """Two shortest vectors of the lattice that ``basis`` (rows) spans, about 60 degrees apart.

    Lagrange-Gauss reduction; the second lies on from the first, from +x towards +y, and the first
    within 30 degrees of +x or the nearest there is.
    """
    first, second = (np.array(row, float) for row in basis)
    while True:
        if first @ first > second @ second:
            first, second = second, first
        step = round(float(first @ second / (first @ first)))
        if step == 0:
            break
        second = second - step * first
    if first @ second < 0.0:
        second = -second
    ring = np.array([first, second, second - first])
    ring = np.concatenate([ring, -ring])
    angle = np.arctan2(ring[:, 1], ring[:, 0])
    order = np.argsort(angle)
    start = int(np.argmin(np.abs(angle[order])))
    return ring[order[[start, (start + 1) % 6]]]


def _middle(image: Array) -> Array:
    """Return the middle of the image, no side longer than `SEARCH_SIDE`."""
    cut = [max(0, size - SEARCH_SIDE) // 2 for size in image.shape]
    return image[
        cut[0] : cut[0] + min(image.shape[0], SEARCH_SIDE),
        cut[1] : cut[1] + min(image.shape[1], SEARCH_SIDE),
    ]


def _power(image: Array) -> Array:
    """Power of the half Fourier plane of the Hann-windowed image less its mean, float32."""
    xp = array_module(image)
    work = image.astype(xp.float32) - xp.float32(image.mean())
    for axis, size in enumerate(image.shape):
        window = xp.asarray(np.hanning(size + 1)[:size].astype(np.float32))
        work *= window[:, None] if axis == 0 else window[None, :]
    spectrum = rfft2(work)
    return spectrum.real**2 + spectrum.imag**2


def _noise_power(power: Array, shape: tuple[int, int]) -> Array:
    """Mean power of the noise at every bin of the half plane.

    The mean of the logarithm of an exponential variable lies Euler's constant below the logarithm
    of its mean, and a few Bragg peaks hardly move it. A running median over radius takes out the
    rings that hold many of them.
    """
    xp = array_module(power)
    logs = xp.log(power + xp.float32(1e-30) + 1e-12 * power.max())
    rows = np.fft.fftfreq(shape[0])[:, None]
    columns = np.fft.rfftfreq(shape[1])[None, :]
    side = min(shape)
    radius = xp.asarray((np.hypot(rows, columns) * side + 0.5).astype(np.int32))
    count = to_host(xp.bincount(radius.reshape(-1)))
    total = to_host(xp.bincount(radius.reshape(-1), weights=logs.reshape(-1)))
    profile = _running_median(total / np.maximum(count, 1)) + np.euler_gamma
    noise = xp.asarray(np.exp(profile).astype(np.float32))[radius]
    # Scan lines of unequal offset, and edges of the frame, put streaks on the axes.
    for axis_bins in (slice(0, 2), slice(-1, None)):
        line = to_host(logs[axis_bins, :].mean(0))
        streak = xp.asarray(np.exp(_running_median(line) + np.euler_gamma).astype(np.float32))
        noise[axis_bins, :] = xp.maximum(noise[axis_bins, :], streak[None, :])
    line = to_host(logs[:, :2].mean(1))
    half = np.fft.fftshift(line)
    streak_rows = np.fft.ifftshift(np.exp(_running_median(half) + np.euler_gamma))
    noise[:, :2] = xp.maximum(noise[:, :2], xp.asarray(streak_rows.astype(np.float32))[:, None])
    return noise


def _running_median(profile: np.ndarray) -> np.ndarray:
    """Median over a window that is wider than a Bragg peak and its neighbours."""
    half = max(4, len(profile) // 24)
    padded = np.pad(profile, half, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    return np.asarray(np.median(windows, axis=1))


def _candidates(
    power: Array, ratio: Array, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Significant maxima: (n, 2) in cycles per pixel with sub-bin places, and power ratios."""
    xp = array_module(power)
    found = np.stack([to_host(part) for part in xp.nonzero(ratio > CANDIDATE_RATIO)])
    values = to_host(ratio[ratio > CANDIDATE_RATIO]).astype(float)
    order = np.argsort(-values)[: 40 * MOST_CANDIDATES]
    rows, columns, values = found[0][order], found[1][order], values[order]
    signed = np.where(rows > shape[0] // 2, rows - shape[0], rows)
    far = np.hypot(signed / shape[0], columns / shape[1]) * min(shape) >= LEAST_PERIODS
    rows, columns, values, signed = rows[far], columns[far], values[far], signed[far]
    kept: list[int] = []
    place = np.stack([columns, signed], 1).astype(float)
    for k in range(len(values)):
        gaps = place[kept] - place[k]
        mirror = place[kept] + place[k]
        nearest = min(
            np.hypot(*gaps.T).min(initial=np.inf), np.hypot(*mirror.T).min(initial=np.inf)
        )
        if nearest > PEAK_WIDTH_BINS:
            kept.append(k)
        if len(kept) == MOST_CANDIDATES:
            break
    bins = place[kept] + _sub_bin(power, rows[kept], columns[kept])
    return bins / np.array([shape[1], shape[0]]), values[kept]


def _sub_bin(power: Array, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(n, 2) offsets (x, y) in bins: vertex of the parabola through the logarithms of power."""
    xp = array_module(power)
    height, width = power.shape
    steps = np.array([[0, 0], [0, -1], [0, 1], [-1, 0], [1, 0]])
    row = (rows[:, None] + steps[:, 0]) % height
    column = np.clip(np.abs(columns[:, None] + steps[:, 1]), 0, width - 1)
    logs = np.log(to_host(power[xp.asarray(row), xp.asarray(column)]).astype(float) + 1e-30)
    middle, left, right, up, down = logs.T
    offsets = []
    for before, after in ((left, right), (up, down)):
        curvature = np.minimum(before - 2 * middle + after, -1e-6)
        offsets.append(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5))
    return np.stack(offsets, 1)


def _explained(
    peaks: np.ndarray, basis: np.ndarray, shape: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest node (n, 2) of each peak, whether it explains the peak, and by what chance it would.

    A dense enough set of nodes explains any peak; the chance is the part of the reciprocal cell
    that lies within the tolerance.
    """
    indices = np.rint(peaks @ np.linalg.inv(basis))
    gap = np.hypot(*((peaks - indices @ basis) * shape).T)
    length = np.hypot(*(peaks * shape).T)
    tolerance = NODE_TOLERANCE_BINS + NODE_TOLERANCE * length
    chance = np.pi * tolerance**2 / abs(np.linalg.det(basis * shape))
    return indices.astype(int), (gap <= tolerance) & indices.any(1), chance


def _index(peaks: np.ndarray, ratios: np.ndarray, ratio: Array, shape: np.ndarray) -> np.ndarray:
    """Basis (2, 2) of the primitive hexagonal lattice that explains the peaks."""
    signed = np.concatenate([peaks, -peaks])
    weight = np.sqrt(ratios)
    best: list[tuple[float, float, np.ndarray]] = []
    for k in range(len(peaks)):
        for other in range(len(signed)):
            basis = np.array([signed[k], signed[other]])
            if not _hexagonal(basis) or not _third_peak(basis, ratio, shape):
                continue
            _, explained, chance = _explained(peaks, basis, shape)
            if chance.max() > MOST_CHANCE:
                continue
            score = float((weight * (explained - chance)).sum())
            best.append((score, abs(np.linalg.det(basis)), basis))
    if not best:
        raise NoLatticeError(
            f"{len(peaks)} peaks stand out of the noise, but no three of them form a hexagonal "
            "lattice: check the focus, or that the field of view holds a crystal seen down its "
            "c axis"
        )
    most = max(score for score, _, _ in best)
    return max((b for b in best if b[0] >= EQUAL_PART * most), key=lambda b: b[1])[2]


def _hexagonal(basis: np.ndarray) -> bool:
    """Whether the rows could be neighbouring shortest vectors of a sheared hexagonal lattice."""
    first, second = np.hypot(*basis.T)
    cosine = float(basis[0] @ basis[1]) / (first * second)
    third = float(np.hypot(*(basis[1] - basis[0])))
    lengths = (first, second, third)
    low, high = (np.cos(np.radians(angle)) for angle in ANGLE_RANGE_DEG)
    return bool(high <= cosine <= low and max(lengths) <= LENGTH_RATIO * min(lengths))


def _third_peak(basis: np.ndarray, ratio: Array, shape: np.ndarray) -> bool:
    """Whether the difference of two neighbours of the first ring is a peak as well."""
    third = (basis[1] - basis[0]) * shape
    if third[0] < 0:
        third = -third
    height, width = ratio.shape
    column, row = (round(float(v)) for v in third)
    rows = np.arange(row - 1, row + 2) % height
    columns = np.arange(max(column - 1, 0), min(column + 2, width))
    xp = array_module(ratio)
    around = ratio[xp.asarray(rows)[:, None], xp.asarray(columns)[None, :]]
    return around.size > 0 and float(around.max()) >= THIRD_PEAK_RATIO
