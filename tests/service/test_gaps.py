"""Gaps that are remembered, against a list of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from latticewatch.receiving.gaps import Gaps

numbers = st.integers(0, 12)
gaps = st.tuples(st.integers(0, 2), st.builds(range, numbers, numbers))


@given(st.lists(gaps, max_size=12), st.integers(1, 6), st.integers(0, 12))
def test_the_latest_are_known_and_no_others(added, most, before):
    kept = Gaps(added[:before], most)
    for epoch, gap in added[before:]:
        kept.add(epoch, gap)
    for epoch in range(3):
        for seq in range(13):
            known = any(its == epoch and seq in gap for its, gap in added[-most:])
            assert ((epoch, seq) in kept) == known


def test_the_largest_numbers_of_the_wire_fit():
    kept = Gaps()
    kept.add(2**64 - 1, range(2**63, 2**63 + 2))
    assert (2**64 - 1, 2**63 + 1) in kept
    assert (2**64 - 1, 2**63 + 2) not in kept
