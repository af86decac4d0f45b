from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch_kernels.noise import IntensityClasses, fit_noise_line, noise_line
from latticewatch_kernels.robust import median, spread


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40), st.booleans())
def test_a_median_is_numpys(values, single):
    array = np.array(values, np.float32 if single else np.float64)
    assert median(array) == pytest.approx(float(np.median(array.astype(float))), rel=1e-12)


def test_nothing_has_no_median():
    with pytest.raises(ValueError, match="at least one"):
        median(np.zeros(0))


def test_the_spread_is_a_normal_variables_standard_deviation():
    values = np.random.default_rng(5).normal(scale=3.0, size=20_000)
    assert spread(values) == pytest.approx(3.0, rel=0.03)


def test_noise_is_fitted_to_the_pixels_outside_holes():
    """Counting noise of twice the intensity and a half; in the hole there is anything at all."""
    rng = np.random.default_rng(8)
    level = rng.uniform(1.0, 4.0, (300, 301)).astype(np.float32)
    residual = (rng.normal(size=level.shape) * np.sqrt(2.0 * level + 0.5)).astype(np.float32)
    hole = np.zeros(level.shape, bool)
    hole[:120] = True
    residual[hole], level[hole] = 40.0, 9.0
    line = noise_line(residual, level, hole)
    assert line.slope == pytest.approx(2.0, abs=0.25)
    assert line.base == pytest.approx(0.5, abs=0.6)
    assert IntensityClasses.of(level, hole).line(residual) == line


def test_the_order_of_the_pixels_does_not_matter():
    rng = np.random.default_rng(9)
    level = rng.uniform(1.0, 4.0, 5000)
    residual = rng.normal(size=5000) * np.sqrt(level)
    mixed = rng.permutation(5000)
    assert fit_noise_line(residual[mixed], level[mixed]) == fit_noise_line(residual, level)
