"""Position errors, and whether positions are drawn to the centres of pixels or of cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Locking:
    """How far positions are drawn towards a grid's points.

    Attributes
    ----------
    amplitude_px
        Of the error as a sine of the place between grid points; negative towards them. Rounding to
        the grid gives -1/pi of its step, no bias 0.
    error_px
        Its standard error.
    """

    amplitude_px: float
    error_px: float


def rms(error: np.ndarray) -> float:
    """Root mean square length of errors (n, 2)."""
    return float(np.sqrt((error**2).sum(axis=1).mean())) if len(error) else float("nan")


def phase(place: np.ndarray, step: float, centre: float) -> np.ndarray:
    """Distance of coordinates from the nearest grid point, in steps, -0.5 to 0.5."""
    turns = (np.asarray(place, float) - centre) / step
    return np.asarray(turns - np.round(turns))


def locking(place: np.ndarray, error: np.ndarray, step: float, centre: float) -> Locking:
    """Fit the error's first harmonic over a grid's step, x and y together.

    Parameters
    ----------
    place, error
        True positions and errors, (n, 2), pixels.
    step, centre
        Distance between grid points, and the coordinate of one: pixels have 1 and 0, cells of a
        heat map of stride s have s and (s - 1) / 2.
    """
    wave = np.sin(2 * np.pi * phase(place, step, centre)).ravel()
    # The mean is taken off: a shift of all positions is an error, but no drawing towards a grid.
    sample = 2 * wave * (error - error.mean(axis=0)).ravel()
    return Locking(float(sample.mean()), float(sample.std() / np.sqrt(len(sample))))


def by_phase(
    place: np.ndarray, error: np.ndarray, step: float, centre: float, bins: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean error and its standard error by phase: bin centres in steps, means, errors; (bins,)."""
    where = phase(place, step, centre).ravel()
    bin_of = np.clip(((where + 0.5) * bins).astype(int), 0, bins - 1)
    flat = error.ravel()
    groups = [flat[bin_of == k] for k in range(bins)]
    middle = (np.arange(bins) + 0.5) / bins - 0.5
    mean = np.array([g.mean() if len(g) else np.nan for g in groups])
    spread = np.array([g.std() / np.sqrt(len(g)) if len(g) else np.nan for g in groups])
    return middle, mean, spread
