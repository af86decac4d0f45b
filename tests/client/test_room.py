"""What a full publisher does: refuse, or thin; the decision alone, and the publisher with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch.client import Publisher, PublisherFullError
from latticewatch.client.room import LONGEST_GAP, Gate, Stock, step_over

LIMIT = 1000


def stock(pending: int) -> Stock:
    return Stock(LIMIT, pending, 0)


@given(st.integers(1, 20), st.integers(1, 200))
def test_while_room_is_scarce_every_nth_frame_is_taken(every, frames):
    gate = Gate("a", "thin", every)
    taken = [k for k in range(frames) if gate.takes(stock(LIMIT * 3 // 4), 10)]
    assert taken == list(range(0, frames, every))
    assert gate.left_out == frames - len(taken)


@given(st.integers(1, 20), st.lists(st.integers(0, LIMIT + 50), max_size=200))
def test_whatever_comes_nothing_beyond_the_room_is_taken(every, pending):
    gate, left_out = Gate("a", "thin", every), 0
    passed = None  # frames left out since one was taken in this time of thinning
    for held in pending:
        taken = gate.takes(stock(held), 100)
        left_out += not taken
        if held <= LIMIT // 4 or (passed is None and held <= LIMIT // 2):
            assert taken, "there is room"
            passed = None
            continue
        full = held + 100 > LIMIT
        assert not (full and taken)
        if passed is None:
            passed = 0 if taken else every
        elif taken:
            assert passed >= every - 1, "too many"
            passed = 0
        else:
            assert full or passed < every - 1, "too few"
            passed += 1
    assert gate.left_out == left_out


@given(st.lists(st.integers(0, LIMIT + 50), max_size=100))
def test_refusing_takes_what_fits_and_tells_of_the_rest(pending):
    gate = Gate("a")
    for held in pending:
        if held + 100 > LIMIT:
            with pytest.raises(PublisherFullError, match="start the service"):
                gate.takes(stock(held), 100)
        else:
            assert gate.takes(stock(held), 100)
    assert gate.left_out == 0


def test_a_gap_grows_no_longer_than_the_service_takes():
    number = 0
    for _ in range(LONGEST_GAP + 50):
        number = step_over(number, -1)
    # the next frame that is kept has this number
    assert number - (-1) == LONGEST_GAP + 1


@pytest.mark.parametrize("wrong", [{"when_full": "drop"}, {"when_full": "thin", "thin_every": 0}])
def test_a_policy_that_is_none_is_told(wrong):
    with pytest.raises(ValueError, match=r"when_full|thin_every"):
        Publisher("tcp://127.0.0.1:1", **wrong)


@pytest.mark.parametrize("spooled", [False, True])
def test_a_publisher_that_thins_never_raises_and_reports(tmp_path, caplog, spooled):
    frame = np.zeros((64, 64), np.uint8)
    room = {"spool_dir": tmp_path, "spool_bytes": 40 * 4400} if spooled else {}
    publisher = Publisher(
        "tcp://127.0.0.1:1", "a", 1, memory_bytes=20 * 4400, when_full="thin", thin_every=5, **room
    )
    seqs = [publisher.send(frame) for _ in range(400)]
    assert seqs == list(range(400))
    stats = publisher.stats
    assert stats.sent + stats.left_out == 400
    assert stats.sent == stats.pending < 70
    assert stats.left_out > 300
    publisher.close()
    begun = [r for r in caplog.records if "count as missing" in r.message]
    if not spooled:
        assert len(begun) == 1, "said once, not for every frame"
    assert begun
