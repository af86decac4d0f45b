"""Look-ups of sites against a dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from latticewatch.tracker.anchor import site_keys
from latticewatch.tracker.site_table import SiteTable

SITE = st.tuples(st.integers(-4, 4), st.integers(-4, 4), st.integers(0, 2))


def keys_of(sites: list[tuple[int, int, int]]) -> np.ndarray:
    array = np.array(sites, np.int64).reshape(-1, 3)
    return site_keys(array[:, :2], array[:, 2])


@given(st.lists(SITE, max_size=40), st.lists(SITE, max_size=40))
def test_it_finds_the_first_row_on_each_site(sites, wanted) -> None:
    first: dict[tuple[int, int, int], int] = {}
    for row, site in enumerate(sites):
        first.setdefault(site, row)
    table = SiteTable.of(keys_of(sites))
    assert len(table) == len(sites)
    assert table.find(keys_of(wanted)).tolist() == [first.get(site, -1) for site in wanted]
    assert table.first().tolist() == sorted(first.values())


def test_it_answers_in_the_shape_of_the_question() -> None:
    table = SiteTable.of(keys_of([(0, 0, 1), (5, -3, 0)]))
    wanted = keys_of([(5, -3, 0), (5, -3, 1), (0, 0, 1), (0, 0, 2)]).reshape(2, 2)
    np.testing.assert_array_equal(table.find(wanted), [[1, -1], [0, -1]])
    assert SiteTable.of(keys_of([])).find(wanted).tolist() == [[-1, -1], [-1, -1]]
