from __future__ import annotations

import numpy as np
import pytest

from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.labelling import bragg_filter
from latticewatch_kernels.registration import register
from latticewatch_kernels.straightening import (
    LONGEST,
    WORTH_PX,
    RowShifts,
    measure_row_shifts,
    straighten,
)


def measured(image, lattice=None):
    lattice = lattice or register(image)
    hole = np.zeros(image.shape, bool)
    return measure_row_shifts(image, bragg_filter(image, lattice), hole, lattice.constant)


def shaken(synthesis, jitter: float, counts: float, seed: int = 3, rotation: float = 7.0):
    """A crystal whose rows were written to the right by known amounts."""
    drawn = synthesis.crystal(rotation=rotation, seed=seed)
    rng = np.random.default_rng(seed)
    shift = jitter * rng.standard_normal(256)
    image = np.zeros((256, 256))
    sigma = 0.135 * 10.5
    x = np.arange(256)
    for row in range(256):
        near = np.abs(drawn.points[:, 1] - row) < 5 * sigma
        px, py = drawn.points[near].T
        height = drawn.intensity[near] * np.exp(-((row - py) ** 2) / (2 * sigma**2))
        place = x[:, None] - shift[row] - px
        image[row] = (height * np.exp(-(place**2) / (2 * sigma**2))).sum(axis=1)
    image = rng.poisson((image + 0.05) * counts).astype(float)
    return image, shift


@pytest.mark.parametrize("rotation", [0.0, 17.0, 30.0])
def test_shifts_are_measured_to_their_error(synthesis, rotation):
    image, shift = shaken(synthesis, 0.3, 40.0, rotation=rotation)
    conditioned = condition(image)
    found = measured(conditioned)
    assert found.jitter_px == pytest.approx(0.3, abs=0.05)
    inner = slice(4, -4)
    # at 0 degrees rows between two lines of columns hold next to nothing to measure by
    assert np.corrcoef(found.shift[inner], shift[inner])[0, 1] > (0.85 if rotation == 0.0 else 0.95)
    assert (found.shift - shift)[inner].std() < (0.15 if rotation == 0.0 else 0.1)


def test_a_straightened_frame_has_no_jitter_left(synthesis):
    conditioned = condition(shaken(synthesis, 0.3, 40.0)[0])
    straight = straighten(conditioned, measured(conditioned))
    assert measured(straight).jitter_px < 0.1


def test_a_frame_without_jitter_comes_back_as_it_is(synthesis):
    conditioned = condition(shaken(synthesis, 0.0, 40.0)[0])
    found = measured(conditioned)
    assert found.jitter_px < WORTH_PX
    assert straighten(conditioned, found) is conditioned


def test_no_row_is_moved_where_the_dose_does_not_tell(synthesis):
    conditioned = condition(shaken(synthesis, 0.3, 0.6)[0])
    found = measured(conditioned, synthesis.crystal().lattice)
    assert np.abs(found.shift).max() < 0.25


def test_whole_pixels_are_moved_exactly():
    image = np.random.default_rng(5).standard_normal((6, 40)).astype(np.float32)
    shift = np.array([0.0, 1.0, -2.0, 3.0, 0.0, -1.0])
    rolled = np.stack([np.roll(row, int(s)) for row, s in zip(image, shift, strict=True)])
    back = straighten(rolled, RowShifts(shift, 1.0))
    np.testing.assert_allclose(back[:, 4:-4], image[:, 4:-4], atol=1e-6)


def test_no_row_is_moved_by_more_than_is_believed(synthesis):
    image, _ = shaken(synthesis, 0.3, 40.0)
    image[100] = np.roll(image[100], 5)
    conditioned = condition(image)
    lattice = register(conditioned)
    found = measured(conditioned, lattice)
    assert np.abs(found.shift).max() <= LONGEST * lattice.constant + 1e-9
