from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from latticewatch_models.crystal import crystal_named
from latticewatch_models.kinetics import NM2_PER_BARN, Kinetics, Pool, Rates
from latticewatch_models.specimen import HOST, Doping, kinds_of, place_defects, site_table

WS2 = kinds_of(crystal_named("WS2"))
MOW, VW, VS, VS2 = (WS2.species.index(name) for name in ("MoW", "VW", "VS", "VS2"))
STILL = Rates(**dict.fromkeys(Rates.__dataclass_fields__, 0.0))


def specimen(defects, cells=12, rates=STILL, flux=0.0, seed=0):
    """Kinetics with the given kinds on the given (sublattice, i, j)."""
    table = site_table(cells)
    kind = np.zeros(3 * cells * cells, np.int16)
    for place, value in defects.items():
        kind[table.index(np.array(place[0]), np.array(place[1:]))] = value
    return Kinetics(kind, table, WS2, rates, flux, np.random.default_rng(seed))


def test_waiting_times_of_a_free_vacancy_are_exponential_with_six_times_the_hop_rate():
    run = specimen({(1, 5, 5): VS}, rates=replace(STILL, hop_per_s=0.05, bind_per_s=0.4))
    times = np.array([event.time_s for event in run.advance(5000.0)])
    assert stats.kstest(np.diff(times), stats.expon(scale=1 / 0.3).cdf).pvalue > 0.01


def test_a_free_vacancy_spreads_at_one_and_a_half_hop_rates():
    cells, moves = 200, []
    rates = replace(STILL, hop_per_s=0.05)
    grid = range(0, cells, 8)
    run = specimen({(1, i, j): VS for i in grid for j in grid}, cells, rates, seed=2)
    start = {int(run.ident[s]): run.table.place(np.array(s))[1] for s in run.free.sites}
    run.advance(100.0)
    for site in run.free.sites:
        gap = run.table.place(np.array(site))[1] - start[int(run.ident[site])]
        gap = (gap + cells // 2) % cells - cells // 2
        moves.append([gap[0] - gap[1] / 2, gap[1] * np.sqrt(3) / 2])
    # <r^2> = 4 D t with D = 1.5 a^2 hop; 2 n squares of Gaussians: relative error 1/sqrt(n);
    # one site in 64 is taken, which hinders by less than that
    spread = np.mean(np.sum(np.square(moves), axis=1))
    assert spread == pytest.approx(4 * 1.5 * 0.05 * 100, rel=4 / np.sqrt(len(moves)))


def test_a_bound_vacancy_turns_and_leaves_at_the_stated_rates():
    rates = replace(STILL, rotate_per_s=0.03, unbind_per_s=0.02)
    waits, names = [], []
    for seed in range(400):
        run = specimen({(0, 5, 5): MOW, (1, 5, 5): VS}, cells=8, rates=rates, seed=seed)
        first = run.advance(1000.0)[0]
        waits.append(first.time_s)
        names.append(first.name)
    # two sites of the same dopant to turn to, four to leave to
    total = 2 * 0.03 + 4 * 0.02
    assert stats.kstest(waits, stats.expon(scale=1 / total).cdf).pvalue > 0.01
    turns = names.count("rotate")
    assert set(names) == {"rotate", "unbind"}
    assert stats.binomtest(turns, len(names), 0.06 / total).pvalue > 0.01


def test_equilibrium_occupation_is_the_ratio_of_binding_to_leaving():
    cells = 6
    rates = replace(STILL, hop_per_s=0.5, bind_per_s=1.0, unbind_per_s=0.1, rotate_per_s=0.3)
    run = specimen({(0, 2, 2): MOW, (1, 5, 5): VS}, cells, rates, seed=3)
    bound_time, last, bound = 0.0, 0.0, False
    for event in run.advance(60000.0):
        bound_time += (event.time_s - last) * bound
        last, bound = event.time_s, event.target in run.table.bonded[run.table.index(0, [2, 2])]
    share = bound_time / last
    # three sites beside the dopant, each 10 times as likely as each of the other 33
    assert share == pytest.approx(30 / (30 + cells * cells - 3), abs=0.02)


def test_damage_makes_vacancies_at_cross_section_times_dose():
    flux, seconds = 5e6, 40.0
    run = specimen({}, 120, replace(STILL, damage_barn=2.0, metal_damage_barn=0.5), flux, seed=5)
    events = run.advance(seconds)
    dose = flux * seconds * NM2_PER_BARN
    metal = sum(event.target < 14400 for event in events)
    light = len(events) - metal
    for count, mean in ((light, 14400 * 2 * 2.0 * dose), (metal, 14400 * 0.5 * dose)):
        # depletion of intact columns lowers the mean by less than its share of lost atoms
        assert abs(count - mean) < 4 * np.sqrt(mean) + mean * mean / 28800
    lost = np.sum(run.kind == VS) + 2 * np.sum(run.kind == VS2)
    assert lost == light
    assert np.sum(run.kind == VW) == metal


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_without_damage_vacancies_are_neither_lost_nor_doubled(seed):
    rng = np.random.default_rng(seed)
    table = site_table(14)
    kind = place_defects(table, WS2, Doping(dopant_fraction=0.1, vacancy_fraction=0.1), rng)
    run = Kinetics(kind, table, WS2, Rates(adatom_arrival_per_cell_s=0.0), 0.0, rng)
    idents = {s: np.sort(run.ident[kind == s]) for s in (VS, VS2, VW, MOW)}
    last = {int(run.ident[s]): s for s in np.flatnonzero(kind == VS)}
    for event in run.advance(60.0):
        if event.ident in last:
            assert last[event.ident] == event.source
            assert event.target in table.ring[event.source]
            last[event.ident] = event.target
    for species, before in idents.items():
        np.testing.assert_array_equal(np.sort(run.ident[kind == species]), before)
    assert last == {int(run.ident[s]): s for s in np.flatnonzero(kind == VS)}
    dopants = np.flatnonzero(kind == MOW)
    assert ((kind[table.bonded[dopants]] == VS).sum(axis=1) <= 1).all()
    beside = {int(s) for s in table.bonded[dopants].ravel() if kind[s] == VS}
    assert set(run.bound.sites) == beside
    assert set(run.free.sites) == set(np.flatnonzero(kind == VS).tolist()) - beside


def test_a_hole_grows_from_a_metal_vacancy_and_leaves_nothing_loose():
    rates = replace(STILL, hole_nucleation_barn=1e4, hole_growth_barn=2e3, hop_per_s=0.01)
    run = specimen(
        {(0, 20, 20): VW, (0, 21, 20): MOW, (2, 20, 20): WS2.adatoms[2]}, 40, rates, 1e6, seed=1
    )
    sizes = []
    for _ in range(6):
        run.advance(2.0)
        sizes.append(int(np.sum(run.kind == WS2.removed)))
    assert sizes[0] >= 4
    assert sizes == sorted(sizes)
    assert sizes[-1] > 20
    kept = np.flatnonzero(run.kind[: 2 * 1600] != WS2.removed)
    lost = run.kind[run.table.bonded[kept]] == WS2.removed
    assert not lost.all(axis=1).any()
    assert set(run.edges.sites) == set(kept[lost.any(axis=1)].tolist())
    assert (run.ident[run.kind == WS2.removed] == -1).all()


def test_nothing_moves_without_rates_and_time_passes():
    run = specimen({(1, 1, 1): VS, (0, 4, 4): VW}, flux=1e6)
    assert run.advance(1e6) == []
    assert run.time_s == 1e6


def test_the_same_seed_gives_the_same_events():
    runs = [specimen({(1, 3, 3): VS, (0, 7, 7): MOW}, rates=Rates(), seed=9) for _ in range(2)]
    assert runs[0].advance(500.0) == runs[1].advance(500.0)
    np.testing.assert_array_equal(runs[0].kind, runs[1].kind)


def test_graphene_runs_without_a_mobile_vacancy():
    kinds, rng = kinds_of(crystal_named("graphene")), np.random.default_rng(1)
    kind = place_defects(site_table(12), kinds, Doping(metal_vacancy_fraction=0.05), rng)
    run = Kinetics(kind, site_table(12), kinds, Rates(damage_barn=50.0), 1e6, rng)
    events = run.advance(100.0)
    assert {event.name for event in events} >= {"damage"}
    assert (kind != HOST).sum() > 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9))))
def test_a_pool_holds_what_a_set_holds(steps):
    pool, expected = Pool(), set()
    for add, site in steps:
        (pool.add if add else pool.discard)(site)
        (expected.add if add else expected.discard)(site)
        assert set(pool.sites) == expected
        assert len(pool) == len(expected)
    assert {pool.draw(u) for u in np.arange(0, 1, 0.05)} == expected if expected else True
