import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticewatch_kernels.lattice import Lattice
from latticewatch_models.crystal import CRYSTALS, crystal_named
from latticewatch_models.specimen import (
    BONDS,
    HOST,
    Doping,
    dopant_states,
    kinds_of,
    place_defects,
    site_table,
)
from latticewatch_models.view import look

LATTICE = Lattice(a1=(1.0, 0.0), a2=(-0.5, np.sqrt(3.0) / 2.0), origin=(0.0, 0.0))


def position(sublattice, cell):
    return LATTICE.site_positions(np.array([cell]), np.array([sublattice]))[0]


@pytest.mark.parametrize("pair", BONDS)
def test_bonds_are_one_bond_long_and_turn_by_120_degrees(pair):
    start = position(pair[0], (0, 0))
    steps = np.array([position(pair[1], cell) - start for cell in BONDS[pair]])
    np.testing.assert_allclose(np.hypot(*steps.T), 1 / np.sqrt(3))
    angle = np.degrees(np.arctan2(steps[:, 1], steps[:, 0]))
    gaps = np.diff(angle) % 360
    assert np.allclose(gaps, 120) or np.allclose(gaps, 240)


def test_state_zero_lies_along_a1_plus_two_a2_and_turns_towards_y():
    a1, a2 = np.array(LATTICE.a1), np.array(LATTICE.a2)
    first = (a1 + 2 * a2) / 3
    turn = np.radians(120)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    for k, cell in enumerate(BONDS[0, 1]):
        expected = np.linalg.matrix_power(rotation, k) @ first
        np.testing.assert_allclose(position(1, cell), expected, atol=1e-12)
        # the way back is the opposite: a neighbour's neighbour in the same place is the start
        np.testing.assert_allclose(position(0, BONDS[1, 0][k]) - position(1, (0, 0)), -expected)


def test_tables_hold_what_is_near_in_space():
    table = site_table(6)
    view = look(LATTICE, (1, 1), 2.4, table)
    sites = np.arange(3 * 36)
    for neighbours, distance in (
        (table.bonded, 1 / np.sqrt(3)),
        (table.ring, 1.0),
        (table.around, 1 / np.sqrt(3)),
    ):
        for sublattice in range(3):
            home = table.index(np.array([sublattice]), np.array([[0, 0]]))[0]
            gap = np.hypot(*(view.points - position(sublattice, (0, 0))).T)
            near = set(view.site[np.isclose(gap, distance)].tolist())
            assert set(neighbours[home].tolist()) <= near
        back = neighbours[neighbours]
        # every neighbour of the same kind of list knows the way back, but for empty sites' bonds
        known = (back == sites[:, None, None]).any(axis=-1)
        assert known[: 2 * 36].all()


@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(sorted(CRYSTALS)))
@settings(max_examples=30, deadline=None)
def test_dense_doping_never_gives_a_dopant_two_vacancies(seed, name):
    kinds, table = kinds_of(crystal_named(name)), site_table(16)
    doping = Doping(dopant_fraction=0.3, vacancy_fraction=0.3, bound_share=0.9, hole_fraction=0.1)
    kind = place_defects(table, kinds, doping, np.random.default_rng(seed))
    dopants = np.flatnonzero(kind == kinds.stateful)
    assert ((kind[table.bonded[dopants]] == kinds.mobile).sum(axis=1) <= 1).all()
    assert len(dopant_states(kind, table, kinds)) == len(dopants)


def test_fractions_are_those_asked_for():
    kinds, table = kinds_of(crystal_named("WS2")), site_table(200)
    doping = Doping(dopant_fraction=0.03, vacancy_fraction=0.02, bound_share=0.0)
    kind = place_defects(table, kinds, doping, np.random.default_rng(4))
    count = {name: np.sum(kind == kinds.species.index(name)) for name in ("MoW", "VS", "VS2")}
    # 40,000 sites each: binomial, five standard deviations
    for name, share in (("MoW", 0.03), ("VS", 0.02 * 0.9), ("VS2", 0.02 * 0.1)):
        assert abs(count[name] - 40000 * share) < 5 * np.sqrt(40000 * share) + 0.01 * 40000 * share


def test_a_supercell_that_meets_itself_is_refused():
    with pytest.raises(ValueError, match="larger field of view"):
        site_table(3)


def test_host_is_kind_zero_and_untouched_without_doping():
    bare = Doping(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    kinds = kinds_of(crystal_named("MoS2"))
    assert (place_defects(site_table(8), kinds, bare, np.random.default_rng(0)) == HOST).all()
