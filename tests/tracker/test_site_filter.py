"""The filter of sites against an exact chain, known rates and the frequency of its claims."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from latticewatch.tracker.site_filter import (
    BIRTH,
    HOP_CHANCES,
    ODD_SHARE,
    VANISHING,
    SiteFilter,
    mean_chance,
    observe_sites,
)

SHARES = np.array([0.01, 0.001])
SIDE = 24
GRID = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), -1).reshape(-1, 2)
CENTRE = len(GRID) // 2 + SIDE // 2
#: Standard deviations of one frame that a single vacancy differs from its host by.
CONTRAST = 2.0


def ratios(value: np.ndarray, contrast: float = CONTRAST) -> tuple[np.ndarray, np.ndarray]:
    """Log likelihood ratios of columns whose deviation, in standard deviations, is `value`."""
    amounts = contrast * np.array([1.0, 2.0, 0.5])
    ratio = -(value[:, None] + 0.5 * amounts) * amounts
    return ratio[:, :2], ratio[:, 2]


def movie(seed: int, frames: int, hop: float, vacancies: int = 12):
    """Vacancies that hop on a torus of sites, and each frame's deviations."""
    rng = np.random.default_rng(seed)
    steps = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1)])
    places = GRID[rng.choice(len(GRID), vacancies, replace=False)]
    for _ in range(frames):
        goes = rng.random(vacancies) < hop
        places = np.where(goes[:, None], places + steps[rng.integers(0, 6, vacancies)], places)
        places %= SIDE
        truth = np.zeros((SIDE, SIDE), int)
        np.add.at(truth, (places[:, 0], places[:, 1]), 1)
        truth = np.minimum(truth[GRID[:, 0], GRID[:, 1]], 2)
        yield truth, rng.standard_normal(len(GRID)) - CONTRAST * truth


def run(seed: int, frames: int, hop: float):
    known = SiteFilter.empty(2)
    for number, (truth, value) in enumerate(movie(seed, frames, hop)):
        known, lacking, _ = observe_sites(known, number, GRID, *ratios(value), SHARES)
        yield known, lacking, truth


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
@example(198293, 3)
def test_where_all_sites_are_alike_it_is_the_exact_chain(seed: int, gap: int) -> None:
    """Neighbours then hold what the site itself holds: a chain of four states, in matrix form."""
    rng = np.random.default_rng(seed)
    known, exact = SiteFilter.empty(2), np.array([0.0, *SHARES, ODD_SHARE])
    exact[0] = 1.0 - exact.sum()
    frame = 0
    for _ in range(5):
        value = np.full(len(GRID), rng.normal())
        ratio, odd = ratios(value)
        chances = np.minimum(1.0 - (1.0 - HOP_CHANCES) ** gap, HOP_CHANCES[-1])
        if known.frame >= 0:
            # the filter learns the chance from this very frame before it moves on
            after, lacking, _ = observe_sites(known, frame, GRID, ratio, odd, SHARES)
            chance = mean_chance(after, chances)
            inflow = chance * (exact[1] + exact[2])
            lost = chance * (1.0 + VANISHING)
            step = np.array(
                [
                    [1.0 - inflow, inflow, 0.0, 0.0],
                    [lost, 1.0 - lost - inflow, inflow, 0.0],
                    [0.0, lost, 1.0 - lost, 0.0],
                    [0.0, inflow, 0.0, 1.0 - inflow],
                ]
            )
            born = BIRTH * gap * exact[0]
            # births come first, and are too young to move
            exact = exact @ step + born * np.array([-1.0, 1.0, 0.0, 0.0])
        else:
            after, lacking, _ = observe_sites(known, frame, GRID, ratio, odd, SHARES)
        exact = exact * np.exp([0.0, *ratio[0], odd[0]])
        exact /= exact.sum()
        # five frames carry what is beyond the border five sites inwards
        assert_allclose(lacking[CENTRE], exact[1:3], rtol=2e-4, atol=1e-6)
        known, frame = after, frame + gap


@pytest.mark.parametrize(
    ("hop", "low", "high"), [(0.0, 0.0, 0.01), (0.05, 0.025, 0.09), (0.2, 0.12, 0.3)]
)
def test_the_chance_of_a_hop_is_learnt(hop: float, low: float, high: float) -> None:
    for seed in range(3):
        *_, (known, _, _) = run(seed, 60, hop)
        assert low <= mean_chance(known, HOP_CHANCES) <= high, f"seed {seed}"


@pytest.mark.parametrize("hop", [0.0, 0.1])
def test_as_many_vacancies_are_claimed_as_there_are(hop: float) -> None:
    claims = [
        (lacking.sum(), (truth > 0).sum())
        for seed in range(6)
        for number, (_, lacking, truth) in enumerate(run(seed, 30, hop))
        if number >= 10
    ]
    claimed, true = np.sum(claims, axis=0)
    assert abs(claimed / true - 1.0) < 0.15


def test_its_probabilities_hold() -> None:
    claimed, true = [], []
    for seed in range(12):
        for number, (_, lacking, truth) in enumerate(run(seed, 30, 0.1)):
            if number >= 10:
                claimed.append(lacking.sum(axis=1))
                true.append(truth > 0)
    p, hit = np.concatenate(claimed), np.concatenate(true)
    for low, high in ((0.05, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
        chosen = (p >= low) & (p < high)
        assert chosen.sum() > 300
        # here nothing vanishes, is born or stands in shadow, which the filter allows for
        assert abs(p[chosen].mean() - hit[chosen].mean()) < 0.1, (low, high)


def test_ten_frames_of_a_specimen_at_rest_find_what_one_does_not() -> None:
    right = np.zeros((10, 3))
    for seed in range(4):
        for number, (_, lacking, truth) in enumerate(run(seed, 10, 0.0)):
            told = lacking.sum(axis=1) > 0.5
            right[number] += told.sum(), (truth > 0).sum(), (told & (truth > 0)).sum()
    f1 = 2.0 * right[:, 2] / (right[:, 0] + right[:, 1])
    assert f1[0] < 0.5
    assert f1[9] > 0.95


def test_a_column_in_shadow_does_not_become_a_vacancy() -> None:
    """Half the contrast in every frame: neither, however long it stays."""
    rng = np.random.default_rng(3)
    known = SiteFilter.empty(2)
    for frame in range(40):
        value = rng.standard_normal(len(GRID))
        value[:20] -= 0.5 * CONTRAST
        known, lacking, _ = observe_sites(known, frame, GRID, *ratios(value), SHARES)
    assert (lacking[:20].sum(axis=1) > 0.5).mean() <= 0.1


def test_the_grid_follows_a_drifting_field_of_view_at_constant_size() -> None:
    rng = np.random.default_rng(4)
    known, sizes = SiteFilter.empty(2), set()
    dark = np.array([30, 5])
    for frame in range(60):
        cells = GRID + np.array([frame // 2, 0])
        value = rng.standard_normal(len(cells))
        value[(cells == dark).all(axis=1)] -= 3.0
        known, lacking, _ = observe_sites(known, frame, cells, *ratios(value, 3.0), SHARES)
        sizes.add(known.levels.shape[1:])
    assert lacking[(cells == dark).all(axis=1)].sum() > 0.99
    assert all(rows <= SIDE + 8 and columns <= SIDE + 8 for rows, columns in sizes)


def test_a_frame_without_evidence_changes_nothing() -> None:
    *_, (known, _, _) = run(0, 3, 0.0)
    none = np.zeros((0, 2))
    after, lacking, _ = observe_sites(known, 5, none.astype(int), none, np.zeros(0), SHARES)
    assert after is known
    assert lacking.shape == (0, 2)


@pytest.mark.parametrize("gap", [1, 3])
def test_foretold_is_what_a_frame_that_tells_nothing_leaves(gap):
    *_, (known, _, _) = run(3, 12, 0.1)
    nothing = np.zeros((len(GRID), 2))
    after, lacking, told = observe_sites(known, 11 + gap, GRID, nothing, nothing[:, 0], SHARES)
    assert lacking.max() > 0.5
    assert_allclose(told[:-1].T, lacking, rtol=1e-4, atol=1e-6)
    assert_allclose(told[-1], after.levels[-1][tuple((GRID - after.origin).T)], rtol=1e-4)
    value = np.random.default_rng(8).standard_normal(len(GRID))
    _, other, still = observe_sites(known, 11 + gap, GRID, *ratios(value), SHARES)
    assert_array_equal(still, told, "what the frame itself says has no part in it")
    assert np.abs(other - lacking).max() > 0.5
