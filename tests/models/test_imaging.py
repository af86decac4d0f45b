import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticewatch_models.imaging import Detector, Probe, render_columns, smooth_noise, upsample

PROBE = Probe(core_sigma_px=1.2, tail_sigma_px=4.3, tail_share=0.3)


def exact(shape, points, weight, probe):
    rows, columns = np.indices(shape)
    total = np.zeros(shape)
    for (x, y), w in zip(points, weight, strict=True):
        r2 = (columns - x) ** 2 + (rows - y) ** 2
        core = probe.core_height * np.exp(-r2 / (2 * probe.core_sigma_px**2))
        tail = (1 - probe.core_height) * np.exp(-r2 / (2 * probe.tail_sigma_px**2))
        total += w * (core + tail)
    return total


@given(x=st.floats(-6, 37), y=st.floats(-6, 30))
@settings(max_examples=40, deadline=None)
def test_a_lone_column_anywhere_has_the_probes_profile(x, y):
    points = np.array([[x, y]])
    image = render_columns((24, 31), points, np.ones(1), PROBE)
    np.testing.assert_allclose(image, exact((24, 31), points, [1.0], PROBE), atol=0.012)


def test_columns_add_up_by_weight():
    rng = np.random.default_rng(0)
    points, weight = rng.uniform(-3, 60, (80, 2)), rng.uniform(0.1, 2, 80)
    image = render_columns((50, 61), points, weight, PROBE)
    expected = exact((50, 61), points, weight, PROBE)
    assert np.abs(image - expected).max() < 0.02 * expected.max()


def test_shares_of_core_and_tail_are_those_of_the_current():
    image = render_columns((101, 101), np.array([[50.3, 49.8]]), np.ones(1), PROBE)
    core_only = Probe(1.2, 4.3, 0.0)
    core = render_columns((101, 101), np.array([[50.3, 49.8]]), np.ones(1), core_only)
    share = 1 - core.sum() * PROBE.core_height / image.sum()
    assert share == pytest.approx(0.3, abs=0.005)


@pytest.mark.parametrize("sigma", [2.5, 4.3, 9.0])
def test_the_coarse_tail_has_the_tails_weight_and_width(sigma):
    probe = Probe(core_sigma_px=0.5, tail_sigma_px=sigma, tail_share=0.999)
    points = np.random.default_rng(6).uniform(50, 52, (300, 2))
    image = render_columns((103, 101), points, np.ones(300), probe).astype(float)
    expected = exact((103, 101), points, np.ones(300), probe)
    assert image.sum() == pytest.approx(expected.sum(), rel=0.002)
    rows, columns = np.indices(image.shape)
    for axis, middle in ((columns, points[:, 0].mean()), (rows, points[:, 1].mean())):
        width, wanted = ((axis - middle) ** 2 * i / i.sum() for i in (image, expected))
        assert width.sum() == pytest.approx(wanted.sum(), rel=0.01)


def test_jitter_moves_each_row_by_its_own_shift():
    shift = np.random.default_rng(1).normal(0, 0.5, 21)
    sharp = Probe(1.2, 4.3, 0.0)
    image = render_columns((21, 21), np.array([[10.2, 10.0]]), np.ones(1), sharp, shift)
    centre = (image * np.arange(21)).sum(axis=1)[8:13] / image.sum(axis=1)[8:13]
    np.testing.assert_allclose(centre, 10.2 + shift[8:13], atol=0.01)


def test_counts_are_poisson_with_gain_and_dark_level():
    detector = Detector(gain=7.0, offset=100.0, read_noise=0.0, dtype="float32")
    counts = detector.expose(np.full((400, 400), 12.5, np.float32), np.random.default_rng(2))
    electrons = (counts - 100.0) / 7.0
    np.testing.assert_array_equal(electrons, np.rint(electrons))
    # standard error of mean and variance of 160,000 Poisson counts: 0.009 and 0.045
    assert electrons.mean() == pytest.approx(12.5, abs=0.045)
    assert electrons.var() == pytest.approx(12.5, abs=0.23)


def test_read_noise_adds_to_the_variance():
    detector = Detector(gain=10.0, offset=500.0, read_noise=20.0)
    counts = detector.expose(np.full((400, 400), 3.0, np.float32), np.random.default_rng(3))
    assert counts.dtype == np.uint16
    assert counts.var() == pytest.approx(3.0 * 100 + 400 + 1 / 12, rel=0.03)


def test_uint16_is_clipped_not_wrapped():
    counts = Detector(gain=1000.0).expose(np.full((8, 8), 1e4), np.random.default_rng(0))
    assert (counts == 65535).all()


def test_an_unknown_type_is_refused():
    with pytest.raises(ValueError, match="uint16 or float32"):
        Detector(dtype="int8")


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), step=st.integers(2, 9))
@settings(deadline=None)
def test_upsampling_keeps_a_plane(rows, columns, step):
    down, across = np.indices((-(-rows // step) + 1, -(-columns // step) + 1)) * step
    fine = upsample(2.0 * down + 3.0 * across, step, (rows, columns))
    expected = 2.0 * np.indices((rows, columns))[0] + 3.0 * np.indices((rows, columns))[1]
    np.testing.assert_allclose(fine, expected, atol=1e-3)


def test_upsampling_refuses_a_grid_that_is_too_small():
    with pytest.raises(ValueError, match="does not cover"):
        upsample(np.zeros((3, 3)), 4, (20, 20))


@pytest.mark.parametrize("step", [1, 2])
def test_smooth_noise_has_unit_variance_and_the_stated_width(step):
    noise = smooth_noise((300, 300), 4.0, np.random.default_rng(5), step)
    assert noise.std() == pytest.approx(1.0, abs=0.05)
    lagged = np.mean(noise[:, :-6] * noise[:, 6:])
    # white noise blurred by a Gaussian has the autocorrelation exp(-d^2 / (4 sigma^2))
    assert lagged == pytest.approx(np.exp(-36 / 64), abs=0.08)
