import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

from latticewatch_models import calibration  # noqa: E402
from latticewatch_models.targets import make_targets  # noqa: E402


def test_what_was_claimed_too_surely_is_brought_to_what_comes_true():
    rng = np.random.default_rng(0)
    honest = rng.normal(-0.5, 2.0, 20000)
    right = rng.random(20000) < 1 / (1 + np.exp(-honest))
    claimed = 2.0 * honest + 1.0
    found = calibration.fit(claimed, right, np.full(len(right), -0.5))
    assert found.low == found.high == -0.5
    assert found.scale - 0.5 * found.scale_slope == pytest.approx(0.5, abs=0.03)
    assert found.shift - 0.5 * found.shift_slope == pytest.approx(-0.5, abs=0.05)


def test_what_is_over_claimed_in_noise_alone_is_lowered_there_alone():
    rng = np.random.default_rng(1)
    noise = rng.uniform(-2.0, 0.0, 20000)
    honest = rng.normal(-0.5, 2.0, 20000)
    right = rng.random(20000) < 1 / (1 + np.exp(-honest))
    found = calibration.fit(honest + 2.0 + noise, right, noise)
    assert found.shift_slope == pytest.approx(-1.0, abs=0.1)
    assert found.shift == pytest.approx(-2.0, abs=0.15)
    logits = torch.tensor([2.0, 0.0]).reshape(2, 1, 1, 1)
    seen = found.apply(logits, torch.tensor([0.0, -2.0]).reshape(2, 1, 1, 1))
    np.testing.assert_allclose(seen.flatten(), [0.0, 0.0], atol=0.15)
    beyond = found.apply(logits, torch.tensor([3.0, -9.0]).reshape(2, 1, 1, 1))
    np.testing.assert_allclose(beyond, seen, atol=0.1)


def test_the_noise_is_known_whatever_lies_under_it():
    rng = np.random.default_rng(2)
    x, y = np.meshgrid(np.arange(256), np.arange(256))
    smooth = np.sin(2 * np.pi * x / 10.5) + np.cos(2 * np.pi * (x + 1.7 * y) / 21)
    for sigma in (0.1, 1.0):
        frame = smooth + sigma * rng.standard_normal((256, 256))
        level = calibration.log_noise(torch.from_numpy(frame.astype(np.float32))[None, None])
        assert np.exp(level.item()) == pytest.approx(sigma, rel=0.06)


def test_claims_without_an_error_keep_a_finite_scale():
    found = calibration.fit(np.array([-3.0, 4.0]), np.array([False, True]), np.array([-1.0, -2.0]))
    assert abs(found.scale) < 20.0
    nothing = np.zeros(0)
    assert calibration.fit(nothing, nothing, nothing) == calibration.Calibration()


def test_a_claim_is_right_where_the_truth_stands_and_none_where_it_is_silent():
    shape = (64, 64)
    truth = make_targets(np.array([[20.0, 20.0], [50.0, 44.0]]), shape, 4)
    said = make_targets(np.array([[21.0, 20.5], [20.0, 44.0], [50.0, 20.0], [1.0, 30.0]]), shape, 4)
    silent = np.zeros((16, 16), bool)
    silent[5, 12] = True  # the cell of (50, 20)
    logit, right = calibration._claims(
        (0.9 * said.heat, said.offset), (truth.heat, truth.offset), silent, 4
    )
    # near the truth; on nothing; the others are in silence and on the border
    np.testing.assert_allclose(logit, np.log(9.0), rtol=1e-5)
    assert sorted(right.tolist()) == [False, True]
