"""The spool and the outbox: order, limits, torn tails."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticewatch.client.epochs import continued
from latticewatch.client.errors import FrameError, SpoolError
from latticewatch.client.outbox import Outbox
from latticewatch.client.records import Entry
from latticewatch.client.spool import Spool

BIG = 10**9


def entry(seq, size=100, epoch=1):
    return Entry(epoch, seq, b"header", bytes([seq % 256]) * size)


def drain(spool):
    got = []
    while (one := spool.read()) is not None:
        got.append(one)
    return got


def test_entries_come_back_in_order_across_segments(tmp_path):
    spool = Spool(tmp_path, "a", BIG, segment_bytes=300)
    for seq in range(10):
        spool.append(entry(seq))
    assert len(list(tmp_path.glob("*.spool"))) > 2
    got = drain(spool)
    assert [(e.seq, e.header, e.buffer) for e in got] == [
        (k, b"header", entry(k).buffer) for k in range(10)
    ]
    for one in got:
        spool.settle(one)
    assert not list(tmp_path.glob("*.spool"))
    assert (spool.size_bytes, spool.unread) == (0, 0)
    spool.close()


def test_reopening_gives_what_was_not_settled(tmp_path):
    spool = Spool(tmp_path, "a", BIG, segment_bytes=300)
    for seq in range(10):
        spool.append(entry(seq))
    for one in drain(spool)[:4]:
        spool.settle(one)
    spool.put_in_front([])
    spool.close()
    again = Spool(tmp_path, "a", BIG)
    assert again.last == entry(9)
    seqs = [e.seq for e in drain(again)]
    assert seqs == list(range(seqs[0], 10))
    assert seqs[0] <= 4
    again.close()


def test_given_numbers_are_known_while_anything_is_left(tmp_path):
    spool = Spool(tmp_path, "a", BIG, segment_bytes=300)
    for seq in range(10):
        spool.append(entry(seq))
    for one in drain(spool)[1:]:
        spool.settle(one)
    spool.close()
    again = Spool(tmp_path, "a", BIG)
    assert again.last == entry(9)
    for one in drain(again):
        again.settle(one)
    assert again.empty
    again.close()


def test_numbers_that_were_settled_before_the_saved_ones_are_not_given_again(tmp_path):
    spool = Spool(tmp_path, "a", BIG)
    outbox = Outbox(16, BIG, spool)
    for seq in range(4):
        outbox.put(entry(seq))
        outbox.take()
    for seq in (1, 2, 3):
        outbox.settle((1, seq))
    outbox.save()
    spool.close()
    again = Spool(tmp_path, "a", BIG)
    assert again.last == entry(3)
    assert [one.seq for one in drain(again)] == [0, 3]
    again.close()


def test_what_was_not_saved_to_its_end_is_not_there(tmp_path):
    of_another = tmp_path / "a-b-000999999.unfinished"
    for path in (of_another, tmp_path / "a-000999999.unfinished"):
        path.write_bytes(b"LWSPOOL1 and half a record")
    spool = Spool(tmp_path, "a", BIG)
    assert (spool.empty, spool.torn) == (True, 0)
    assert list(tmp_path.glob("*.unfinished")) == [of_another]
    spool.close()


@pytest.mark.parametrize("cut", [1, 50, 125])
def test_torn_tail_is_cut_off_and_counted(tmp_path, cut):
    spool = Spool(tmp_path, "a", BIG)
    for seq in range(3):
        spool.append(entry(seq))
    spool.close()
    (path,) = tmp_path.glob("*.spool")
    path.write_bytes(path.read_bytes()[:-cut])
    again = Spool(tmp_path, "a", BIG)
    assert again.torn == 1
    again.append(entry(7))
    assert [e.seq for e in drain(again)] == [0, 1, 7]
    again.close()


@pytest.mark.parametrize("size", [0, 100, 5000])
@pytest.mark.parametrize("at", [0, 3, 5, 8, 12, 20, 28, 33])
@pytest.mark.parametrize("damaged", [0, 1, 3])
def test_a_damaged_record_before_whole_ones_is_passed_over(tmp_path, size, at, damaged):
    """At the length, the checksum, epoch, seq, length of the header, or what follows."""
    spool = Spool(tmp_path, "a", BIG)
    for seq in range(6):
        spool.append(entry(seq, size, epoch=2**40 + 7))
    spool.close()
    (path,) = tmp_path.glob("*.spool")
    data = bytearray(path.read_bytes())
    each = (len(data) - 8) // 6
    data[8 + damaged * each + at] ^= 0x40
    path.write_bytes(data)
    again = Spool(tmp_path, "a", BIG)
    left = [seq for seq in range(6) if seq != damaged]
    if damaged == 0 and 8 <= at < 16:  # nothing says any more which epoch to look for
        left = []
    again.append(entry(6, size, epoch=2**40 + 7))
    got = drain(again)
    assert [e.seq for e in got] == [*left, 6]
    assert (again.damaged, again.torn) == ((1, 0) if left else (0, 1))
    for one in got:
        again.settle(one)
    assert again.empty
    again.close()


@pytest.mark.parametrize("at", [0, 5, 9, 20, 40])
def test_after_a_damaged_last_record_its_epoch_is_not_continued(tmp_path, at):
    """The service may have counted its frame: another of the same number would be a repetition."""
    spool = Spool(tmp_path, "a", BIG)
    for seq in range(3):
        spool.append(entry(seq))
    spool.close()
    (path,) = tmp_path.glob("*.spool")
    data = bytearray(path.read_bytes())
    data[8 + 2 * ((len(data) - 8) // 3) + at] ^= 0x40
    path.write_bytes(data)
    again = Spool(tmp_path, "a", BIG)
    assert [e.seq for e in drain(again)] == [0, 1]
    assert again.doubtful
    epoch, seq = continued(again.last, None, doubtful=again.doubtful)
    assert (epoch != 1, seq) == (True, 0)
    with pytest.raises(FrameError, match="end is damaged"):
        continued(again.last, 1, doubtful=again.doubtful)
    again.close()


@pytest.mark.parametrize("left", [1, 8, 27, 60, 133])
@pytest.mark.parametrize("zeros", [0, 500])
def test_a_record_that_was_not_written_to_its_end_leaves_no_doubt(tmp_path, left, zeros):
    spool = Spool(tmp_path, "a", BIG)
    for seq in range(3):
        spool.append(entry(seq))
    spool.close()
    (path,) = tmp_path.glob("*.spool")
    data = path.read_bytes()
    whole = 8 + 2 * ((len(data) - 8) // 3)
    path.write_bytes(data[:whole] + (bytes(zeros) if zeros else data[whole : whole + left]))
    again = Spool(tmp_path, "a", BIG)
    assert (again.torn, again.doubtful, again.last.seq) == (1, False, 1)
    again.close()


def test_flipped_bit_is_noticed(tmp_path):
    spool = Spool(tmp_path, "a", BIG)
    spool.append(entry(0))
    spool.close()
    (path,) = tmp_path.glob("*.spool")
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 4
    path.write_bytes(raw)
    again = Spool(tmp_path, "a", BIG)
    assert (again.torn, again.unread) == (1, 0)
    again.close()


def test_another_file_is_left_alone(tmp_path):
    path = tmp_path / "a-001000000.spool"
    path.write_bytes(b"something else entirely")
    with pytest.raises(SpoolError, match="move it away"):
        Spool(tmp_path, "a", BIG)
    assert path.read_bytes() == b"something else entirely"


def test_one_publisher_a_spool(tmp_path):
    spool = Spool(tmp_path, "a", BIG)
    with pytest.raises(SpoolError, match="of its own"):
        Spool(tmp_path, "a", BIG)
    spool.close()
    Spool(tmp_path, "a", BIG).close()


def test_streams_do_not_mix(tmp_path):
    one, two = Spool(tmp_path, "a", BIG), Spool(tmp_path, "a-b", BIG)
    two.append(entry(5))
    two.close()
    one.append(entry(1))
    one.close()
    again = Spool(tmp_path, "a", BIG)
    assert [e.seq for e in drain(again)] == [1]
    again.close()


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from("pptttsssr"), max_size=80),
    st.integers(1, 4),
    st.integers(0, 5),
    st.booleans(),
)
def test_outbox_against_a_model(tmp_path_factory, steps, window, room, spooling):
    """Every message is taken in order and settled once, wherever it waited meanwhile."""
    spool = Spool(tmp_path_factory.mktemp("s"), "a", BIG, segment_bytes=350) if spooling else None
    outbox = Outbox(window, room * 106, spool)
    waiting: deque[int] = deque()
    flight: list[int] = []
    seq = 0
    for step in steps:
        if step == "p":
            outbox.put(entry(seq))
            waiting.append(seq)
            seq += 1
        elif step == "t":
            taken = outbox.take()
            expected = waiting.popleft() if waiting and len(flight) < window else None
            assert (taken and taken.seq) == expected
            if taken:
                assert taken.buffer == entry(taken.seq).buffer
                flight.append(taken.seq)
        elif step == "s" and flight:
            assert outbox.settle((1, flight.pop(0))) is not None
        elif step == "r":
            outbox.rewind()
            waiting.extendleft(reversed(flight))
            flight.clear()
        assert len(outbox) == len(waiting) + len(flight)
    left = [*flight, *waiting]
    assert outbox.save() == len(left)
    if spool is not None:
        spool.close()
        again = Spool(spool._directory, "a", BIG)
        kept = [e.seq for e in drain(again)]
        assert [s for s in kept if s in left] == left
        assert kept == sorted(kept)
        again.close()
