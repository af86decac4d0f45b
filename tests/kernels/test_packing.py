"""Arrays of any type and size come down as they are, by one copy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from latticewatch_kernels.arrays import mark
from latticewatch_kernels.packing import Below, fetch_packed

from .guarded import drawn, seeds

TYPES = [np.int8, np.int32, np.float32, np.float64]
SHAPES = st.lists(
    st.tuples(st.sampled_from(TYPES), st.integers(0, 70), st.integers(0, 3)), min_size=1, max_size=9
)


def brought(double, arrays: list[np.ndarray], odd: list[int]) -> list[np.ndarray]:
    """Bring arrays that begin so many entries behind a block of the device's memory."""
    above = []
    for array, skipped in zip(arrays, odd, strict=True):
        wide = double.cupy.asarray(np.concatenate([np.zeros(skipped, array.dtype), array]))
        above.append(wide[skipped:])
    below = Below.like(above)
    fetch_packed(above, below)
    mark().synchronize()
    return [part.copy() for part in below.parts]


@drawn
@given(shapes=SHAPES, seed=seeds)
def test_what_comes_down_is_what_was_there(device_double, shapes, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-128, 128, size).astype(kind) for kind, size, _ in shapes]
    found = brought(device_double, arrays, [skipped for *_, skipped in shapes])
    for one, expected in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(one, expected)
        assert one.dtype == expected.dtype


def test_one_copy_brings_all(device_double):
    arrays = [np.arange(9.0), np.ones(5, np.int8), np.zeros((0, 2), np.float32)]
    traffic = device_double.traffic
    above = [device_double.cupy.asarray(array) for array in arrays]
    before = traffic.down
    below = Below.like(above)
    fetch_packed(above, below)
    mark().synchronize()
    assert traffic.down - before == 1
    assert [part.shape for part in below.parts] == [array.shape for array in arrays]
