"""The accuracy bench counts right, its limit is one, and the command writes what it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

import accuracy  # noqa: E402
from judging.counting import SPECIES, Found, curve, tally  # noqa: E402
from judging.frames import Condition, Judged, acquire, judged  # noqa: E402
from judging.limit import SITES, ideal, ideal_on, told_sites  # noqa: E402
from judging.positions import locking  # noqa: E402
from peers import fft_subtraction  # noqa: E402

from latticewatch_models.crystal import CRYSTALS  # noqa: E402
from latticewatch_models.observer import best_f1, detectability  # noqa: E402


@pytest.fixture(scope="module")
def truth() -> Judged:
    return judged(acquire(Condition(), 5).truth)


def named(species: np.ndarray) -> np.ndarray:
    return (species[:, None] == np.array(SPECIES)).astype(float)


def test_the_truth_itself_scores_full_marks(truth: Judged) -> None:
    found = Found(truth.points, np.ones(len(truth.points)), named(truth.species))
    counts = tally([(found, truth)])
    assert sum(counts.true.values()) == truth.counts.sum() > 10
    assert (counts.f1(), counts.precision(), counts.recall()) == (1.0, 1.0, 1.0)
    assert all(counts.named_f1(s) == 1.0 for s in SPECIES if counts.true[s])
    assert not counts.error.any()


def test_wrong_names_and_false_alarms_are_told_apart(truth: Judged) -> None:
    metal = truth.counts & (truth.species == "MoW")
    alarm = np.array([[128.0, 128.0]])
    assert np.hypot(*(truth.points - alarm).T).min() > truth.reach_px
    points = np.concatenate([truth.points[metal], alarm])
    called = np.full(len(points), "VW")
    counts = tally([(Found(points, np.ones(len(points)), named(called)), truth)])
    assert counts.recall("MoW") == 1.0
    assert counts.named_f1("MoW") == 0.0
    assert counts.precision() == metal.sum() / (metal.sum() + 1)


def test_what_does_not_count_is_neither_hit_nor_alarm(truth: Judged) -> None:
    bound = truth.species == "bound"
    assert bound.any()
    assert not truth.counts[bound].any()
    points = truth.points[~truth.counts]
    counts = tally([(Found(points, np.ones(len(points))), truth)])
    assert len(counts.score) == 0
    assert counts.recall() == 0.0


def test_bound_vacancies_lie_beside_their_dopants(truth: Judged) -> None:
    lattice = truth.truth.lattice
    dopants = truth.points[truth.species == "MoW"]
    gap = truth.points[truth.species == "bound"][:, None] - dopants[None]
    nearest = np.hypot(gap[..., 0], gap[..., 1]).min(axis=1)
    assert_allclose(nearest, lattice.constant / np.sqrt(3), atol=0.06 * lattice.constant)


def test_curve_by_hand() -> None:
    recall, precision, f1 = curve(np.array([0.2, 0.9, 0.5]), np.array([True, True, False]), 4)
    assert_allclose(recall, [1 / 4, 1 / 4, 2 / 4])
    assert_allclose(precision, [1, 1 / 2, 2 / 3])
    assert_allclose(f1, [2 / 5, 2 / 6, 4 / 7])


def test_rounding_to_a_grid_shows_as_drawn_to_it(truth: Judged) -> None:
    rng = np.random.default_rng(2)
    place = rng.uniform(0, 256, (4000, 2))
    drawn = locking(place, np.round(place) - place, 1, 0)
    assert_allclose(drawn.amplitude_px, -1 / np.pi, atol=5 * drawn.error_px)
    cell = locking(place, 4 * np.round((place - 1.5) / 4) + 1.5 - place, 4, 1.5)
    assert_allclose(cell.amplitude_px, -4 / np.pi, atol=5 * cell.error_px)
    free = locking(place, rng.normal(0.3, 0.2, place.shape), 1, 0)
    assert abs(free.amplitude_px) < 4 * free.error_px < 0.05


def test_the_limit_follows_the_matched_filter_where_noise_hardly_changes() -> None:
    limit = ideal(Condition(3200.0))
    # VS changes its own noise little; a share of the vacancies is taken for VS2, so a little less
    imaging = Condition(3200.0).imaging(rotation_deg=0.0)
    reading = next(r for r in CRYSTALS["WS2"].readings if r.species == "VS")
    separation = detectability(CRYSTALS["WS2"], reading, imaging)
    assert_allclose(limit.named_f1["VS"], best_f1(separation, 0.009), atol=0.06)
    weak, strong = ideal(Condition(200.0)), ideal(Condition(20000.0))
    assert weak.f1 < limit.f1 < strong.f1
    assert strong.f1 > 0.999
    assert all(weak.named_f1[s] <= strong.named_f1[s] for s in SPECIES)


def test_the_observer_of_the_frames_themselves_is_no_better_than_that_of_a_clean_crystal() -> None:
    """Nor far worse: film and contamination take a fifth of the information away."""
    condition = Condition(3200.0)
    frames = [acquire(condition, 40 + k) for k in range(6)]
    here, clean = ideal_on(frames, condition), ideal(condition)
    assert here.named_f1["MoW"] == pytest.approx(1.0, abs=0.01)
    assert here.named_f1["VW"] == pytest.approx(1.0, abs=0.01)
    # 32 vacancies: a standard error of 0.07
    assert clean.named_f1["VS"] - 0.35 < here.named_f1["VS"] < clean.named_f1["VS"] + 0.1


def test_the_observer_sees_every_site_that_counts() -> None:
    condition = Condition(20000.0)
    frame = acquire(condition, 7)
    truth = judged(frame.truth)
    limit = ideal_on([frame], condition)
    assert limit.f1 == pytest.approx(1.0, abs=0.02)
    told = sum(len(told_sites(truth, site)[0]) for site in range(SITES))
    lattice = frame.truth.lattice
    inner = (255 - lattice.constant) ** 2 / lattice.cell_area * 3
    assert told == pytest.approx(inner, rel=0.05)


def test_fft_subtraction_finds_bright_and_dark_spots() -> None:
    y, x = np.mgrid[:256, :256]
    image = 10 * np.cos(2 * np.pi * 30 * x / 256) + 100.0
    for row, column, sign in ((60, 80, 1), (190, 150, -1)):
        image += sign * 40 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * 3.0**2))
    points = fft_subtraction.detect(fft_subtraction.residual(image), (0.25, 0.75))
    assert_allclose(sorted(points.tolist()), [[80, 60], [150, 190]], atol=0.3)


def test_the_command_writes_tables_numbers_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy, "ROTATIONS", (0.0,))
    monkeypatch.setattr(accuracy, "MAGNIFICATIONS", (1.0,))
    page = tmp_path / "docs" / "accuracy.md"
    (page.parent / "images").mkdir(parents=True)
    page.write_text(f"before\n{accuracy.START}\nold\n{accuracy.END}\nafter\n")
    monkeypatch.setattr(accuracy, "PAGE", page)
    asked = ["--frames", "1", "--doses", "400", "1600", "--no-peers", "--docs"]
    assert accuracy.main([*asked, "--out", str(tmp_path / "out")]) == 0
    numbers = json.loads((tmp_path / "out" / "accuracy.json").read_text())
    assert [one["dose"] for one in numbers] == [400.0, 1600.0, 1600.0, 1600.0]
    assert numbers[1]["named_f1"]["VW"] > 0.9
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "\nold\n" not in text
    assert str(tmp_path) not in text
    assert "FFT subtraction, as published" in text
    assert len(list((page.parent / "images").glob("accuracy-*.png"))) == 4
