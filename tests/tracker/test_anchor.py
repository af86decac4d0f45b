"""The session's gauge: turns, flips and whole-cell jumps of the measured lattice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import View, detect, make_specimen

from latticewatch.tracker.anchor import TRANSFORMS, Alignment, align, among
from latticewatch_kernels.lattice import HEXAGONAL_SITES

SHAPE = (256, 256)


def follow(specimen, views, jumps=None, alike=False, seed=0):
    """Anchored sites of each view, and the last state; each view's sites are the next's tracks."""
    rng = np.random.default_rng(seed)
    state, known, sites = None, (np.zeros((0, 2), int), np.zeros(0, int)), []
    for frame, view in enumerate(views):
        jump = (0, 0) if jumps is None else jumps[frame]
        seen = detect(specimen, view, rng, jump)
        own = (seen.cells, seen.sublattice)
        state, alignment = align(state, seen.lattice, frame, known, own, SHAPE, alike)
        known = alignment.sites(*own)
        rows = zip(known[0].tolist(), known[1].tolist(), strict=True)
        sites.append({(*c, s) for c, s in rows})
    return sites, state, alignment


def truth(specimen):
    return {(*cell, site) for cell, site in specimen.defects()}


def compare(first, second):
    """Share of the second's sites that the first knew too."""
    return len(first & second) / max(len(second), 1)


@settings(max_examples=40, deadline=None)
@given(
    turns=st.lists(st.integers(0, 2), min_size=5, max_size=5),
    drift=st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
    jump=st.tuples(st.integers(-2, 2), st.integers(-2, 2)),
)
def test_sites_survive_turns_drift_and_jumps_of_the_origin(turns, drift, jump):
    specimen = make_specimen(3)
    views = [
        View(drift=(drift[0] * k, drift[1] * k), turn=turn, jitter=0.001)
        for k, turn in enumerate([0, *turns])
    ]
    jumps = [(0, 0)] + [jump if k % 2 else (0, 0) for k in range(5)]
    sites, state, alignment = follow(specimen, views, jumps)
    # The first frame stands in the specimen's own gauge; defects may drift in and out of view.
    assert all(len(seen) > 10 and seen <= truth(specimen) for seen in sites)
    assert state.drift == pytest.approx(np.array(drift) * 5, abs=0.35)
    assert alignment.turn == turns[-1]


def test_a_sudden_jump_of_the_stage_is_found_by_the_constellation():
    specimen = make_specimen(4)
    views = [View(), View(), View(drift=(47.0, -31.0), miss=0.2, false=5)]
    sites, state, _ = follow(specimen, views)
    assert compare(sites[0], sites[2]) > 0.7
    assert state.drift == pytest.approx((47.0, -31.0), abs=0.1)


def test_graphene_may_flip_by_sixty_degrees():
    specimen = make_specimen(5, "graphene", counts=(20, 10, 0, 4))
    views = [View(), View(flip=True), View(drift=(3.0, 2.0), flip=True, turn=1), View()]
    views[3] = View(drift=(6.0, 4.0), turn=2)
    sites, state, _ = follow(specimen, views, alike=True)
    assert all(len(seen) > 10 and seen <= truth(specimen) for seen in sites)
    assert state.drift == pytest.approx((6.0, 4.0), abs=0.1)


def test_another_magnification_begins_a_new_gauge():
    specimen = make_specimen(6)
    _, _, alignment = follow(specimen, [View(), View(constant=14.0)])
    assert alignment.lost


def test_directions_are_renamed_with_the_gauge():
    specimen = make_specimen(7)
    cell = next(c for c, s in specimen.metal.items() if s == "MoW")
    specimen.vacancies.append((cell[0] - 1, cell[1] - 1))  # direction 1
    rng = np.random.default_rng(0)
    plain = detect(specimen, View(noise=1e-6), rng)
    state, _ = align(None, plain.lattice, 0, (plain.cells, plain.sublattice),
                     (plain.cells, plain.sublattice), SHAPE)  # fmt: skip
    for turn in (1, 2):
        seen = detect(specimen, View(noise=1e-6, turn=turn), rng)
        _, alignment = align(state, seen.lattice, 1, (plain.cells, plain.sublattice),
                             (seen.cells, seen.sublattice), SHAPE)  # fmt: skip
        cells, sublattice = alignment.sites(seen.cells, seen.sublattice)
        row = int(np.flatnonzero((cells == cell).all(1) & (sublattice == 0))[0])
        assert alignment.directions(seen.neighbours)[row].argmin() == 1
        assert seen.neighbours[row].argmin() == (1 - turn) % 3


def test_sites_are_looked_up_in_any_shape_even_among_none():
    keys = np.array([[3, 1, 4], [1, 5, 9]])
    none = np.zeros(0, np.int64)
    np.testing.assert_array_equal(among(keys, np.array([9, 1])), np.isin(keys, [9, 1]))
    np.testing.assert_array_equal(among(keys, none), np.zeros((2, 3), bool))


@given(st.integers(0, 2), st.booleans(), st.integers(-9, 9), st.integers(-9, 9))
def test_sites_go_over_into_the_gauge_as_points_do(turn: int, flipped: bool, i: int, j: int):
    """By their places: f = G f' + s."""
    transform = TRANSFORMS[int(flipped), turn]
    shift = np.array([i, j]) + (HEXAGONAL_SITES[1] if flipped else 0.0)
    own = np.array([(k, m, s) for k in range(-3, 4) for m in range(-2, 3) for s in range(3)])
    cells, sublattice = Alignment(transform, shift, turn, flipped).sites(own[:, :2], own[:, 2])
    before = own[:, :2] + HEXAGONAL_SITES[own[:, 2]]
    after = cells + HEXAGONAL_SITES[sublattice]
    np.testing.assert_allclose(after, before @ transform.T + shift, atol=1e-9)
    assert (cells.dtype, sublattice.dtype) == (np.int32, np.int8)
    # the two that hold atoms change places, the empty one does not
    assert ((sublattice == own[:, 2]) == (~np.array(flipped) | (own[:, 2] == 2))).all()
