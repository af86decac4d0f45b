"""Condition a frame as acquired: check its content, flatten its background, set its contrast."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import ndimage

from latticewatch_kernels.lattice import Array, FrameFaultError

#: Blocks along the shorter side of the decimated image on which the background is estimated.
BACKGROUND_BLOCKS = 32

#: Gaussian scale of the background as a fraction of the shorter side, and its least value in
#: pixels. Far above the Bragg spacing of the coarsest lattice served (52 px for 60 px), and so wide
#: that a hole of a quarter of the frame keeps most of its depth.
BACKGROUND_FRACTION = 1 / 5
BACKGROUND_LEAST_PX = 48.0

#: Blocks that lie this many robust standard deviations off the background (holes, particles)
#: are left out of it.
OUTLIER_SIGMAS = 2.5

#: Least part of the Gaussian that must be left in for a new estimate of the background.
LEAST_KEPT = 0.02

#: Pixels looked at for median and spread; 1/sqrt(n) of a standard deviation is below 1 %.
STATISTICS_PIXELS = 20_000


class FrameContentError(FrameFaultError):
    """A frame whose content cannot be analysed: not finite, or constant."""


def condition(frame: Array, *, flatten: bool = True) -> Array:
    """Flatten the background of a frame and normalise its contrast.

    Parameters
    ----------
    frame
        (rows, columns) of any real number type, in detector units.
    flatten
        Subtract the slowly varying background (a robust Gaussian average over a fifth of the
        shorter side, at least 48 px, from which holes and particles are left out).

    Returns
    -------
    Array
        float32, same shape. Its median is 0 and half the distance between its 15.87 % and 84.13 %
        quantiles is 1 (one standard deviation for a normal distribution), both estimated from an
        even sample of 20,000 pixels. Intensity stays linear: value = (frame - background) / scale.

    Raises
    ------
    FrameContentError
        The frame is not two-dimensional, holds NaN or infinity, or is constant.
    """
    check_shape(frame.shape)
    low, high = float(frame.min()), float(frame.max())
    check_content(np.array([low, high]))
    # The span is divided out first, so that any number type fits float32 without loss of contrast.
    image = _to_unit_range(frame, low, high)
    if flatten:
        image -= background(image)
    quantiles = np.percentile(even_sample(image), [15.865, 50.0, 84.135])
    spread = 0.5 * float(quantiles[2] - quantiles[0])
    if spread <= 0.0:
        # Fewer than a sixth of the pixels differ from the rest: set the scale by all of them.
        spread = float(image.std())
    image -= np.float32(quantiles[1])
    image *= np.float32(1.0 / spread)
    return image


def check_shape(shape: tuple[int, ...]) -> None:
    """Refuse what is no image.

    Raises
    ------
    FrameContentError
        It is not two-dimensional, or a single line.
    """
    if len(shape) != 2 or min(shape) < 2:
        raise FrameContentError(
            f"frame has shape {tuple(shape)}", "send one two-dimensional image a frame"
        )


def check_content(facts: np.ndarray) -> None:
    """Refuse a frame that cannot be analysed.

    Parameters
    ----------
    facts
        Least and greatest pixel first, on the host; what follows is not looked at.

    Raises
    ------
    FrameContentError
        The frame holds NaN or infinity, or is constant.
    """
    low, high = float(facts[0]), float(facts[1])
    if not (math.isfinite(low) and math.isfinite(high)):
        raise FrameContentError(
            "frame holds NaN or infinite pixels",
            "replace them or send the detector's raw integers",
        )
    if low == high:
        raise FrameContentError(
            f"frame is constant ({low:g} everywhere)",
            "check that the beam is unblanked and the detector is inserted",
        )


def _to_unit_range(frame: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map [low, high] to [0, 1] in float32; wide types are centred in double precision first."""
    if frame.dtype.itemsize > 2 and frame.dtype != np.float32:
        centred = frame.astype(np.float64)
        centred -= low
        centred *= 1.0 / high if high - low == math.inf else 1.0 / (high - low)
        return np.asarray(centred, np.float32)
    image = frame.astype(np.float32)
    image -= np.float32(low)
    image *= np.float32(1.0 / (high - low))
    return image


def even_sample(image: np.ndarray, pixels: int = STATISTICS_PIXELS) -> np.ndarray:
    """About ``pixels`` pixels at a stride that shares no factor with the width, 1-D.

    A stride that divided the width would look at the same columns in every row, and so at one phase
    of a lattice that lies along the columns.
    """
    return image.reshape(-1)[:: sample_step(image.shape, pixels)]


def sample_step(shape: tuple[int, ...], pixels: int = STATISTICS_PIXELS) -> int:
    """Pixels from one of an even sample to the next."""
    step = max(1, shape[0] * shape[1] // pixels)
    while math.gcd(step, shape[1]) > 1:
        step += 1
    return step


def background(image: np.ndarray, scale_px: float | None = None) -> np.ndarray:
    """Slowly varying background of an image, same shape, float32.

    A plane and, on it, a Gaussian average of block means, renormalised at the frame's border;
    blocks more than 2.5 robust standard deviations off a first estimate are left out of the second.

    Parameters
    ----------
    image
        (rows, columns) float32.
    scale_px
        Standard deviation of the Gaussian in pixels; a fifth of the shorter side, at least 48.
    """
    block, scale = blocks_of(image.shape)
    scale = scale_px or scale
    means = block_means(image, block)

    def smooth(values: np.ndarray) -> np.ndarray:
        width = scale / block
        return np.asarray(ndimage.gaussian_filter(values, width, mode="constant", truncate=3.0))

    weight = np.ones_like(means)
    # A plane is taken off first: at the border a Gaussian average lags behind a slope.
    plane = _plane(means)
    means -= plane
    level = smooth(means) / smooth(weight)
    for _ in range(2):
        gap = np.abs(means - level)
        weight = (gap <= OUTLIER_SIGMAS * 1.4826 * np.median(gap)).astype(means.dtype)
        total = smooth(weight)
        # Where next to nothing was kept (inside a wide hole) the former estimate stands.
        trusted = total > LEAST_KEPT
        level = np.where(trusted, smooth(means * weight) / np.where(trusted, total, 1.0), level)
    level += plane
    rows, columns = (
        _upsampling(size, blocks, block)
        for size, blocks in zip(image.shape, means.shape, strict=True)
    )
    return np.asarray(rows @ level @ columns.T)


def blocks_of(shape: tuple[int, ...]) -> tuple[int, float]:
    """Side of the blocks that the background is found on, and its Gaussian's scale, in pixels."""
    side = min(shape)
    return max(1, side // BACKGROUND_BLOCKS), max(side * BACKGROUND_FRACTION, BACKGROUND_LEAST_PX)


def _plane(blocks: np.ndarray) -> np.ndarray:
    """Least-squares plane through a map, same shape."""
    (y, fit_y), (x, fit_x) = (_slope(size) for size in blocks.shape)
    along_y, along_x = fit_y @ blocks.mean(1), blocks.mean(0) @ fit_x
    return np.asarray(blocks.mean() + y[:, None] * along_y + x[None, :] * along_x)


@lru_cache(maxsize=16)
def _slope(size: int) -> np.ndarray:
    """Places about their middle, and the weights whose sum with values gives their slope."""
    place = np.arange(size) - 0.5 * (size - 1)
    single = place.astype(np.float32)
    return np.stack([single, single / max(float((place**2).mean()), 1e-12) / size])


def block_means(image: np.ndarray, block: int) -> np.ndarray:
    """Means of whole blocks; a last incomplete block is left out (it is extrapolated)."""
    rows, columns = (size // block for size in image.shape)
    whole = image[: rows * block, : columns * block].reshape(rows, block, columns * block)
    # a product sums short groups many times faster than a sum over a short axis does
    part = np.full(block, 1.0 / block**2, np.float32)
    sums = whole.sum(1, dtype=np.float32).reshape(rows, columns, block)
    # OpenBLAS has raised the flag of an invalid operation once in many thousand frames, in which
    # all was finite and the same product raised nothing again; NaN and infinity are refused before
    with np.errstate(invalid="ignore"):
        return np.asarray(np.matmul(sums, part))


@lru_cache(maxsize=16)
def _upsampling(size: int, blocks: int, block: int) -> np.ndarray:
    """(size, blocks) matrix of linear interpolation between block centres."""
    place = np.clip((np.arange(size) + 0.5) / block - 0.5, 0.0, blocks - 1.0)
    lower = np.minimum(place.astype(int), max(blocks - 2, 0))
    matrix = np.zeros((size, blocks), np.float32)
    matrix[np.arange(size), lower] = 1.0 - (place - lower)
    if blocks > 1:
        matrix[np.arange(size), lower + 1] = place - lower
    return matrix
