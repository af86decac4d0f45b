"""Defects by FFT subtraction, as the original analysis of the Mo-doped WS2 movie made its labels.

Written from the description in Maksov et al., npj Comput. Mater. 5, 12 (2019): a central disc of
the shifted FFT, of radius N/10, is zeroed and the rest inverted; what the reconstruction leaves of
the image, its magnitude brought to 0 to 1, is a defect below 0.25 and above 0.75; connected
components of a plausible area are the defects, at their centres of mass. numpy and scipy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]

#: The thresholds as published.
PUBLISHED = (0.25, 0.75)
#: Areas of components, pixels, both ends excluded, as published.
AREA = (5, 700)


def residual(frame: Floats) -> Floats:
    """Give what the reconstruction without the disc leaves of the image, 0 to 1."""
    image = np.asarray(frame, np.float64)
    spectrum = np.fft.fftshift(np.fft.fft2(image))
    rows, columns = (np.arange(n) - n // 2 for n in image.shape)
    disc = np.hypot(rows[:, None], columns[None, :]) <= min(image.shape) / 10
    spectrum[disc] = 0
    left = np.abs(image - np.fft.ifft2(np.fft.ifftshift(spectrum)).real)
    spread = float(np.ptp(left))
    return (left - left.min()) / spread if spread else np.zeros_like(left)


def components(mask: NDArray[np.bool_]) -> Floats:
    """Centres of mass (n, 2) of (x, y) of the 8-connected components of a plausible area."""
    labels, number = ndimage.label(mask, np.ones((3, 3)))
    area = np.bincount(labels.ravel(), minlength=number + 1)[1:]
    kept = np.flatnonzero((area > AREA[0]) & (area < AREA[1])) + 1
    if not len(kept):
        return np.zeros((0, 2))
    return np.array(ndimage.center_of_mass(mask, labels, kept), float)[:, ::-1]


def detect(left: Floats, thresholds: tuple[float, float]) -> Floats:
    """Find the defects (n, 2) of a `residual` below the first and above the second threshold."""
    low, high = thresholds
    # a dark defect that touches a bright one is still two
    return np.concatenate([components(left < low), components(left > high)])
