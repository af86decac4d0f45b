"""How noise depends on intensity, by the frame's own residual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.conditioning import even_sample
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.transfers import down

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
        xp = array_module(periodic)
        line = xp.float32(self.slope) * periodic + xp.float32(self.base)
        return xp.maximum(line, xp.float32(self.least))


def noise_line(residual: Array, periodic: Array, hole: Array) -> NoiseLine:
    """Fit a line to the variance of an even sample of pixels; holes are left out."""
    values, level, left_out = down(*(even_sample(image) for image in (residual, periodic, hole)))
    return fit_noise_line(values[~left_out], level[~left_out])


def fit_noise_line(residual: np.ndarray, level: np.ndarray) -> NoiseLine:
    """Fit a line to robust variances (from the median absolute value) of classes of intensity.

    Parameters
    ----------
    residual, level
        (n,) each, on the host: what differs from the noiseless intensity, and that intensity.
    """
    size, level = np.abs(residual).astype(float), np.asarray(level, float)
    classes = np.array_split(np.argsort(level), NOISE_CLASSES)
    variance = np.array([(1.4826 * np.median(size[part])) ** 2 for part in classes])
    middle = np.array([np.median(level[part]) for part in classes])
    # The relative error of a variance is the same in every class: weigh by its inverse.
    slope, base = np.polyfit(middle, variance, 1, w=1.0 / np.maximum(variance, 1e-30))
    least = max(float(variance.min()) * 0.5, float(np.finfo(np.float32).tiny))
    return NoiseLine(float(slope), float(base), least)
