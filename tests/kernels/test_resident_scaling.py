"""A frame is brought to another scale on a device as on the host."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.patches import rescale, rescaled_shape
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.plan import Plan, Room
from latticewatch_kernels.resident.scaling import rescaled

from .guarded import above, drawn, seeds


def plan_for(shape: tuple[int, int], scaled: tuple[int, int] | None) -> Plan:
    return Plan(shape, 3, shape, scaled, Room())


def facts_with(factor: float) -> np.ndarray:
    values = np.zeros(slots.NUMBER)
    values[slots.PLACE["factor"]] = factor
    return values


@drawn
@given(st.integers(16, 60), st.integers(16, 60), st.floats(0.3, 2.5), seeds)
def test_like_the_twin(device_double, rows, columns, factor, seed):
    image = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    plan = plan_for((rows, columns), rescaled_shape((rows, columns), factor))
    given_ = above(device_double, image), above(device_double, facts_with(factor))
    found = to_host(rescaled(*given_, plan))
    expected = rescale(image, factor)
    assert found.shape == expected.shape
    # weights differ by a unit in the last place of single precision at most, 2 x 12 taps
    np.testing.assert_allclose(found, expected, 0.0, 24 * 2.0**-23 * np.abs(image).max())


@pytest.mark.parametrize("factor", [np.nan, 0.0, -1.0, np.inf, 1e-9])
def test_a_factor_that_is_none_reads_nothing_outside(device_double, factor):
    image = above(device_double, np.ones((20, 30), np.float32))
    found = rescaled(image, above(device_double, facts_with(factor)), plan_for((20, 30), (25, 40)))
    assert np.isfinite(to_host(found)).all()


def test_where_no_scale_is_wanted_the_frame_stays(device_double):
    image = above(device_double, np.ones((20, 30), np.float32))
    assert rescaled(image, above(device_double, facts_with(1.0)), plan_for((20, 30), None)) is image
