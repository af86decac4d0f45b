"""Frames put together from rows: whatever the cuts and the order, the pixels are those sent."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from latticewatch.client.frames import FrameHeader
from latticewatch.receiving.assembly import MOST_FRAMES, Assembly

ROWS, COLUMNS = 64, 70


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**16, (ROWS, COLUMNS), np.uint16)


def block(image: np.ndarray, start: int, stop: int, seq: int = 0, **fields):
    header = FrameHeader(
        "a", 1, seq, (ROWS, COLUMNS), "uint16", 0.5, 1000.0 + start, start, stop - start, **fields
    )
    return header, image[start:stop]


@st.composite
def coverings(draw):
    """Blocks that cover a frame, some overlapping, some twice, in any order."""
    cuts = sorted(draw(st.sets(st.integers(1, ROWS - 1), min_size=1, max_size=9)))
    edges = [0, *cuts, ROWS]
    spans = [(a, min(ROWS, b + draw(st.integers(0, 5)))) for a, b in pairwise(edges)]
    more = draw(st.lists(st.sampled_from(spans), max_size=4))
    return draw(st.permutations(spans + more))


@given(coverings(), st.integers(0, 2**32 - 1))
def test_a_frame_is_complete_with_its_last_row_and_not_before(spans, seed):
    image, assembly = pixels(seed), Assembly()
    have = np.zeros(ROWS, bool)
    for start, stop in spans:
        growing, dropped = assembly.take(*block(image, start, stop))
        have[start:stop] = True
        assert dropped == []
        assert growing.complete == have.all()
        assert growing.rows_done == (ROWS if have.all() else have.argmin())
        np.testing.assert_array_equal(growing.image[have], image[have])
        if have.all():
            break
    assert have.all()
    assert len(assembly) == 0
    assert not growing.image.flags.writeable


def test_rows_that_come_again_take_the_place_of_the_former():
    old, new, assembly = pixels(1), pixels(2), Assembly()
    assembly.take(*block(old, 0, 40))
    assembly.take(*block(new, 0, 40))
    growing, _ = assembly.take(*block(new, 40, ROWS))
    np.testing.assert_array_equal(growing.image, new)


def test_a_scan_that_is_begun_anew_keeps_nothing_of_the_one_given_up():
    old, new, assembly = pixels(1), pixels(2), Assembly()
    header, rows = block(old, 0, 40)
    assembly.take(header, rows)
    assembly.take(*(replace(header, row_start=0, rows=10, time_s=0.75), new[:10]))
    growing, _ = assembly.take(replace(header, row_start=10, rows=54, time_s=0.75), new[10:])
    assert growing.complete
    np.testing.assert_array_equal(growing.image, new)
    # and the rows alone that were given up make no frame
    growing, _ = assembly.take(*block(old, 40, ROWS))
    assert (growing.complete, growing.rows_done) == (False, 0)


def test_few_frames_are_in_hand_and_the_oldest_goes_first():
    image, assembly = pixels(1), Assembly()
    gone = []
    for seq in range(10):
        gone += assembly.take(*block(image, 0, 8, seq))[1]
        assert len(assembly) <= MOST_FRAMES
    assert gone == [(1, seq) for seq in range(10 - MOST_FRAMES)]


def test_what_is_unwanted_goes():
    image, assembly = pixels(1), Assembly()
    for seq in range(MOST_FRAMES):
        assembly.take(*block(image, 0, 8, seq))
    assert assembly.drop(lambda key: key[1] == 0) == [(1, 0)]
    assert len(assembly) == MOST_FRAMES - 1
