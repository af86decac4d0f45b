"""Power of a frame's Fourier plane, the noise in it, and the maxima that stand out of that noise.

The half plane is held as [row, column] with the frequency along y rising from row 0 through zero
in the middle row, and that along x from zero in column 0.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from latticewatch_kernels.fourier import rfft2
from latticewatch_kernels.localisation import maxima_around

#: Maxima expected by chance in a frame of noise. Noise power is exponential, so that the threshold
#: on power over mean noise is the logarithm of the number of bins over this.
CHANCE_MAXIMA = 0.3

#: The strongest candidates are kept for indexing.
MOST_CANDIDATES = 32

#: Nearer than this to a stronger one, in bins, a maximum belongs to the same peak (a Hann window's
#: main lobe is 4 bins wide; slow distortion of the scan widens it).
PEAK_WIDTH_BINS = 3.5

#: Fewest periods across the shorter side.
LEAST_PERIODS = 3.0

#: Running medians of noise profiles take this part of the profile on either side, and at least so
#: many bins: wider than a Bragg peak, narrower than the fall of the noise.
MEDIAN_PART = 1 / 24
MEDIAN_BINS = 4


def hann_power(image: np.ndarray) -> np.ndarray:
    """Power of the half Fourier plane of the Hann-windowed image less its mean, float32."""
    work = image.astype(np.float32) - image.mean(dtype=np.float32)
    work *= hann(image.shape[0])[:, None]
    work *= hann(image.shape[1])[None, :]
    spectrum = rfft2(work)
    return np.asarray(np.fft.fftshift(spectrum.real**2 + spectrum.imag**2, axes=0))


def noise_power(power: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Mean power of the noise at every bin of the half plane of a frame of ``shape``.

    The mean of the logarithm of an exponential variable lies Euler's constant below the logarithm
    of its mean, and a few Bragg peaks hardly move it. A running median over radius takes out the
    rings that hold many of them. Scan lines of unequal offset put streaks on the axes: there the
    noise is at least that along the axis.
    """
    logs = np.log(power + (np.float32(1e-12) * power.max() + np.float32(1e-30)))
    place = rings(shape)
    middle = shape[0] // 2
    total = np.bincount(place.reshape(-1), weights=logs.reshape(-1))
    along_x, along_y = logs[middle - 1 : middle + 2].mean(0), logs[:, :2].mean(1)
    profiles = (total / _ring_sizes(shape), along_x, along_y)
    by_ring, along_x, along_y = (_noise_profile(profile) for profile in profiles)
    noise = by_ring[place]
    strip = noise[middle - 1 : middle + 2]
    noise[middle - 1 : middle + 2] = np.maximum(strip, along_x[None, :])
    noise[:, :2] = np.maximum(noise[:, :2], along_y[:, None])
    return np.asarray(noise)


def least_ratio(bins: int) -> float:
    """Power over noise from which a maximum stands out of a half plane of so many bins."""
    return float(np.log(bins / CHANCE_MAXIMA))


def significant_maxima(
    image: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maxima of the half plane that stand out of the noise, strongest first.

    Parameters
    ----------
    image
        (rows, columns).
    level
        Power over the noise that is asked for at any place afterwards (`reached_near`).

    Returns
    -------
    peaks, ratios
        (n, 2) frequencies (x, y) in cycles per pixel with sub-bin places, and (n,) power ratios.
    reached
        bool, the bins of the half plane that reach the level.
    """
    shape = (image.shape[0], image.shape[1])
    power = hann_power(image)
    ratio = power / noise_power(power, shape)
    maxima = maxima_around(ratio, power, least_ratio(ratio.size), True)
    peaks, ratios = _strongest(shape, *maxima)
    return peaks, ratios, ratio >= level


def _strongest(
    shape: tuple[int, int],
    rows: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    around: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and ratios of the peaks among the maxima of a frame's half plane."""
    place = np.stack([columns, rows - shape[0] // 2], 1).astype(float)
    far = np.hypot(place[:, 0] / shape[1], place[:, 1] / shape[0]) * min(shape) >= LEAST_PERIODS
    order = np.flatnonzero(far)[np.argsort(-values[far], kind="stable")]
    kept: list[int] = []
    for k in order:
        near = np.concatenate([place[kept] - place[k], place[kept] + place[k]])
        if np.hypot(near[:, 0], near[:, 1]).min(initial=np.inf) > PEAK_WIDTH_BINS:
            kept.append(int(k))
        if len(kept) == MOST_CANDIDATES:
            break
    bins = place[kept] + _sub_bin(around[kept])
    return bins / np.array([shape[1], shape[0]]), values[kept]


def reached_near(reached: np.ndarray, frequency: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Whether a bin next to each of (n, 2) frequencies (x, y) is among those reached, (n,)."""
    bins = frequency * np.array([shape[1], shape[0]])
    bins = np.where(bins[:, :1] < 0.0, -bins, bins)
    steps = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 2)
    place = np.rint(bins).astype(int)[:, None, :] + steps
    rows = (place[..., 1] + shape[0] // 2) % reached.shape[0]
    columns = np.clip(np.abs(place[..., 0]), 0, reached.shape[1] - 1)
    return np.asarray(reached[rows, columns].any(axis=1))


@lru_cache(maxsize=8)
def hann(size: int) -> np.ndarray:
    """Hann window without its zeros at the ends, float32."""
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    return np.asarray(window.astype(np.float32))


@lru_cache(maxsize=4)
def rings(shape: tuple[int, int]) -> np.ndarray:
    """Ring of each bin of the half plane, in bins of the shorter side."""
    rows = np.fft.fftshift(np.fft.fftfreq(shape[0]))[:, None]
    columns = np.fft.rfftfreq(shape[1])[None, :]
    return np.asarray((np.hypot(rows, columns) * min(shape) + 0.5).astype(np.int32))


@lru_cache(maxsize=8)
def _ring_sizes(shape: tuple[int, int]) -> np.ndarray:
    """Bins to each ring."""
    return np.maximum(np.bincount(rings(shape).reshape(-1)), 1)


def _noise_profile(mean_log: np.ndarray) -> np.ndarray:
    """Noise power from a profile of mean logarithms: its running median, set to the mean."""
    half = half_window(len(mean_log))
    level = ndimage.median_filter(mean_log, 2 * half + 1, mode="nearest")
    return np.asarray(np.exp(level + np.euler_gamma).astype(np.float32))


def half_window(size: int) -> int:
    """Places on either side that the running median of a profile takes in."""
    return max(MEDIAN_BINS, int(size * MEDIAN_PART))


def _sub_bin(around: np.ndarray) -> np.ndarray:
    """(n, 2) offsets (x, y) in bins: vertex of the parabola through the logarithms of power.

    ``around`` holds the power of the bins around each maximum, (n, 3, 3).
    """
    logs = np.log(around + 1e-30)
    offsets = []
    for before, after in ((logs[:, 1, 0], logs[:, 1, 2]), (logs[:, 0, 1], logs[:, 2, 1])):
        curvature = np.minimum(before - 2.0 * logs[:, 1, 1] + after, -1e-6)
        offsets.append(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5))
    return np.stack(offsets, 1)
