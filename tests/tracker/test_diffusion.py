"""Hop rates, coefficient and anisotropy of diffusion: bias and coverage against known truth."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2
from synthetic import View, detect, info, make_specimen

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from estimating.diffusion import (  # noqa: E402
    LINKED,
    Motion,
    even,
    judge,
    judge_linked,
    linked,
    main_table,
    observed,
    paths,
    sums_of,
)

from latticewatch.detections import FrameInfo  # noqa: E402
from latticewatch.tracker import Tracker, TrackerSettings, clustering, memory  # noqa: E402
from latticewatch.tracker.diffusion import summary  # noqa: E402
from latticewatch.tracker.following import follow  # noqa: E402
from latticewatch.tracker.hops import (  # noqa: E402
    LEAST_PAIRS,
    LINES,
    DiffusionSums,
    line_forms,
)
from latticewatch.tracker.links import UNIT_CELL  # noqa: E402
from latticewatch.tracker.species import species_names  # noqa: E402
from latticewatch_models.crystal import crystal_named  # noqa: E402

COVERED = (0.93, 0.97)
#: Movies that tell 93 % from 95 %: one standard error is 0.6 points.
MOVIES = 1200

FREE = [
    Motion("free", even(0.4), noise, True, frames, vacancies)
    for noise, frames, vacancies in ((0.0, 20, 5), (0.3, 60, 10), (1.0, 100, 20))
]
LATTICE = [
    Motion("lattice", even(rate), flicker, False, frames, vacancies)
    for rate, flicker, frames, vacancies in (
        (0.02, 0.0, 60, 15), (0.02, 0.05, 100, 20), (0.1, 0.05, 30, 10), (0.3, 0.1, 60, 10),
    )
]  # fmt: skip


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=2))
def test_the_three_forms_sum_to_the_squared_length_and_are_dual_to_the_lines(pair):
    step = np.array(pair)
    assert line_forms(step, step).sum() == pytest.approx(((UNIT_CELL @ step) ** 2).sum(), abs=1e-9)
    assert line_forms(LINES, LINES) == pytest.approx(np.eye(3))


@pytest.mark.parametrize(
    "motion", FREE + LATTICE, ids=lambda m: f"{m.name}-{m.rates[0]:.3f}-{m.noise}"
)
def test_rates_are_unbiased_and_intervals_hold_the_truth(motion):
    row = judge(motion, MOVIES, compared=0)
    assert abs(row.bias) < 0.05 or abs(row.bias) < 2 * row.bias_error
    assert abs(row.bias) < 3.3 * row.bias_error
    assert COVERED[0] <= row.covered <= COVERED[1], row
    assert COVERED[0] <= row.lines <= COVERED[1] + 0.01, row
    assert row.rejected <= 0.065, row
    # At isotropy, the edge of what a ratio may be, a central interval holds it in 97.5 %.
    assert 0.95 <= row.ratio <= 0.99, row


def test_anisotropy_is_found_and_its_ratio_covered():
    row = judge(Motion("", (0.05, 0.025, 0.025), 0.02, frames=100, vacancies=30), 600, compared=0)
    assert row.rejected > 0.9
    assert 0.92 <= row.ratio <= 0.98, row
    assert 0.92 <= row.lines <= 0.98, row


def test_tensor_and_axis_are_those_of_the_truth():
    rng = np.random.default_rng(3)
    rates = (0.02, 0.02, 0.06)
    told = summary(
        sums_of(paths(Motion("", rates, 0.02, frames=400, vacancies=100), rng)), 1.0, 0.95
    )
    lines = LINES @ UNIT_CELL.T
    tensor = np.einsum("k,ka,kb->ab", rates, lines, lines) / 2
    for name, truth in zip(("xx", "xy", "yy"), tensor[np.triu_indices(2)], strict=True):
        entry = told["directions"]["D_nm2_s"][name]
        assert abs(entry["value"] - truth) < 3 * entry["standard_error"] < 0.1 * tensor.max()
    axis = told["directions"]["fast_axis"]
    assert abs(axis["angle_from_a1_deg"] - 60.0) < 3 * axis["standard_error_deg"] < 10.0


def test_without_noise_the_interval_is_that_of_a_poisson_count():
    """Fifteen lone hops in 4000 steps: the exact (Garwood) limits of a count of 15."""
    told = DiffusionSums(4000, 4000.0, 3900, 15, 0, 0.0, np.full(3, 5.0), np.zeros(3))
    rate = summary(told, 1.0, 0.95)["hop_rate_per_s"]
    assert rate["value"] * 4000 == pytest.approx(15)
    assert rate["low"] * 4000 == pytest.approx(chi2.ppf(0.025, 30) / 2, rel=0.1)
    assert rate["high"] * 4000 == pytest.approx(chi2.ppf(0.975, 32) / 2, rel=0.1)


def test_frame_by_frame_gives_what_the_formula_gives_on_the_whole_history():
    places = paths(Motion("", even(0.2), 0.1, frames=30, vacancies=8), np.random.default_rng(1))
    sums, before, known = DiffusionSums.empty(), np.zeros((8, 2)), np.zeros(8, bool)
    for step in np.diff(places, axis=0):
        sums = sums.add(step, np.ones(8), before, known)
        before, known = step, np.ones(8, bool)
    steps = np.diff(places @ UNIT_CELL.T, axis=0)
    products = (steps[1:] * steps[:-1]).mean()
    told = summary(sums, 1.0, 0.95)
    assert told["D_nm2_s"]["value"] == pytest.approx((steps**2).mean() / 2 + products, rel=1e-12)
    assert told["localisation_error_nm"] == pytest.approx(np.sqrt(-products), rel=1e-12)
    whole = sums_of(places)
    assert (sums.steps, sums.pairs, sums.changes) == (whole.steps, whole.pairs, whole.changes)
    assert sums.products == pytest.approx(whole.products, rel=1e-12)


def test_flicker_counts_as_changes_of_site_but_not_as_hops():
    motion = Motion("", even(0.001), 0.1, frames=300, vacancies=40)
    told = summary(sums_of(paths(motion, np.random.default_rng(2))), 1.0, 0.95)
    assert told["site_changes_per_s"]["low"] > 0.1
    assert told["hop_rate_per_s"]["high"] < 0.01


def test_rates_per_dose_are_those_per_second_over_the_dose_rate():
    places = paths(Motion("", even(0.2), 0.0, frames=30, vacancies=8), np.random.default_rng(1))
    step = np.diff(places, axis=0).reshape(-1, 2)
    before, paired = np.roll(step, 8, axis=0), np.arange(len(step)) >= 8
    known, unknown = (
        summary(
            DiffusionSums.empty().add(step, np.full(len(step), 2.0), before, paired, dose),
            0.3,
            0.95,
        )
        for dose in (np.full(len(step), 40.0), None)
    )
    for per_dose, per_s in (("hops_A2_per_e", "hop_rate_per_s"), ("D_nm2_A2_per_e", "D_nm2_s")):
        assert unknown[per_dose] is None
        for key in ("value", "standard_error", "low", "high"):
            assert known[per_dose][key] == pytest.approx(known[per_s][key] / 20.0)


def test_too_little_data_gives_no_coefficient():
    told = summary(
        sums_of(paths(Motion("", even(0.2), 0.0, frames=4, vacancies=5), np.random.default_rng(1))),
        1.0,
        0.95,
    )
    assert told["pairs"] < LEAST_PAIRS
    assert told["D_nm2_s"] is told["hop_rate_per_s"] is told["directions"] is None


def test_nothing_that_moves_leaves_an_upper_limit_and_no_direction():
    told = summary(sums_of(np.zeros((31, 5, 2))), 0.3, 0.95)
    rate = told["hop_rate_per_s"]
    assert rate["value"] == rate["low"] == 0.0
    # The exact upper limit of no count in 150 steps is 3.7 / 150.
    assert rate["high"] == pytest.approx(3.689 / 150, rel=0.1)
    assert told["directions"]["isotropy"] is None


def test_the_windows_of_the_original_read_six_times_low_for_free_diffusion():
    rng = np.random.default_rng(4)
    d, frames, middle = 1e-4, 100, clustering.SIDE / 2
    told = []
    for _ in range(400):
        path = np.cumsum(rng.normal(0, np.sqrt(2 * d), (frames, 2)), axis=0) + middle
        windows = np.zeros(1, clustering.WINDOW)
        windows["n"], windows["last_frame"], windows["last_time"] = frames, frames - 1, frames - 1.0
        windows["sums"], windows["squares"] = path.sum(axis=0), (path**2).sum(axis=0)
        told.append(clustering.summary(windows, 1.0, 0.95)["windows"][0]["D_nm2_s"]["value"])
    expected = (frames**2 - 1) / (6 * frames**2)
    assert np.mean(told) / d == pytest.approx(expected, abs=3.3 * np.std(told) / d / 20)


def test_the_windows_of_the_original_give_a_number_for_detections_at_random():
    rng, windows, frames = np.random.default_rng(5), clustering.Windows.empty(), 400
    for frame in range(frames):
        cells = rng.integers(0, 400, (60, 2)) % 40
        windows = windows.add(cells, np.ones(60, np.int8), frame, 2.0 * frame)
    told = clustering.summary(windows.all(), 1.0, 0.95)
    assert told["biased"] is True
    assert len(told["windows"]) == 2
    for window in told["windows"]:
        # The densest windows are those that hold the most sites, out to their edges: a bit more.
        chance = clustering.SIDE**2 / 24 / (window["frames"] * 2.0)
        assert window["D_nm2_s"]["value"] == pytest.approx(chance, rel=0.25)
        assert window["D_nm2_s"]["low"] < window["D_nm2_s"]["value"] < window["D_nm2_s"]["high"]


def test_windows_are_the_same_however_many_vacancies_wait(monkeypatch):
    rng, told = np.random.default_rng(6), []
    frames = [rng.integers(-30, 30, (int(n), 2)) for n in rng.integers(0, 80, 60)]
    for batch in (1, 100, 10**6):
        monkeypatch.setattr(clustering, "BATCH", batch)
        windows = clustering.Windows.empty()
        for frame, cells in enumerate(frames):
            windows = windows.add(cells, np.ones(len(cells), np.int8), frame, 2.0 * frame)
        told.append(np.sort(windows.all(), order="at"))
    assert 100 < len(told[0]) < clustering.MAX_WINDOWS
    for name in clustering.WINDOW.names:
        for other in told[1:]:
            np.testing.assert_allclose(other[name], told[0][name], rtol=1e-12, err_msg=name)


def test_windows_stay_bounded_and_the_longest_unseen_go_first():
    windows = clustering.Windows.empty()
    for frame in range(30):
        cells = np.stack([np.arange(0, 200, 2) + 40 * frame, np.full(100, 40 * frame)], axis=1)
        windows = windows.add(cells, np.ones(100, np.int8), frame, frame * 1.0)
        assert len(windows.held) <= clustering.MAX_WINDOWS
        assert len(windows.waiting) < clustering.BATCH
    told = windows.all()
    assert len(told) == clustering.MAX_WINDOWS
    assert told["last_frame"].max() == 29
    assert told["last_frame"].min() > 20


def test_the_tracker_tells_hops_directions_dose_and_windows():
    specimen = make_specimen(1, counts=(0, 0, 0, 0))
    specimen.vacancies = [(3 * (k % 4) - 7, 3 * (k // 4) - 3) for k in range(12)]
    tracker, rng = Tracker(TrackerSettings(), specimen.crystal), np.random.default_rng(0)
    for frame in range(40):
        specimen.vacancies = [
            (i + int(k == frame % 12), j) for k, (i, j) in enumerate(specimen.vacancies)
        ]
        head = info(frame, dt=2.0)
        head = FrameInfo(frame, head.time_s, head.shape, head.pixel_size_nm, 2.0, 100.0)
        tracker.apply(head, detect(specimen, View(noise=0.005), rng))
    told = tracker.statistics()["diffusion"]
    free, constant = told["free"], specimen.crystal.lattice_constant_nm
    # One of twelve vacancies goes one site along a1 in each frame.
    assert free["site_changes"] == 39
    assert free["hop_rate_per_s"]["value"] == pytest.approx(39 / free["time_at_risk_s"], rel=0.05)
    assert free["D_nm2_s"]["value"] == pytest.approx(
        free["hop_rate_per_s"]["value"] * constant**2 / 4
    )
    assert free["hops_A2_per_e"]["value"] == pytest.approx(free["hop_rate_per_s"]["value"] / 50)
    assert free["directions"]["isotropy"]["p_value"] < 1e-6
    assert free["directions"]["lines"][0]["line"] == "a1"
    assert told["window_variance"]["biased"] is True
    assert len(told["window_variance"]["windows"]) == 2
    restored = Tracker.restore(tracker.save(), TrackerSettings(), specimen.crystal)
    assert restored.statistics() == tracker.statistics()


def test_links_carry_what_the_sums_need():
    """Without a missed detection, an edge or a long jump, linking changes nothing."""
    motion = Motion("", (0.02, 0.02, 0.0), 0.0, frames=30, vacancies=1)
    for seed in range(30):
        rng, again = np.random.default_rng(seed), np.random.default_rng(seed)
        places = paths(motion, again)
        if (line_forms(np.diff(places, axis=0), np.diff(places, axis=0)).sum(-1) > 1.5).any():
            continue
        sums, whole = linked(motion, 0.0, rng), sums_of(places)
        assert (sums.steps, sums.pairs) == (whole.steps, whole.pairs)
        assert sums.squares == pytest.approx(whole.squares)
        assert sums.products == pytest.approx(whole.products)


def test_free_steps_pair_with_free_steps_alone():
    crystal, settings = crystal_named("WS2"), TrackerSettings()
    state = memory.fresh(settings, crystal)
    vacancy = species_names(crystal).index(crystal.vacancy)
    for frame in range(5):
        state.frame = frame
        seen = replace(observed(np.array([[frame, 0]]), vacancy), bound=np.array([frame < 2]))
        follow(state, FrameInfo(frame, float(frame), (64, 64)), seen, crystal, settings)
    told = state.kinetics.all_steps, state.kinetics.free_steps
    assert [(sums.steps, sums.pairs) for sums in told] == [(4, 3), (2, 1)]


def test_the_table_is_printed():
    text = main_table(quick=True)
    assert "original" in text
    assert text.count("lattice") >= 3


@pytest.mark.long
@pytest.mark.parametrize("motion", LINKED, ids=lambda m: f"{sum(m.rates)}-{m.noise}")
def test_what_the_tracker_links_is_unbiased_too(motion):
    bias, error, covered = judge_linked(motion, 0.05, 200)
    assert abs(bias) < 0.05 + error
    assert 0.90 <= covered <= 0.99
