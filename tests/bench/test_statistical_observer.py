"""The observer of the contamination's statistics knows the right ones, and solves his equations."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from judging.frames import Condition, acquire  # noqa: E402
from judging.limit import ideal_on  # noqa: E402
from judging.statistical import Statistics, _Noise, statistical_on, statistics  # noqa: E402

from latticewatch_models.contamination import Contamination  # noqa: E402


def covariance(known: Statistics) -> np.ndarray:
    return np.fft.irfft2(known.patches)


def test_mean_and_covariance_are_those_of_the_simulated_patches() -> None:
    """Oracle: 300 patterns of the simulator."""
    imaging = Condition().imaging(0.0)
    known = statistics(imaging, (64, 64))
    unit = imaging.dose_e_per_pixel * imaging.collected_share * imaging.contamination
    drawn = unit * np.stack(
        [
            Contamination(np.random.default_rng(seed)).patches((65, 65), (32, 32), 0.03)
            for seed in range(300)
        ]
    )
    assert_allclose(drawn.mean(), known.mean, rtol=0.1)
    middle = drawn[:, 32, 32] - known.mean
    table = covariance(known)
    for rows, columns in ((0, 0), (16, 0), (0, 32), (32, 32)):
        found = np.mean(
            [
                (drawn[:, 32 + y, 32 + x] - known.mean) * middle
                for y, x in ((rows, columns), (-rows, columns), (rows, -columns))
            ]
        )
        # 300 patterns know a covariance to 10 % of the variance
        assert_allclose(found, table[rows, columns], atol=0.25 * table[0, 0])


def test_the_noise_is_inverted() -> None:
    rng = np.random.default_rng(3)
    known = statistics(Condition().imaging(0.0), (48, 64))
    noise = _Noise(rng.uniform(2.0, 30.0, (48, 64)), rng.uniform(0.0, 2.0, (48, 64)), known)
    image = rng.normal(size=(48, 64)).astype(np.float32)
    back = noise(noise.solve(image))
    assert np.linalg.norm(back - image) < 0.02 * np.linalg.norm(image)


def test_he_is_sure_where_there_are_electrons_enough_and_near_the_ideal_observer() -> None:
    """At 3,200 electrons a pixel on 4 frames: 20 vacancies, a standard error of 0.1."""
    bright = Condition(20000.0)
    pair = [acquire(bright, 7)], [acquire(bright, 7, contaminated=False)]
    assert statistical_on(*pair, bright).named_f1["VS"] > 0.9
    condition = Condition(3200.0)
    frames, bare = (
        [acquire(condition, 40 + k, contaminated=flag) for k in range(4)] for flag in (True, False)
    )
    here = statistical_on(frames, bare, condition).named_f1["VS"]
    assert here == pytest.approx(ideal_on(frames, condition).named_f1["VS"], abs=0.2)


def test_frames_without_contamination_are_the_same_specimen() -> None:
    dirty, bare = (acquire(Condition(), 11, contaminated=flag) for flag in (True, False))
    np.testing.assert_array_equal(dirty.truth.points, bare.truth.points)
    np.testing.assert_array_equal(dirty.row_shift_px, bare.row_shift_px)
    assert (dirty.expected >= bare.expected - 1e-3).all()
    assert dirty.expected.mean() > bare.expected.mean() + 0.1
