"""HAADF image formation: columns to expected electrons to counts.

The incoherent image is the sum over columns of their intensity times the probe's profile (Pennycook
and Jesson, Ultramicroscopy 37, 14 (1991)); the detector counts electrons, so noise is Poisson.
The image is sampled where the probe dwells, not averaged over the pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

#: Full width at half maximum of a Gaussian over its standard deviation.
FWHM_PER_SIGMA = 2.3548200450309493

#: The core is cut off here, in standard deviations: exp(-3.3^2 / 2) is 0.4 % of the peak.
CORE_REACH = 3.3

#: The tail is computed on every second pixel: its width is several pixels, so nothing is lost.
TAIL_STEP = 2


@dataclass(frozen=True)
class Probe:
    """Probe profile in pixels: a Gaussian core and a wider Gaussian tail.

    Attributes
    ----------
    core_sigma_px, tail_sigma_px
        Standard deviations.
    tail_share
        Share of the probe's current in the tail.
    """

    core_sigma_px: float
    tail_sigma_px: float
    tail_share: float

    @property
    def core_height(self) -> float:
        """Height of the core at its centre, in units of the whole profile's."""
        tail = self.tail_share / self.tail_sigma_px**2
        core = (1.0 - self.tail_share) / self.core_sigma_px**2
        return float(core / (core + tail))


def render_columns(
    shape: tuple[int, int],
    points: np.ndarray,
    weight: np.ndarray,
    probe: Probe,
    row_shift_px: np.ndarray | None = None,
) -> np.ndarray:
    """Noiseless image of columns, float32 ``shape``.

    Parameters
    ----------
    points
        (n, 2), positions (x, y) in pixels; may lie outside the frame.
    weight
        (n,), intensity: the image's value at the centre of a column of weight 1 that stands alone.
    probe
        Profile.
    row_shift_px
        (rows,), scan-line jitter: how far each row was written to the right. The tail, much wider
        than the jitter, is not moved.
    """
    image = _render_core(shape, points, weight * probe.core_height, probe, row_shift_px)
    if probe.tail_share > 0.0:
        image += _render_tail(shape, points, weight * (1.0 - probe.core_height), probe)
    return image


def _render_core(
    shape: tuple[int, int],
    points: np.ndarray,
    weight: np.ndarray,
    probe: Probe,
    row_shift_px: np.ndarray | None,
) -> np.ndarray:
    rows, columns = shape
    reach = max(1, int(np.ceil(CORE_REACH * probe.core_sigma_px)))
    slack = reach + (0.0 if row_shift_px is None else float(np.abs(row_shift_px).max()))
    x, y = points.T.astype(np.float32)
    near = (x > -slack) & (x < columns - 1 + slack) & (y > -reach) & (y < rows - 1 + reach)
    x, y, height = x[near], y[near], weight[near].astype(np.float32)
    span = np.arange(-reach, reach + 1, dtype=np.int32)
    row = np.round(y).astype(np.int32)[:, None] + span
    falloff = np.float32(-0.5 / probe.core_sigma_px**2)
    profile_y = np.exp(falloff * (row - y[:, None]) ** 2) * height[:, None]
    if row_shift_px is None:
        centre = np.broadcast_to(x[:, None], row.shape)
    else:
        shift = np.asarray(row_shift_px, np.float32)
        centre = x[:, None] + shift[np.clip(row, 0, rows - 1)]
    column = np.round(centre).astype(np.int32)[:, :, None] + span
    stamp = np.exp(falloff * (column - centre[:, :, None]) ** 2) * profile_y[:, :, None]
    # a rim around the frame takes what falls outside, so that no stamp needs a test
    wide = columns + 2
    flat = (np.clip(row, -1, rows) + 1)[:, :, None] * wide + np.clip(column, -1, columns) + 1
    total = np.bincount(flat.ravel(), stamp.ravel(), minlength=(rows + 2) * wide)
    return total.reshape(rows + 2, wide)[1:-1, 1:-1].astype(np.float32)


def _render_tail(
    shape: tuple[int, int], points: np.ndarray, weight: np.ndarray, probe: Probe
) -> np.ndarray:
    """Points dealt out bilinearly on a coarse grid, blurred, and interpolated back."""
    sigma = probe.tail_sigma_px / TAIL_STEP
    rim = int(np.ceil(3.0 * sigma)) + 1
    rows, columns = (-(-side // TAIL_STEP) + 1 + 2 * rim for side in shape)
    u = np.clip(np.asarray(points) / TAIL_STEP + rim, 0.0, [columns - 1.001, rows - 1.001])
    outside = ((u <= 0.0) | (u >= np.array([columns - 1.001, rows - 1.001]))).any(axis=1)
    u, mass = u[~outside], weight[~outside]
    base = u.astype(np.int64)
    fx, fy = (u - base).T
    start = base[:, 1] * columns + base[:, 0]
    place = np.concatenate([start, start + 1, start + columns, start + columns + 1])
    share = np.concatenate([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy])
    coarse = np.bincount(place, share * np.tile(mass, 4), minlength=rows * columns)
    # dealing out bilinearly widens by 1/6 coarse pixel squared on average over the phase, and the
    # interpolation back by 1/8 (0 on the coarse pixels, 1/4 between): the Gaussian is narrower
    narrow = np.sqrt(max(sigma**2 - 1 / 6 - 1 / 8, 0.25))
    grid = coarse.reshape(rows, columns).astype(np.float32)
    blurred = ndimage.gaussian_filter(grid, narrow, mode="constant", truncate=3.5)
    return upsample(blurred[rim:, rim:] * np.float32(2.0 * np.pi * sigma**2), TAIL_STEP, shape)


def upsample(coarse: np.ndarray, step: int, shape: tuple[int, int]) -> np.ndarray:
    """Linear interpolation by a whole factor; pixel (r, c) lies at (r / step, c / step).

    Raises
    ------
    ValueError
        The coarse grid does not reach over the whole frame.
    """
    if (coarse.shape[0] - 1) * step < shape[0] - 1 or (coarse.shape[1] - 1) * step < shape[1] - 1:
        raise ValueError(f"a coarse grid {coarse.shape} by {step} does not cover {shape}")
    rows, columns = (-(-side // step) + 1 for side in shape)
    coarse = np.asarray(coarse, np.float32)
    if coarse.shape[0] < rows or coarse.shape[1] < columns:
        coarse = np.pad(coarse, [(0, 1), (0, 1)], mode="edge")
    tall = _between(coarse[:rows, :columns].T, step)
    return _between(tall[:, : shape[0]].T, step)[:, : shape[1]]


def _between(coarse: np.ndarray, step: int) -> np.ndarray:
    """Linear interpolation along the last axis, which loses its last sample."""
    low, high = coarse[:, :-1], coarse[:, 1:]
    fine = np.empty((len(coarse), low.shape[1], step), np.float32)
    rise = (high - low) / np.float32(step)
    for phase in range(step):
        fine[:, :, phase] = low + np.float32(phase) * rise
    return fine.reshape(len(coarse), -1)


def smooth_noise(
    shape: tuple[int, int], sigma_px: float, rng: np.random.Generator, step: int = 1
) -> np.ndarray:
    """Gaussian noise of unit variance, correlated over about ``sigma_px``; float32 ``shape``."""
    sigma = sigma_px / step
    coarse = tuple(-(-side // step) + 2 for side in shape)
    noise = rng.standard_normal(coarse, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, sigma, mode="wrap", truncate=3.0)
    noise /= max(float(noise.std()), 1e-6)
    return upsample(noise, step, shape) if step > 1 else noise[: shape[0], : shape[1]]


@dataclass(frozen=True)
class Detector:
    """From expected electrons to what the file holds.

    Attributes
    ----------
    gain
        Counts per electron.
    offset
        Dark level, counts.
    read_noise
        Standard deviation of the electronics, counts.
    dtype
        ``"uint16"`` (rounded and clipped) or ``"float32"``.
    """

    gain: float = 40.0
    offset: float = 200.0
    read_noise: float = 12.0
    dtype: str = "uint16"

    def __post_init__(self) -> None:
        if self.dtype not in ("uint16", "float32"):
            raise ValueError(f"detector dtype {self.dtype!r} is not known: use uint16 or float32")

    def expose(self, expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw counts for the expected electrons in each pixel, with the same shape."""
        counts = rng.poisson(expected).astype(np.float32)
        counts *= np.float32(self.gain)
        counts += np.float32(self.offset)
        if self.read_noise > 0.0:
            noise = rng.standard_normal(counts.shape, dtype=np.float32)
            counts += noise * np.float32(self.read_noise)
        if self.dtype == "uint16":
            return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)
        return counts
