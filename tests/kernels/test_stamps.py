from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticewatch_kernels.sampling import LEAST_WEIGHT, gaussian
from latticewatch_kernels.stamps import draw, stamps

SHAPE = (40, 56)


def columns(points, height, sigma):
    """Columns by the formula itself, on every pixel."""
    y, x = np.indices(SHAPE)
    total = np.zeros(SHAPE)
    for (px, py), h in zip(points, height, strict=True):
        total += h * np.exp(-0.5 * ((x - px) ** 2 + (y - py) ** 2) / sigma**2)
    return total


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sigma=st.floats(0.7, 4.0),
    number=st.integers(1, 12),
)
def test_columns_are_drawn_where_they_stand(seed, sigma, number):
    """Also over the border, and one on the other."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-3.0, 3.0, (number, 2)) + rng.uniform(0, 1, (number, 2)) * SHAPE[::-1]
    height = rng.normal(size=number)
    drawn = draw(points, [(height, sigma)], np.zeros(SHAPE, np.float32))
    assert drawn.dtype == np.float32
    # beyond 3.5 standard deviations along an axis a column is cut off
    worst = np.exp(-0.5 * 3.5**2) * np.abs(height).sum()
    np.testing.assert_allclose(drawn, columns(points, height, sigma), atol=worst + 1e-5)


@pytest.mark.parametrize("sigma", [0.8, 1.46, 3.0])
def test_sums_are_those_over_the_whole_frame(sigma):
    rng = np.random.default_rng(4)
    image = rng.normal(size=SHAPE).astype(np.float32) + 2.0
    points = rng.uniform([0, 0], [SHAPE[1] - 1, SHAPE[0] - 1], (30, 2))
    laid = stamps(points, sigma, image, reach=6.0)
    each = np.array([columns([p], [1.0], sigma) for p in points])
    np.testing.assert_allclose(laid.sums(image), (each * image).sum((1, 2)), rtol=1e-4, atol=1e-4)
    squared = (each**2 * image).sum((1, 2))
    np.testing.assert_allclose(laid.squared_sums(image), squared, rtol=1e-4, atol=1e-4)


def test_no_weight_is_too_small_for_a_processor():
    """Products of three are still normal numbers of float32."""
    weight = gaussian(np.linspace(-50.0, 50.0, 4001), 1.3)
    assert weight.max() == 1.0
    positive = weight[weight > 0]
    assert positive.min() >= LEAST_WEIGHT
    assert np.float32(positive.min()) ** 3 > np.finfo(np.float32).tiny
    np.testing.assert_allclose(weight, np.exp(-0.5 * (np.linspace(-50, 50, 4001) / 1.3) ** 2),
                               atol=LEAST_WEIGHT)  # fmt: skip
