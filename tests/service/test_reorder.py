"""Order, deduplication and gaps, with no socket in sight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch.receiving.reorder import (
    MAX_JUMP,
    Finished,
    Missing,
    Position,
    Ready,
    ReorderBuffer,
    Verdict,
)


def released(outcomes):
    """Sequence numbers told of, in order: ready ones as they are, missing ones negative."""
    told = []
    for outcome in outcomes:
        if isinstance(outcome, Ready):
            assert outcome.item == ("item", outcome.seq)
            told.append(outcome.seq)
        elif isinstance(outcome, Missing):
            told.extend(-seq for seq in range(outcome.seq, outcome.seq + outcome.count))
    return told


def push(buffer, seq, epoch=1):
    return buffer.push(epoch, seq, ("item", seq))


def shuffled_within(rng, count, window):
    """Order in which no frame is overtaken by more than `window` later ones."""
    order, pool, following = [], [], 0
    while following < count or pool:
        while (
            following < count
            and len(pool) < window
            and following - min(pool, default=following) < window
        ):
            pool.append(following)
            following += 1
        order.append(pool.pop(rng.integers(len(pool))))
    return order


@given(st.integers(0, 2**32 - 1), st.integers(1, 10), st.integers(0, 60))
def test_any_order_within_the_window_comes_out_once_and_in_order(seed, window, count):
    rng = np.random.default_rng(seed)
    buffer = ReorderBuffer(window)
    told = []
    order = shuffled_within(rng, count, window)
    for k, seq in enumerate(order):
        told += released(push(buffer, seq)[1])
        again = order[rng.integers(k + 1)]
        verdict, outcomes = push(buffer, again)
        assert verdict is Verdict.IN_HAND
        assert outcomes == []
    assert told == list(range(count))


@given(st.sets(st.integers(0, 80)), st.integers(0, 8))
def test_lost_frames_become_missing_in_their_place(kept, window):
    buffer = ReorderBuffer(window)
    outcomes = []
    for seq in sorted(kept):
        outcomes += push(buffer, seq)[1]
        assert buffer.waiting <= window
    verdict, last = buffer.end(1, 81)
    outcomes += last
    assert verdict is Verdict.FRESH
    assert released(outcomes) == [seq if seq in kept else -seq for seq in range(81)]
    assert outcomes[-1] == Finished(81, 1, 81)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 12)), max_size=80), st.integers(0, 4))
def test_whatever_comes_each_frame_is_told_once_and_frames_count_up(pushes, window):
    buffer = ReorderBuffer(window)
    seen, frame = set(), 0
    for epoch, seq in pushes:
        for outcome in push(buffer, seq, epoch)[1]:
            assert outcome.frame == frame
            count = outcome.count if isinstance(outcome, Missing) else 1
            for number in range(outcome.seq, outcome.seq + count):
                assert (outcome.epoch, number) not in seen
                seen.add((outcome.epoch, number))
            frame += count


def test_gap_is_declared_when_the_window_is_full():
    buffer = ReorderBuffer(2)
    assert released(push(buffer, 0)[1]) == [0]
    assert released(push(buffer, 3)[1]) == []
    assert released(push(buffer, 4)[1]) == []
    assert released(push(buffer, 5)[1]) == [-1, -2, 3, 4, 5]
    assert push(buffer, 1)[0] is Verdict.LATE


def test_gap_is_given_up_on_demand():
    buffer = ReorderBuffer(8)
    push(buffer, 2)
    assert released(buffer.give_up()) == [0, -1, 2]
    assert buffer.give_up() == []


def test_new_epoch_releases_what_waits_and_counts_frames_on():
    buffer = ReorderBuffer(8)
    push(buffer, 0)
    push(buffer, 2)
    _, outcomes = buffer.push(2, 0, ("item", 0))
    assert [(o.frame, o.epoch, o.seq) for o in outcomes] == [(1, 1, 1), (2, 1, 2), (3, 2, 0)]
    assert push(buffer, 3, epoch=1)[0] is Verdict.CLOSED
    assert push(buffer, 1, epoch=1)[0] is Verdict.LATE
    assert push(buffer, 0, epoch=1)[0] is Verdict.IN_HAND
    buffer.committed(1, 3)
    assert push(buffer, 0, epoch=1)[0] is Verdict.COMMITTED


def test_commits_turn_repetitions_into_acknowledgements():
    buffer = ReorderBuffer()
    push(buffer, 0)
    push(buffer, 1)
    buffer.committed(1, 1)
    assert push(buffer, 0)[0] is Verdict.COMMITTED
    assert push(buffer, 1)[0] is Verdict.IN_HAND


def test_end_is_repeated_until_it_is_committed():
    buffer = ReorderBuffer()
    push(buffer, 0)
    assert buffer.end(1, 1)[0] is Verdict.FRESH
    buffer.committed(1, 1)
    assert buffer.end(1, 1)[0] is Verdict.IN_HAND
    buffer.end_committed(1)
    assert buffer.end(1, 1)[0] is Verdict.COMMITTED
    assert push(buffer, 1)[0] is Verdict.CLOSED


def test_nonsense_numbers_are_not_gaps():
    buffer = ReorderBuffer()
    assert push(buffer, MAX_JUMP + 1)[0] is Verdict.TOO_FAR
    push(buffer, 0)
    push(buffer, 1)
    assert push(buffer, 10**15)[0] is Verdict.TOO_FAR
    assert buffer.end(1, 10**15)[0] is Verdict.TOO_FAR
    assert buffer.end(1, 1)[0] is Verdict.TOO_FAR


@pytest.mark.parametrize(
    ("epoch", "seq", "verdict"),
    [
        (1, 4, Verdict.COMMITTED),
        (1, 2, Verdict.LATE),
        (1, 5, Verdict.FRESH),
        (9, 0, Verdict.COMMITTED),
        (9, 1, Verdict.LATE),
        (9, 3, Verdict.CLOSED),
        (2, 0, Verdict.FRESH),
    ],
)
def test_resumes_where_the_store_stands(epoch, seq, verdict):
    position = Position(
        epoch=1, seq=5, frame=8, missing=((9, range(1, 2)), (1, range(2, 3))), closed=((9, 3),)
    )
    buffer = ReorderBuffer(8, position)
    got, outcomes = push(buffer, seq, epoch)
    assert got is verdict
    if verdict is Verdict.FRESH:
        assert outcomes[0].frame == 8
