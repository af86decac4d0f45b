"""Numbers are given once: after a kill the next goes on, after a power cut some are skipped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch.client import Publisher
from latticewatch.client.epochs import continued
from latticewatch.client.errors import FrameError
from latticewatch.client.frames import EndHeader, pack_header
from latticewatch.client.numbers import AHEAD, Given, Numbers
from latticewatch.client.records import Entry
from latticewatch.client.room import LONGEST_GAP
from latticewatch.client.syncing import SYNC_EVERY_S, SyncAtIntervals, by_policy, no_sync

ONE, OTHER = b"one", b"other"


def numbers(path, boot=ONE, sync=no_sync):
    return Numbers(path / "a.numbers", sync, boot)


def known(path, boot=ONE):
    """Give what the next process knows."""
    again = numbers(path, boot)
    again.close()
    return again.known


def test_nothing_is_known_at_first_and_the_next_number_after_a_kill(tmp_path):
    first = numbers(tmp_path)
    assert first.known is None
    for seq in range(3):
        first.give(7, seq)
    first.close()
    again = numbers(tmp_path)
    assert again.known == Given(7, 3)
    again.close()


@pytest.mark.parametrize("boot", [OTHER, b""])
def test_after_another_start_of_the_machine_reserved_numbers_are_skipped(tmp_path, boot):
    first = numbers(tmp_path)
    for seq in range(3):
        first.give(7, seq)
    first.close()
    again = numbers(tmp_path, boot)
    assert again.known == Given(7, AHEAD)
    again.close()


def test_a_lower_number_that_is_noted_late_takes_nothing_back(tmp_path):
    first = numbers(tmp_path)
    first.give(7, 20)
    first.give(7, 5)
    first.close()
    again = numbers(tmp_path)
    assert again.known == Given(7, 21)
    again.give(8, 0)
    again.close()
    assert known(tmp_path) == Given(8, 1)


@pytest.mark.parametrize("boot", [ONE, OTHER])
def test_an_epoch_that_has_ended_stays_so(tmp_path, boot):
    first = numbers(tmp_path)
    first.give(7, 0)
    first.end(7)
    first.close()
    assert known(tmp_path, boot) == Given(7, None)


@given(
    st.lists(st.integers(1, 700), min_size=1, max_size=30),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_a_power_cut_gives_no_number_twice(tmp_path_factory, steps, kept):
    """Of each sector what was synced last or what was written last is there."""
    path = tmp_path_factory.mktemp("numbers")
    durable = b""

    def sync(file):
        nonlocal durable
        durable = (path / "a.numbers").read_bytes()

    first, seq = numbers(path, sync=sync), -1
    for step in steps:
        seq += step
        first.give(7, seq)
    first.close()
    written = (path / "a.numbers").read_bytes()
    sectors = [(written if keep else durable)[512 * k :][:512] for k, keep in enumerate(kept)]
    (path / "a.numbers").write_bytes(b"".join(sectors))
    found = known(path, OTHER)
    assert found is not None
    assert found.epoch == 7
    assert seq < found.seq <= seq + AHEAD


def test_a_torn_write_leaves_what_was_reserved_before(tmp_path):
    first = numbers(tmp_path)
    first.give(7, 0)
    first.give(7, AHEAD)
    first.close()
    path = tmp_path / "a.numbers"
    data = bytearray(path.read_bytes())
    data[4] ^= 1  # the second reservation, which had not come to the disk
    path.write_bytes(data)
    assert known(tmp_path, OTHER) == Given(7, AHEAD)


def test_a_disk_that_fails_gives_no_number_and_is_tried_again_in_the_same_place(tmp_path):
    broken = True

    def sync(file):
        if broken:
            raise OSError(5, "broken")

    first = numbers(tmp_path, sync=sync)
    for _ in range(2):
        with pytest.raises(OSError, match="broken"):
            first.give(7, 0)
    broken = False
    first.give(7, 0)
    first.close()
    assert known(tmp_path) == Given(7, 1)


def entry(seq, epoch=7):
    return Entry(epoch, seq, pack_header(EndHeader("a", epoch, seq)), b"")


def frame(seq, epoch=7):
    header = pack_header(EndHeader("a", epoch, seq)).replace(b"end", b"xxx")
    return Entry(epoch, seq, header, b"x")


def test_what_was_given_goes_before_what_the_spool_tells(tmp_path, monkeypatch):
    monkeypatch.setattr("latticewatch.client.epochs.parse_message", lambda header: None)
    assert continued(frame(3), None, known=Given(7, 9)) == (7, 9)
    assert continued(frame(3), 7, known=Given(7, 2)) == (7, 4)
    assert continued(frame(3), None, doubtful=True, known=Given(7, 9)) == (7, 9)
    assert continued(frame(3, epoch=6), None, known=Given(7, 9)) == (7, 9)
    assert continued(frame(3), 11, known=Given(7, 9)) == (11, 0)
    # a longer step the service takes for nonsense
    assert continued(frame(3), None, known=Given(7, 3 + LONGEST_GAP)) == (7, 3 + LONGEST_GAP)
    assert continued(frame(3), None, known=Given(7, 4 + LONGEST_GAP))[0] != 7


def test_an_epoch_whose_end_was_given_is_not_continued():
    assert continued(entry(3), None, known=Given(7, 4))[0] != 7
    assert continued(entry(3, epoch=6), None, known=Given(7, None))[0] not in (6, 7)
    with pytest.raises(FrameError, match="has ended"):
        continued(entry(3), 7, known=Given(7, None))


def test_intervals_are_kept_and_a_file_is_synced_before_the_next(tmp_path):
    now, synced = 0.0, []
    sync = SyncAtIntervals(lambda file: synced.append(file.name), lambda: now)
    with (tmp_path / "a").open("wb") as a, (tmp_path / "b").open("wb") as b:
        sync(a)
        sync(a)
        assert synced == [a.name]
        now = SYNC_EVERY_S
        sync(a)
        assert synced == [a.name] * 2
        sync(b)
        assert synced == [a.name] * 3
    with pytest.raises(ValueError, match="spool_fsync"):
        by_policy("sometimes")


def test_frames_left_out_at_the_end_of_a_publisher_keep_their_numbers(tmp_path):
    """Its successor gives none of them again, so that the service sees that they are missing."""
    image = np.zeros((64, 64), np.uint8)
    options = {"spool_dir": tmp_path, "spool_bytes": 40_000, "memory_bytes": 40_000}
    first = Publisher(
        "tcp://127.0.0.1:1", "a", when_full="thin", spool_first=True, spool_fsync="interval",
        **options,
    )  # fmt: skip
    for _ in range(40):
        first.send(image)
    assert first.stats.left_out > 10
    epoch, given = first.epoch, first.next_seq
    first.close()
    again = Publisher("tcp://127.0.0.1:1", "a", **options)
    assert (again.epoch, again.next_seq) == (epoch, given)
    again.close()
