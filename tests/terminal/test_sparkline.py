"""Sparklines and lines of text: what a terminal gets, tested apart from any."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticewatch.terminal.glyphs import (
    BLOCKS,
    PLAIN,
    beside,
    fitted,
    glyphs_for,
    plain_text,
    shown,
    width_of,
)
from latticewatch.terminal.sparkline import binned, extent, sparkline

VALUES = st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=80)


def test_a_ramp_is_drawn_with_every_level_once():
    for glyphs in (BLOCKS, PLAIN):
        assert sparkline(list(range(8)), 8, glyphs) == glyphs.levels
        assert sparkline(list(range(7, -1, -1)), 8, glyphs) == glyphs.levels[::-1]


def test_what_never_changes_is_a_low_line_and_what_is_not_known_a_blank():
    assert sparkline([4.0, math.nan, 4.0], 8, BLOCKS) == "▁ ▁"
    assert sparkline([math.nan] * 3, 8, BLOCKS) == "   "
    assert sparkline([], 8, BLOCKS) == ""
    assert extent([math.nan], 8) is None


@settings(deadline=None)
@given(VALUES, st.integers(1, 40))
def test_bins_are_means_of_all_that_is_known_in_order(values, width):
    bins = binned(values, width)
    assert len(bins) == min(width, len(values))
    parts = np.array_split(np.array(values), len(bins)) if bins else []
    # every value is in one group; groups differ by one value at most, as those of numpy do
    edges = [k * len(values) // len(bins) for k in range(len(bins) + 1)] if bins else [0]
    sizes = np.diff(edges)
    assert sorted(sizes) == sorted(len(part) for part in parts)
    for first, last, mean in zip(edges[:-1], edges[1:], bins, strict=True):
        known = np.array(values[first:last])[np.isfinite(values[first:last])]
        expected = known.mean() if len(known) else math.nan
        assert mean == pytest.approx(expected, rel=1e-9, abs=1e-6, nan_ok=True)


@settings(deadline=None)
@given(VALUES, st.integers(1, 40))
def test_a_higher_value_is_never_drawn_lower(values, width):
    bins, drawn = binned(values, width), sparkline(values, width, BLOCKS)
    assert len(drawn) == len(bins)
    levels = [
        (value, BLOCKS.levels.index(letter))
        for value, letter in zip(bins, drawn, strict=True)
        if letter != " "
    ]
    assert len(levels) == sum(math.isfinite(value) for value in bins)
    ordered = [level for _, level in sorted(levels)]
    assert ordered == sorted(ordered)


@pytest.mark.parametrize(
    ("encoding", "glyphs"),
    [("utf-8", BLOCKS), ("UTF-16", BLOCKS), ("ascii", PLAIN), ("latin-1", PLAIN), ("cp437", PLAIN),
     (None, PLAIN), ("no such encoding", PLAIN)],
)  # fmt: skip
def test_blocks_are_used_where_the_encoding_has_them(encoding, glyphs):
    assert glyphs_for(encoding) == glyphs


@settings(deadline=None)
@given(st.text(max_size=30), st.sampled_from([BLOCKS, PLAIN]))
def test_nothing_that_moves_the_cursor_gets_through(text, glyphs):
    safe = shown(text, glyphs)
    assert safe.isprintable()
    assert not glyphs.ascii_only or safe.isascii()


@settings(deadline=None)
@given(st.lists(st.text("abc²é\x1b", max_size=12), max_size=5), st.integers(1, 30))
def test_a_line_is_never_wider_than_the_terminal(texts, width):
    for glyphs in (BLOCKS, PLAIN):
        line = fitted(tuple((text, "") for text in texts), width, glyphs)
        assert width_of(line) <= width
        whole = "".join(shown(text, glyphs) for text in texts)
        assert plain_text(line) == whole if len(whole) <= width else len(plain_text(line)) <= width


def test_what_is_cut_off_is_marked():
    line = fitted((("abcdef", "bold"), ("ghi", "")), 5, BLOCKS)
    assert plain_text(line) == "abcd…"
    assert line[0] == ("abcd", "bold")
    assert plain_text(fitted((("abcdef", ""),), 5, PLAIN)) == "ab..."


def test_columns_stand_side_by_side():
    lines = beside([(("a", ""),)], [(("x", ""),), (("y", ""),)], 4, 2)
    assert [plain_text(line) for line in lines] == ["a     x", "      y"]
