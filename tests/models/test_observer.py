import numpy as np
import pytest

from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.imaging import Detector
from latticewatch_models.microscope import ImagingConfig
from latticewatch_models.observer import best_f1, detectability

WS2 = CRYSTALS["WS2"]
READINGS = {(r.species, r.sublattice): r for r in WS2.readings}


def test_against_flat_noise_it_is_the_norm_of_the_probe():
    """Where read noise drowns all else: d' = height * sqrt(pi sigma^2) / noise."""
    imaging = ImagingConfig(tail_share=0.0, detector=Detector(gain=1.0, read_noise=1e4))
    height = imaging.electrons_per_unit(WS2)
    sigma = imaging.probe.core_sigma_px
    wanted = height * np.sqrt(np.pi) * sigma / 1e4
    assert detectability(WS2, READINGS["VW", 0], imaging) == pytest.approx(wanted, rel=0.01)


def test_it_grows_with_the_root_of_the_dose_and_with_what_is_missing():
    quiet = Detector(read_noise=0.0)

    def of(species, dose):
        imaging = ImagingConfig(dose_e_per_pixel=dose, detector=quiet)
        return detectability(WS2, READINGS[species], imaging)

    assert of(("VS", 1), 6400.0) == pytest.approx(2 * of(("VS", 1), 1600.0), rel=1e-3)
    assert of(("VS2", 1), 1600.0) == pytest.approx(2 * of(("VS", 1), 1600.0), rel=1e-3)
    assert of(("VW", 0), 1600.0) > of(("MoW", 0), 1600.0) > of(("VS2", 1), 1600.0)


def test_a_drawn_sample_has_the_f1_that_the_formula_gives():
    rng = np.random.default_rng(1)
    true = rng.random(400_000) < 0.02
    z = rng.standard_normal(true.size) + 3.0 * true
    best = 0.0
    for threshold in np.linspace(1.5, 4.5, 61):
        seen = z > threshold
        best = max(best, 2 * (seen & true).sum() / (seen.sum() + true.sum()))
    assert best_f1(3.0, 0.02) == pytest.approx(best, abs=0.01)


def test_perfect_separation_is_perfect():
    assert best_f1(20.0, 0.01) == pytest.approx(1.0, abs=1e-6)
