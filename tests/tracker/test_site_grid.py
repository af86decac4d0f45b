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


@given(
    st.lists(SITES, min_size=1, max_size=30, unique=True),
    st.lists(SITES, max_size=30),
    st.tuples(FAR, FAR),
    st.integers(0, 4),
    st.data(),
)
def test_a_site_is_found_from_any_other_within_the_margin(sites, asked, away, margin, data):
    grid = SiteGrid.of(*columns(sites), margin)
    cells, sublattice = columns(asked)
    cells += np.array(away, np.int32)
    entries = grid.entries(cells, sublattice)
    step = st.integers(-margin, margin)
    i, j = data.draw(step), data.draw(step)
    place = {site: row for row, site in enumerate(sites)}
    for di, dj in ((0, 0), (i, j)):
        for to in range(3):
            moved = entries + grid.moves(np.array(di), np.array(dj), to - sublattice)
            wanted = [place.get(((x + di, y + dj), to), -1) for x, y in cells.tolist()]
            assert grid.rows[moved].tolist() == wanted
