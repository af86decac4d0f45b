"""The table of sites: what is entered is found, from wherever one asks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from latticewatch.tracker.site_grid import SiteGrid

CELLS = st.tuples(st.integers(-9, 9), st.integers(-9, 9))
SITES = st.tuples(CELLS, st.integers(0, 2))
FAR = st.sampled_from([0, 40, -40, 2**28, -(2**28)])


def columns(sites):
    cells = np.array([cell for cell, _ in sites], np.int32).reshape(-1, 2)
    return cells, np.array([sublattice for _, sublattice in sites], np.int8)


def firsts(sites):
    """Of several on one site, the first: its place in the list by site."""
    return {site: place for place, site in reversed(list(enumerate(sites)))}


@given(
    st.lists(SITES, max_size=30),
    st.lists(SITES, max_size=30),
    st.tuples(FAR, FAR),
    st.integers(0, 4),
    st.data(),
)
def test_a_site_is_found_from_any_other_within_the_margin(sites, asked, away, margin, data):
    grid, first = SiteGrid.of_first(*columns(sites), margin)
    cells, sublattice = columns(asked)
    cells += np.array(away, np.int32)
    entries = grid.entries(cells, sublattice)
    step = st.integers(-max(margin, 1), max(margin, 1))
    i, j = data.draw(step), data.draw(step)
    assert first.tolist() == sorted(firsts(sites).values())
    place = {sites[row]: number for number, row in enumerate(first)}
    assert grid.rows[grid.own].tolist() == list(range(len(first)))
    for di, dj in ((0, 0), (i, j)):
        for to in range(3):
            moved = entries + grid.moves(np.array(di), np.array(dj), to - sublattice)
            wanted = [place.get(((x + di, y + dj), to), -1) for x, y in cells.tolist()]
            assert grid.rows[moved].tolist() == wanted


@given(st.lists(SITES, min_size=1, max_size=30, unique=True), st.data())
def test_sites_in_the_cells_beside_join_once_and_behind_the_others(sites, data):
    grid = SiteGrid.of(*columns(sites), 2)
    before = grid.rows.copy()
    step = st.integers(-1, 1)
    places = st.tuples(st.sampled_from(sites), step, step, st.integers(0, 2))
    beside = [((x + i, y + j), to) for ((x, y), _), i, j, to in data.draw(st.lists(places))]
    new = [site for site in beside if site not in sites]
    longer, first = grid.joined(grid.entries(*columns(new)))
    assert first.tolist() == sorted(firsts(new).values())
    known = {site: row for row, site in enumerate(sites + [new[row] for row in first])}
    assert longer.find(*columns(sites + new)).tolist() == [known[site] for site in sites + new]
    assert longer.rows[longer.own].tolist() == list(range(len(known)))
    np.testing.assert_array_equal(grid.rows, before)
