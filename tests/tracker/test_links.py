"""Links: one to one, of least cost, and those that trackpy finds."""

from __future__ import annotations

import sys
from dataclasses import fields
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import trackpy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from latticewatch.tracker import Tracker, TrackerSettings, matching
from latticewatch.tracker.links import LinkCosts, Party, link, site_places, step_costs, track_doubt
from latticewatch.tracker.site_grid import SiteGrid
from latticewatch_models.crystal import crystal_named

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

import estimating.links as judging  # noqa: E402
from simulated_detections import Scene, simulate  # noqa: E402

COSTS = LinkCosts()
WS2 = crystal_named("WS2")
#: Seed of the movie of 500 defects.
SEED = 11


def party(side, n, seed, doubtful=False):
    """n defects on a small patch, so that links are contested; doubtful ones may share a site."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(side * side * 3, n, replace=doubtful)
    cells = np.stack([chosen // 3 // side, chosen // 3 % side], axis=1)
    doubt = rng.choice([0.0, 2.0, 7.0], n) if doubtful else np.zeros(n)
    return Party(cells, chosen % 3, rng.integers(0, 3, n), rng.random(n) < 0.7, doubt)


def gains(before, after, lag):
    """Gain of every pair, -inf where it may not link: the definition, written plainly."""
    a, b = (site_places(side.cells, side.sublattice) for side in (before, after))
    table = np.full((len(a), len(b)), -np.inf)
    for i in range(len(a)):
        for j in range(len(b)):
            distance = np.linalg.norm(a[i] - b[j])
            if distance > 0.05 and not (before.mobile[i] and after.mobile[j]):
                continue
            cost = before.doubt[i] + after.doubt[j]
            cost += np.ceil(distance - 0.05) * max(COSTS.hop - np.log(lag[i]), np.log(6))
            cost += np.log(2) * (abs(distance - 2) < 0.05)
            cost += COSTS.change * (before.species[i] != after.species[j])
            if distance > 0.05:
                cost += COSTS.sublattice * (before.sublattice[i] != after.sublattice[j])
            if COSTS.end > cost:
                table[i, j] = COSTS.end - cost
    return table


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.sampled_from([4, 6]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, matching.DENSE]),
    st.integers(0, 6),
    st.integers(0, 2**32 - 1),
)
def test_links_are_one_to_one_allowed_and_of_greatest_gain(
    n, m, side, doubtful, waited, dense, margin, seed
):
    before, after = party(side, n, seed, doubtful), party(side, m, seed + 1)
    lag = np.random.default_rng(seed).integers(1, 4 if waited else 2, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "DENSE", dense)
        partner = link(before, after, lag, COSTS)
        grid = SiteGrid.of(after.cells, after.sublattice, margin)
        at_hand = grid, grid.entries(before.cells, before.sublattice)
        assert link(before, after, lag, COSTS, at_hand).tolist() == partner.tolist()
    used = partner[partner >= 0]
    assert len(partner) == n
    assert len(set(used.tolist())) == len(used)
    table = gains(before, after, lag)
    mine = sum(table[i, j] for i, j in enumerate(partner) if j >= 0)
    assert np.isfinite(mine)
    whole = np.where(np.isfinite(table), table, 0.0)
    rows, columns = linear_sum_assignment(whole, maximize=True)
    assert mine == pytest.approx(whole[rows, columns].sum(), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(2, 40),
    st.integers(2, 40),
    st.sampled_from([0, matching.DENSE]),
    st.integers(0, 2**32 - 1),
)
def test_links_do_not_depend_on_the_order_of_numbered_tracks(n, m, dense, seed):
    before, after, rng = (
        party(4, n, seed, doubtful=True),
        party(4, m, seed + 1),
        np.random.default_rng(seed),
    )
    lag, numbers, order = rng.integers(1, 4, n), rng.permutation(n), rng.permutation(n)
    mixed = Party(*(getattr(before, field.name)[order] for field in fields(Party)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "DENSE", dense)
        partner = link(before, after, lag, COSTS, numbers=numbers)
        again = link(mixed, after, lag[order], COSTS, numbers=numbers[order])
    assert again.tolist() == partner[order].tolist()


def test_a_track_makes_room_where_both_hops_gain_more_than_its_staying():
    ones, free, sure = np.ones(2, int), np.ones(2, bool), np.zeros(2)
    before = Party(np.array([[0, 0], [1, 0]]), ones, ones, free, sure)
    after = Party(np.array([[1, 0], [2, 0]]), ones, ones, free, sure)
    assert link(before, after, ones, COSTS).tolist() == [0, 1]
    assert link(before, one((1, 0), 1, mobile=True), ones, COSTS).tolist() == [-1, 0]


def test_three_move_up_where_their_hops_gain_more_than_two_that_stay_as_other_species():
    ones, free, sure = np.ones(3, int), np.ones(3, bool), np.zeros(3)
    before = Party(np.array([[0, 0], [1, 0], [2, 0]]), ones, np.array([0, 1, 2]), free, sure)
    after = Party(np.array([[1, 0], [2, 0], [3, 0]]), ones, np.array([0, 1, 2]), free, sure)
    assert link(before, after, ones, LinkCosts(hop=2.0)).tolist() == [0, 1, 2]


def one(cell, sublattice=0, *, mobile=False, doubt=0.0):
    return Party(
        np.array([cell]),
        np.array([sublattice]),
        np.array([0]),
        np.array([mobile]),
        np.array([doubt]),
    )


def test_metal_defects_do_not_hop():
    lag = np.array([1])
    assert link(one((0, 0)), one((1, 0)), lag, COSTS).tolist() == [-1]
    assert link(one((0, 0), mobile=True), one((1, 0), mobile=True), lag, COSTS).tolist() == [0]


@pytest.mark.parametrize(("cell", "lag", "linked"), [
    ((1, 1), 1, True), ((2, 1), 1, True), ((2, 0), 1, True), ((3, 1), 1, False),
    ((3, 1), 4, True), ((4, 0), 4, False),
])  # fmt: skip
def test_a_walker_is_found_as_far_as_it_may_have_gone(cell, lag, linked):
    before, after = one((0, 0), 1, mobile=True), one(cell, 1, mobile=True)
    assert (link(before, after, np.array([lag]), COSTS).tolist() == [0]) == linked


def test_steps_of_long_waits_cost_no_less_than_their_direction():
    lag = np.arange(1, 200)
    cost = step_costs(lag, COSTS.hop)
    assert cost[0] == COSTS.hop
    assert (np.diff(cost) <= 0).all()
    assert cost.min() == pytest.approx(np.log(6))


def test_a_track_just_seen_goes_before_one_that_may_have_ended():
    doubt = track_doubt(np.array([0, 3]), np.array([9, 1]), COSTS)
    assert (np.diff(doubt) > 0).all()
    before = Party(np.array([[0, 0], [1, 0]]), np.ones(2, int), np.zeros(2, int),
                   np.ones(2, bool), doubt)  # fmt: skip
    after = one((1, 0), 1, mobile=True)
    assert link(before, after, np.array([1, 4]), COSTS).tolist() == [0, -1]


def test_a_vacancy_that_only_a_state_tells_of_gives_way_to_one_detected():
    before = one((0, 0), 1, mobile=True)
    after = Party(np.array([[0, 0], [1, 0]]), np.ones(2, int), np.zeros(2, int),
                  np.ones(2, bool), np.array([COSTS.unseen, 0.0]))  # fmt: skip
    assert link(before, after, np.array([1]), COSTS).tolist() == [1]


def test_links_are_those_of_trackpy_on_sparse_walkers():
    rng = np.random.default_rng(11)
    cells = np.stack(np.meshgrid(np.arange(0, 60, 5), np.arange(0, 60, 5)), -1).reshape(-1, 2)
    steps = np.array([[1, 0], [0, 1], [1, 1], [-1, 0], [0, -1], [-1, -1]])
    n = len(cells)
    ones, free, sure = np.ones(n, int), np.ones(n, bool), np.zeros(n)
    frames, mine, number, before = [], [], np.arange(n), cells
    for _ in range(8):
        order = rng.permutation(n)
        now = cells[order]
        if frames:
            sides = (Party(c, ones, ones, free, sure) for c in (before, now))
            partner = link(*sides, ones, COSTS)
            number = number[np.argsort(partner)]
        frames.append(site_places(now, ones))
        mine.append(number)
        before = now
        cells = now + np.where(rng.random((n, 1)) < 0.2, steps[rng.integers(0, 6, n)], 0)
    theirs = [ids for _, ids in trackpy.link_iter(frames, search_range=1.3)]
    pairs = set(zip(np.concatenate(mine).tolist(), np.concatenate(theirs).tolist(), strict=True))
    assert len(pairs) == n


@pytest.fixture(scope="module")
def movie():
    """500 defects a frame, 5 % missed, 2 % false; drift, and numbering that jumps by cells."""
    return list(islice(simulate(Scene(defects=550), SEED), 120))


def test_the_score_counts_as_it_says():
    idents = [[1, 2], [1, -1], [2, 1], [2]]
    frames = [(np.array(i), np.array(t)) for i, t in zip(idents, ([5, 6], [5, 6], [6, 5], [7]),
                                                         strict=True)]  # fmt: skip
    # True: 1-1, 1-1, 2-2 over a gap, 2-2. Made: 1-1, 1-1, and 2-false-2, of which none is true.
    assert judging.score(frames) == judging.Score(true=4, made=4, both=2)
    assert judging.score(frames, gap=0) == judging.Score(true=3, made=4, both=2)


def test_more_than_99_5_percent_of_the_links_are_right(movie):
    assert 480 < np.median([len(shot.ident) for shot in movie]) < 540
    whole = judging.score(judging.tracked(movie, WS2)[0])
    alone = judging.score(judging.linked(movie, WS2)[0])
    theirs = judging.score(judging.by_trackpy(movie, 1.3)[0])
    for ours in (whole, alone):
        assert ours.true > 40_000
        assert ours.right > 0.995, f"{ours}, seed {SEED}"
        assert ours.wrong < 0.005, f"{ours}, seed {SEED}"
        assert ours.right > theirs.right
        assert ours.wrong < theirs.wrong


def test_sites_stand_still_and_no_detection_has_two_tracks_while_the_specimen_drifts(movie):
    tracker, offsets = Tracker(TrackerSettings(), WS2), set()
    for shot in movie[:60]:
        table = tracker.apply(shot.info, shot.detections).table
        assert len(set(table["track"].tolist())) == len(table["track"])
        place = {x: k for k, x in enumerate(shot.detections.x_px.tolist())}
        rows = [place[x] for x in table["x_px"].tolist()]
        assert len(set(rows)) == len(rows)
        sites = np.stack([table["site_i"], table["site_j"]], axis=1)
        offsets |= set(map(tuple, (sites - shot.cells[rows]).tolist()))
    assert len(offsets) == 1
    assert len({tuple(s.detections.cells[0] - s.cells[0]) for s in movie}) > 10


def test_the_table_has_a_line_for_every_linker():
    rows = judging.compare(Scene(defects=60), 12, 1)
    assert [row.linker for row in rows] == ["tracker", "link", "trackpy 1.3", "trackpy 2.1"]
    lines = judging.table(rows).splitlines()
    assert len(lines) == 5
    assert all(f"{100 * row.score.right:.2f}" in line
               for row, line in zip(rows, lines[1:], strict=True))  # fmt: skip
