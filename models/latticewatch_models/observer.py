"""The physical limit: what an observer who knows crystal, probe, noise and site could tell.

The matched filter of a known signal in known noise separates defect from host by
``d'^2 = sum (difference^2 / variance)`` standard deviations (Barrett and Myers, Foundations of
Image Science, ch. 13 (2004)), here with the variance of the undisturbed image.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from latticewatch_models.crystal import Crystal, Reading
from latticewatch_models.imaging import render_columns
from latticewatch_models.microscope import ImagingConfig
from latticewatch_models.view import lattice_of, lattice_vectors

#: Side of the image that is summed over, in lattice constants: beyond it the probe's tail is gone.
_SIDE_CONSTANTS = 8.0


def detectability(crystal: Crystal, reading: Reading, imaging: ImagingConfig) -> float:
    """Compute how many standard deviations a defect stands out, d', in one frame.

    Jitter, drift and contamination are left out: they only take away from it.
    """
    vectors = lattice_vectors(crystal, imaging.pixel_size_nm, imaging.rotation_deg)
    side = int(_SIDE_CONSTANTS * crystal.lattice_constant_nm / imaging.pixel_size_nm)
    middle = np.array([side, side]) / 2.0
    lattice = lattice_of(vectors, middle, crystal)
    steps = np.arange(-8, 9)
    cells = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    unit = imaging.electrons_per_unit(crystal)
    host = np.zeros((side, side), np.float32)
    for site in (0, 1):
        points = lattice.site_positions(cells, np.full(len(cells), site))
        weight = np.full(len(cells), crystal.host_intensity(site))
        host += unit * render_columns((side, side), points, weight, imaging.probe)
    place = lattice.site_positions(np.zeros((1, 2), int), np.array([reading.sublattice]))
    change = crystal.reading_intensity(reading) - crystal.host_intensity(reading.sublattice)
    signal = unit * render_columns((side, side), place, np.array([change]), imaging.probe)
    variance = host + (imaging.detector.read_noise / imaging.detector.gain) ** 2
    return float(np.sqrt(np.sum(signal**2 / np.maximum(variance, 1e-6))))


def best_f1(separation: float, prevalence: float) -> float:
    """Best F1 of a threshold between two normal distributions ``separation`` deviations apart.

    Parameters
    ----------
    separation
        d'.
    prevalence
        Share of the sites that hold the defect.
    """

    def lost(threshold: float) -> float:
        hits = prevalence * norm.sf(threshold - separation)
        alarms = (1.0 - prevalence) * norm.sf(threshold)
        return float(-2.0 * hits / (hits + alarms + prevalence))

    found = minimize_scalar(lost, bounds=(0.0, separation + 6.0), method="bounded")
    return float(-found.fun)
