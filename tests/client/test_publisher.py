"""The publisher against a scripted service: acknowledgements, restarts, a full memory, a spool."""

from __future__ import annotations

import contextlib
import errno
import threading

import numpy as np
import pytest
from scripted import WAIT_S, Service

from latticewatch.client import FrameError, Publisher, PublisherError, PublisherFullError, link
from latticewatch.client.frames import EndHeader, encode_frame
from latticewatch.client.records import Entry
from latticewatch.client.replies import Ack, Ended, ErrorReply
from latticewatch.client.spool import Spool

FRAME = np.zeros((64, 64), np.uint8)


@pytest.fixture
def service():
    with Service() as made:
        yield made


def frame(value):
    return np.full((64, 64), value, np.uint8)


def send_many(publisher, count):
    for _ in range(count):
        publisher.send(FRAME)


def test_frames_arrive_in_order_and_are_forgotten_once_acknowledged(service):
    with Publisher(service.endpoint, "a", epoch=4) as publisher:
        assert [publisher.send(frame(k), time_s=0.5 * k, pixel_size_nm=0.03) for k in range(3)] == [
            0,
            1,
            2,
        ]
        for k in range(3):
            header, image = service.receive()
            assert (header.stream, header.epoch, header.seq) == ("a", 4, k)
            assert (header.time_s, header.pixel_size_nm) == (0.5 * k, 0.03)
            np.testing.assert_array_equal(image, frame(k))
        assert not publisher.flush(0.0)
        service.reply(Ack("a", 4, (0, 1)))
        service.reply(Ack("a", 4, (2,)))
        assert publisher.flush(WAIT_S)
        stats = publisher.stats
        assert (stats.sent, stats.acked, stats.pending, stats.resent) == (3, 3, 0, 0)


def test_the_sender_may_change_its_array_at_once(service):
    with Publisher(service.endpoint, "a") as publisher:
        image = frame(1)
        publisher.send(image)
        image[:] = 2
        header, got = service.receive()
        assert got.max() == 1
        service.reply(Ack("a", header.epoch, (0,)))


def test_window_bounds_what_is_unacknowledged(service):
    with Publisher(service.endpoint, "a", epoch=1, in_flight=4) as publisher:
        for k in range(10):
            publisher.send(frame(k))
        assert service.seqs(4) == [0, 1, 2, 3]
        assert service.receive(0.2) is None
        service.reply(Ack("a", 1, (0, 1)))
        assert service.seqs(2) == [4, 5]
        service.reply(Ack("a", 1, (2, 3, 4, 5)))
        assert service.seqs(4) == [6, 7, 8, 9]
        service.reply(Ack("a", 1, (6, 7, 8, 9)))


def test_epochs_differ_from_run_to_run(service):
    epochs = set()
    for _ in range(3):
        with Publisher(service.endpoint, "a") as publisher:
            epochs.add(publisher.epoch)
    assert len(epochs) == 3


def test_rejection_is_final_and_reported(service):
    told = threading.Event()
    with Publisher(service.endpoint, "a", epoch=1, on_error=lambda _: told.set()) as publisher:
        publisher.send(FRAME)
        publisher.send(FRAME)
        service.seqs(2)
        service.reply(ErrorReply("shape", "changed", "start anew", "a", 1, 0))
        service.reply(Ack("a", 1, (1,)))
        assert publisher.flush(WAIT_S)
        assert told.is_set()
        assert (publisher.stats.rejected, publisher.stats.acked) == (1, 1)
        assert publisher.errors[0].field == "shape"


def test_restarted_service_gets_what_is_not_acknowledged_in_order():
    with Service() as service:
        publisher = Publisher(service.endpoint, "a", epoch=1, in_flight=6)
        for k in range(8):
            publisher.send(frame(k))
        assert service.seqs(6) == list(range(6))
        service.reply(Ack("a", 1, (0, 1)))
        assert service.seqs(2) == [6, 7]
        endpoint = service.endpoint
    publisher.send(frame(8))
    with Service(endpoint) as service, publisher:
        assert service.seqs(6) == [2, 3, 4, 5, 6, 7]
        service.reply(Ack("a", 1, (2, 3, 4, 5, 6, 7)))
        header, image = service.receive()
        assert (header.seq, image.max()) == (8, 8)
        service.reply(Ack("a", 1, (8,)))
        assert publisher.flush(WAIT_S)
        assert publisher.stats.resent == 6
        assert publisher.stats.acked == 9


def test_frames_sent_before_the_service_runs_reach_it():
    with Service() as probe:
        endpoint = probe.endpoint
    publisher = Publisher(endpoint, "a", epoch=1)
    publisher.send(FRAME)
    publisher.end()
    with Service(endpoint) as service, publisher:
        assert service.seqs(2) == [0, 1]
        service.reply(Ack("a", 1, (0,)))
        service.reply(Ended("a", 1))
        assert publisher.flush(WAIT_S)


def test_silent_service_gets_them_again(service):
    with Publisher(service.endpoint, "a", epoch=1, ack_timeout_s=0.2) as publisher:
        publisher.send(FRAME)
        assert service.seqs(2) == [0, 0]
        while not publisher.flush(0.0):  # a slow test may be sent it a third time
            service.reply(Ack("a", 1, (0,)))
            service.receive(0.1)
        assert publisher.stats.acked == 1
        assert publisher.stats.resent >= 1


def test_end_comes_last_and_is_waited_for(service):
    with Publisher(service.endpoint, "a", epoch=1) as publisher:
        publisher.send(FRAME)
        publisher.end()
        with pytest.raises(PublisherError, match="at its end"):
            publisher.send(FRAME)
        service.receive()
        end, _ = service.receive()
        assert end == EndHeader("a", 1, 1)
        service.reply(Ack("a", 1, (0,)))
        assert not publisher.flush(0.05)
        service.reply(Ended("a", 1))
        assert publisher.flush(WAIT_S)


def test_full_memory_without_a_spool_says_so(service, caplog):
    publisher = Publisher(service.endpoint, "a", memory_bytes=3 * FRAME.nbytes)
    publisher.send(FRAME)
    publisher.send(FRAME)
    with pytest.raises(PublisherFullError, match="give a spool_dir"):
        publisher.send(FRAME)
    assert publisher.next_seq == 2
    publisher.close()
    assert "2 messages of a were never acknowledged" in caplog.text


def test_overflow_goes_through_the_spool_in_order(service, tmp_path):
    room = {"memory_bytes": 5 * FRAME.nbytes, "in_flight": 2, "spool_dir": tmp_path}
    with Publisher(service.endpoint, "a", epoch=1, **room) as publisher:
        while publisher.stats.sent < 30:
            # the test hands frames over faster than a microscope, and the disk may need a moment
            with contextlib.suppress(PublisherFullError):
                publisher.send(frame(publisher.next_seq))
        for k in range(30):
            header, image = service.receive()
            assert (header.seq, int(image.max())) == (k, k)
            service.reply(Ack("a", 1, (k,)))
        assert publisher.flush(WAIT_S)
        assert publisher.stats.spooled >= 20
    assert not list(tmp_path.glob("*.spool"))


def test_spool_first_has_every_frame_on_disk_when_the_service_gets_it(service, tmp_path):
    with Publisher(service.endpoint, "a", spool_dir=tmp_path, spool_first=True) as publisher:
        for k in range(3):
            publisher.send(frame(k))
            assert service.receive()[0].seq == k
            assert publisher.stats.spooled == k + 1
            kept = b"".join(path.read_bytes() for path in tmp_path.glob("*.spool"))
            assert bytes([k]) * FRAME.size in kept
            service.reply(Ack("a", publisher.epoch, (k,)))
        assert publisher.flush(WAIT_S)
    assert not list(tmp_path.glob("*.spool"))


def test_spool_first_needs_a_spool(service):
    with pytest.raises(ValueError, match="give a spool_dir"):
        Publisher(service.endpoint, "a", spool_first=True)


def test_spool_limit_is_named(service, tmp_path):
    room = {"memory_bytes": 8 * FRAME.nbytes, "spool_bytes": 6 * FRAME.nbytes}
    publisher = Publisher(service.endpoint, "a", spool_dir=tmp_path, **room)
    with pytest.raises(PublisherFullError, match="raise spool_bytes"):
        send_many(publisher, 40)
    publisher.close()


def test_next_publisher_continues_what_the_last_left_in_the_spool(tmp_path):
    with Service() as probe:
        endpoint = probe.endpoint
    first = Publisher(endpoint, "a", spool_dir=tmp_path)
    for k in range(4):
        first.send(frame(k))
    first.close()
    second = Publisher(endpoint, "a", spool_dir=tmp_path)
    assert (second.epoch, second.send(frame(4))) == (first.epoch, 4)
    with Service(endpoint) as service, second:
        for k in range(5):
            header, image = service.receive()
            assert (header.epoch, header.seq, int(image.max())) == (first.epoch, k, k)
        service.reply(Ack("a", first.epoch, tuple(range(5))))
        assert second.flush(WAIT_S)
    assert not list(tmp_path.glob("*.spool"))


def test_ended_epoch_in_the_spool_goes_out_before_a_new_one(tmp_path):
    with Service() as probe:
        endpoint = probe.endpoint
    first = Publisher(endpoint, "a", epoch=1, spool_dir=tmp_path)
    first.send(FRAME)
    first.end()
    first.close()
    with pytest.raises(FrameError, match="has ended"):
        Publisher(endpoint, "a", epoch=1, spool_dir=tmp_path)
    second = Publisher(endpoint, "a", epoch=2, spool_dir=tmp_path)
    second.send(FRAME)
    with Service(endpoint) as service, second:
        headers = [service.receive()[0] for _ in range(3)]
        assert [(h.epoch, h.seq) for h in headers] == [(1, 0), (1, 1), (2, 0)]
        service.reply(Ack("a", 1, (0,)))
        service.reply(Ended("a", 1))
        service.reply(Ack("a", 2, (0,)))
        assert second.flush(WAIT_S)


def test_a_damaged_spool_is_told_and_the_rest_of_it_is_sent(service, tmp_path, caplog):
    spool = Spool(tmp_path, "a", 10**6)
    for seq in range(3):
        header, pixels = encode_frame(FRAME, stream="a", epoch=5, seq=seq, time_s=0.0)
        spool.append(Entry(5, seq, header, pixels))
    spool.close()
    (path,) = tmp_path.glob("*.spool")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # in the second of three
    path.write_bytes(data)
    publisher = Publisher(service.endpoint, "a", spool_dir=tmp_path)
    assert "1 places passed over" in caplog.text
    assert (publisher.epoch, publisher.next_seq) == (5, 3)
    assert service.seqs(2) == [0, 2]
    publisher.close()


def test_sequence_numbers_go_upwards_only(service):
    publisher = Publisher(service.endpoint, "a")
    assert publisher.send(FRAME, seq=5) == 5
    with pytest.raises(FrameError, match="used before"):
        publisher.send(FRAME, seq=5)
    with pytest.raises(FrameError, match="dtype"):
        publisher.send(FRAME.astype(complex))
    assert publisher.send(FRAME) == 6
    publisher.close()
    with pytest.raises(PublisherError, match="closed"):
        publisher.send(FRAME)


def test_garbage_from_the_other_side_is_ignored(service):
    with Publisher(service.endpoint, "a", epoch=1) as publisher:
        publisher.send(FRAME)
        service.receive()
        service.socket.send_multipart([service.peer, b"garbage"])
        service.reply(Ack("other", 1, (0,)))
        service.reply(Ack("a", 2, (0,)))
        service.reply(Ack("a", 1, (0,)))
        assert publisher.flush(WAIT_S)
        assert publisher.stats.acked == 1


def test_what_is_no_address_is_told_at_once():
    with pytest.raises(ValueError, match="use tcp://HOST:PORT"):
        Publisher("tcp://nonsense", "a")


def test_a_failed_thread_is_told(service, tmp_path, monkeypatch):
    publisher = Publisher(service.endpoint, "a", spool_dir=tmp_path)
    monkeypatch.setattr(publisher._outbox, "take", None)  # stands for any fault in the thread
    publisher.send(FRAME)
    with pytest.raises(PublisherError, match="thread failed"):
        publisher.flush(WAIT_S)
    with pytest.raises(PublisherError, match="thread failed"):
        publisher.send(FRAME)
    with pytest.raises(PublisherError, match="thread failed"):
        publisher.close()
    assert len(list(tmp_path.glob("*.spool"))) == 1  # what it held is kept all the same


def test_full_disk_is_named_and_the_frames_wait_for_room(service, tmp_path, monkeypatch):
    full = threading.Event()
    full.set()
    append = Spool.append

    def refuse(spool, entry):
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        append(spool, entry)

    monkeypatch.setattr(Spool, "append", refuse)
    monkeypatch.setattr(link, "RETRY_S", 0.01)
    room = {"spool_dir": tmp_path, "memory_bytes": 3 * FRAME.nbytes, "in_flight": 1}
    with Publisher(service.endpoint, "a", epoch=1, **room) as publisher:
        with pytest.raises(PublisherFullError, match=r"No space left|in time"):
            send_many(publisher, 40)
        taken = publisher.stats.sent
        full.clear()
        for k in range(taken):
            assert service.receive()[0].seq == k
            service.reply(Ack("a", 1, (k,)))
        assert publisher.flush(WAIT_S)
