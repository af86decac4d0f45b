"""How noise depends on intensity, by the frame's own residual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.conditioning import even_sample
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.robust import spread

#: Classes of intensity into which pixels are sorted to see how noise depends on it; 2,500 pixels
#: each, a robust variance good to 5 %.
NOISE_CLASSES = 8


@dataclass(frozen=True)
class NoiseLine:
    """Variance of a residual as a line over the intensity, as counting noise has it.

    Attributes
    ----------
    slope, base
        ``variance = slope * intensity + base``, in units of the image.
    least
        What the line is not followed below.
    """

    slope: float
    base: float
    least: float

    def variance(self, periodic: Array) -> Array:
        """Variance at every pixel of a periodic part, float32."""
        line = periodic * np.float32(self.slope)
        line += np.float32(self.base)
        return np.asarray(np.maximum(line, np.float32(self.least), out=line))


@dataclass(frozen=True)
class IntensityClasses:
    """An even sample of a frame's pixels in classes of intensity, holes left out.

    Attributes
    ----------
    kept
        Numbers of the pixels within the sample, by rising intensity.
    level
        (n,) their intensity, in that order.
    """

    kept: np.ndarray
    level: np.ndarray

    @classmethod
    def of(cls, periodic: Array, hole: Array) -> IntensityClasses:
        """Sort the pixels of a frame, given its periodic part and bool which are in a hole."""
        return cls._sorted(even_sample(periodic), even_sample(hole))

    @classmethod
    def and_line(
        cls, residual: Array, periodic: Array, hole: Array
    ) -> tuple[IntensityClasses, NoiseLine]:
        """Sort the pixels as `of` does, and fit the line of a residual."""
        classes = cls.of(periodic, hole)
        return classes, classes.line(residual)

    @classmethod
    def _sorted(cls, level: np.ndarray, left_out: np.ndarray) -> IntensityClasses:
        kept = np.flatnonzero(~left_out)
        level = level[kept]
        rising = np.argsort(level)
        return cls(kept[rising], level[rising])

    def line(self, residual: Array) -> NoiseLine:
        """Fit a line to the variance of a residual of the same frame."""
        return _line(even_sample(residual)[self.kept], self.level)


def noise_line(residual: Array, periodic: Array, hole: Array) -> NoiseLine:
    """Fit a line to the variance of an even sample of pixels; holes are left out."""
    return IntensityClasses.and_line(residual, periodic, hole)[1]


def fit_noise_line(residual: np.ndarray, level: np.ndarray) -> NoiseLine:
    """Fit a line to robust variances (from the median absolute value) of classes of intensity.

    Parameters
    ----------
    residual, level
        (n,) each, on the host: what differs from the noiseless intensity, and that intensity; n at
        least `NOISE_CLASSES`.
    """
    rising = np.argsort(level)
    return _line(residual[rising], level[rising])


def _line(residual: np.ndarray, level: np.ndarray) -> NoiseLine:
    """Fit the line to pixels by rising intensity."""
    variance = np.array([spread(part) ** 2 for part in np.array_split(residual, NOISE_CLASSES)])
    middle = np.array([_middle(part) for part in np.array_split(level, NOISE_CLASSES)])
    # The relative error of a variance is the same in every class: weigh by its inverse.
    slope, base = np.polyfit(middle, variance, 1, w=1.0 / np.maximum(variance, 1e-30))
    least = max(float(variance.min()) * 0.5, float(np.finfo(np.float32).tiny))
    return NoiseLine(float(slope), float(base), least)


def _middle(rising: np.ndarray) -> float:
    """Median of sorted values."""
    return 0.5 * (float(rising[(len(rising) - 1) // 2]) + float(rising[len(rising) // 2]))
