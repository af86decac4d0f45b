"""Links: one to one, of least cost, and those that trackpy finds."""

from __future__ import annotations

import numpy as np
import pytest
import trackpy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from latticewatch.tracker.links import LinkCosts, link, site_places

COSTS = LinkCosts()


def sites(draw_from, n, seed):
    """n defects on distinct sites of a small patch, so that links are contested."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(draw_from * draw_from * 3, n, replace=False)
    cells = np.stack([chosen // 3 // draw_from, chosen // 3 % draw_from], axis=1)
    return cells, (chosen % 3), rng.integers(0, 3, n), rng.random(n) < 0.7


def gains(before, after, lag):
    """Gain of every pair, -inf where it may not link: the definition, written plainly."""
    a, b = site_places(before[0], before[1]), site_places(after[0], after[1])
    table = np.full((len(a), len(b)), -np.inf)
    for i in range(len(a)):
        for j in range(len(b)):
            distance, reach = np.linalg.norm(a[i] - b[j]), np.sqrt(lag[i])
            if distance > 0.05 and not (before[3][i] and after[3][j] and distance <= reach + 0.05):
                continue
            cost = COSTS.hop * (distance / reach) ** 2
            cost += COSTS.change * (before[2][i] != after[2][j])
            cost += COSTS.sublattice * (before[1][i] != after[1][j])
            if COSTS.end > cost:
                table[i, j] = COSTS.end - cost
    return table


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 25), st.integers(0, 25), st.integers(0, 2**32 - 1))
def test_links_are_one_to_one_allowed_and_of_greatest_gain(n, m, seed):
    before, after = sites(4, n, seed), sites(4, m, seed + 1)
    lag = np.random.default_rng(seed).integers(1, 4, n)
    partner = link(before[:3], after[:3], (before[3], after[3]), lag, COSTS)
    used = partner[partner >= 0]
    assert len(partner) == n
    assert len(set(used.tolist())) == len(used)
    table = gains(before, after, lag)
    mine = sum(table[i, j] for i, j in enumerate(partner) if j >= 0)
    assert np.isfinite(mine)
    whole = np.where(np.isfinite(table), table, 0.0)
    rows, columns = linear_sum_assignment(whole, maximize=True)
    assert mine == pytest.approx(whole[rows, columns].sum(), abs=1e-9)


def test_metal_defects_do_not_hop():
    before = (np.array([[0, 0]]), np.array([0]), np.array([0]))
    after = (np.array([[1, 0]]), np.array([0]), np.array([0]))
    still, free = np.array([False]), np.array([True])
    assert link(before, after, (still, still), np.array([1]), COSTS).tolist() == [-1]
    assert link(before, after, (free, free), np.array([1]), COSTS).tolist() == [0]


def test_links_are_those_of_trackpy_on_sparse_walkers():
    rng = np.random.default_rng(11)
    cells = np.stack(np.meshgrid(np.arange(0, 60, 5), np.arange(0, 60, 5)), -1).reshape(-1, 2)
    steps = np.array([[1, 0], [0, 1], [1, 1], [-1, 0], [0, -1], [-1, -1]])
    n = len(cells)
    one, free = np.ones(n, int), np.ones(n, bool)
    frames, mine, number, before = [], [], np.arange(n), cells
    for _ in range(8):
        order = rng.permutation(n)
        now = cells[order]
        if frames:
            partner = link((before, one, one), (now, one, one), (free, free), one, COSTS)
            number = number[np.argsort(partner)]
        frames.append(site_places(now, one))
        mine.append(number)
        before = now
        cells = now + np.where(rng.random((n, 1)) < 0.2, steps[rng.integers(0, 6, n)], 0)
    theirs = [ids for _, ids in trackpy.link_iter(frames, search_range=1.3)]
    pairs = set(zip(np.concatenate(mine).tolist(), np.concatenate(theirs).tolist(), strict=True))
    assert len(pairs) == n
