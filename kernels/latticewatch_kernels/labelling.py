"""What is periodic in a frame and what is not: Bragg filter, residual significance, masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.columns import (
    ColumnMap,
    SitesInside,
    column_map,
    column_profile,
    sample,
    site_intensity,
)
from latticewatch_kernels.fourier import irfft2, rfft2
from latticewatch_kernels.harmonics import Harmonics, measure_harmonics
from latticewatch_kernels.lattice import Array, Lattice
from latticewatch_kernels.noise import IntensityClasses, NoiseLine
from latticewatch_kernels.order import OrderMap, local_order
from latticewatch_kernels.periodic import bragg_filter, leaked, rebuilt, window_px
from latticewatch_kernels.sampling import gaussian
from latticewatch_kernels.straightening import (
    RowShifts,
    measure_row_shifts,
    straighten,
)

__all__ = ["Labels", "bragg_filter", "label", "local_order", "site_intensity"]

#: Significance beyond which a pixel is labelled.
LABEL_SIGMAS = 4.0


@dataclass(frozen=True)
class Labels:
    """Labels of one frame; every map has the frame's shape.

    Attributes
    ----------
    image
        float32, the frame with its scan lines straightened, which all maps belong to.
    row_shifts
        How far its scan lines were moved back.
    periodic
        float32, the perfect crystal that the frame averages to, in the frame's own units.
    residual
        float32, frame less periodic part; 0 in holes.
    matched
        float32, residual filtered with the column's shape (a Gaussian of unit sum).
    z
        float32, matched residual over its noise, which rises with the intensity of the periodic
        part as counting noise does: by how many standard deviations a column differs.
    bright, dark
        bool, z above and below the threshold.
    hole
        bool, pixels without specimen.
    order
        Local order on a coarse grid and the area fractions.
    columns
        Calibration of the matched residual to column intensity, for `site_intensity`.
    noise
        Variance of one pixel's residual over the periodic part, scan lines not yet straightened.
    """

    image: Array
    row_shifts: RowShifts
    periodic: Array
    residual: Array
    matched: Array
    z: Array
    bright: Array
    dark: Array
    hole: Array
    order: OrderMap
    columns: ColumnMap
    noise: NoiseLine

    @property
    def fractions(self) -> np.ndarray:
        """Crystalline, disordered and hole fraction of the area, float64 (3,)."""
        return self.order.fractions


def label(
    image: Array,
    lattice: Lattice,
    threshold: float = LABEL_SIGMAS,
    harmonics: Harmonics | None = None,
) -> Labels:
    """Label what differs from the perfect crystal.

    Parameters
    ----------
    image
        (rows, columns) real; conditioned.
    lattice
        Its lattice, by `registration.register`.
    threshold
        Significance in standard deviations beyond which a pixel is labelled bright or dark.
    harmonics
        Of the image at the lattice's nodes, where known already (`registration.registered`).

    Raises
    ------
    NoLatticeError
        No harmonic of the lattice stands out of the noise.
    """
    image = image.astype(np.float32, copy=False)
    if harmonics is None:
        harmonics = measure_harmonics(image, np.linalg.inv(lattice.matrix))
    order = local_order(image, lattice, harmonics)
    profile = column_profile(harmonics, lattice)
    shape = (image.shape[0], image.shape[1])
    sites = SitesInside.of(lattice, order, shape)
    # an average over some hundred rows, which their shifts widen by next to nothing
    periodic, residual, hole = rebuilt(image, lattice, order)
    parts, sigma = (residual, periodic, hole), profile[0]
    maps, values, row_shifts, noise = _measured(image, parts, sites, lattice, sigma, threshold)
    leak = leaked(lattice, sigma, window_px(lattice, shape))
    columns = column_map(values, sites, lattice, profile, leak)
    image, residual, matched, z, bright, dark = maps
    return Labels(
        image, row_shifts, periodic, residual, matched, z, bright, dark, hole, order, columns, noise
    )


#: Maps of labels (image, residual, matched, z, bright, dark), values at sites, row shifts, noise.
_Measured = tuple[tuple[Array, ...], np.ndarray, RowShifts, NoiseLine]


def _measured(
    image: np.ndarray,
    parts: tuple[np.ndarray, np.ndarray, np.ndarray],
    sites: SitesInside,
    lattice: Lattice,
    sigma: float,
    threshold: float,
) -> _Measured:
    """Put scan lines back where they belong, and hold what is left against its noise.

    ``parts`` are the residual, periodic part and holes of the frame as it was written.
    """
    left, periodic, hole = parts
    classes, noise = IntensityClasses.and_line(left, periodic, hole)
    row_shifts = measure_row_shifts(image, periodic, hole, lattice.constant, noise)
    image = straighten(image, row_shifts)
    residual = image - periodic
    residual[hole] = 0.0
    matched = _matched(residual, sigma)
    matched[hole] = 0.0
    z = matched / np.sqrt(classes.line(matched).variance(periodic))
    bright, dark = (z > threshold) & ~hole, (z < -threshold) & ~hole
    values = sample(matched, sites.places)
    return (image, residual, matched, z, bright, dark), values, row_shifts, noise


def _matched(residual: Array, sigma: float) -> Array:
    """Residual smoothed by a Gaussian of unit sum."""
    shape = tuple(residual.shape)
    spectrum = rfft2(residual)
    smooth_spectrum(spectrum, shape, sigma)
    return irfft2(spectrum, shape)


def smooth_spectrum(spectrum: Array, shape: tuple[int, ...], sigma: float) -> None:
    """Multiply a half spectrum by that of a Gaussian of unit sum, in place."""
    down, across = _gaussian_spectrum(shape, sigma)
    spectrum *= down[:, None]
    spectrum *= across[None, :]


def _gaussian_spectrum(shape: tuple[int, ...], sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Half spectrum of a Gaussian of unit sum, along each axis, float32."""
    frequencies = (np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1]))
    down, across = (gaussian(2.0 * np.pi * sigma * f, 1.0).astype(np.float32) for f in frequencies)
    return down, across
