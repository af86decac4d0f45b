import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

from latticewatch_models import calibrating  # noqa: E402
from latticewatch_models.targets import make_targets  # noqa: E402


def test_what_was_claimed_too_surely_is_brought_to_what_comes_true():
    rng = np.random.default_rng(0)
    honest = rng.normal(-0.5, 2.0, 20000)
    right = rng.random(20000) < 1 / (1 + np.exp(-honest))
    claimed = 2.0 * honest + 1.0
    found = calibrating.fit(claimed, right)
    assert found.scale == pytest.approx(0.5, abs=0.03)
    assert found.shift == pytest.approx(-0.5, abs=0.05)


def test_claims_without_an_error_keep_a_finite_scale():
    found = calibrating.fit(np.array([-3.0, 4.0]), np.array([False, True]))
    assert np.isfinite([found.scale, found.shift]).all()
    assert calibrating.fit(np.zeros(0), np.zeros(0)) == calibrating.Calibration()


def test_a_claim_is_right_where_the_truth_stands_and_none_where_it_is_silent():
    shape = (64, 64)
    truth = make_targets(np.array([[20.0, 20.0], [50.0, 44.0]]), shape, 4)
    said = make_targets(np.array([[21.0, 20.5], [20.0, 44.0], [50.0, 20.0], [1.0, 30.0]]), shape, 4)
    silent = np.zeros((16, 16), bool)
    silent[5, 12] = True  # the cell of (50, 20)
    logit, right = calibrating._claims(
        (0.9 * said.heat, said.offset), (truth.heat, truth.offset), silent, 4
    )
    # near the truth; on nothing; the others are in silence and on the border
    np.testing.assert_allclose(logit, np.log(9.0), rtol=1e-5)
    assert sorted(right.tolist()) == [False, True]
