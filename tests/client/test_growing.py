"""Frames handed over row by row, against a scripted service: one frame each, whatever happens."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import WAIT_S, Service

from latticewatch.client import FrameError, Publisher, PublisherError, PublisherFullError
from latticewatch.client.outbox import Block, Outbox
from latticewatch.client.records import Entry
from latticewatch.client.replies import Ack, Ended, SendAgain
from latticewatch.client.spool import Spool

SHAPE = (64, 70)
IMAGE = np.arange(64 * 70, dtype=np.uint16).reshape(SHAPE)
STEP = 16


@pytest.fixture
def service():
    with Service() as made:
        yield made


def connected(service, **options):
    """A publisher that the service has heard of, so that rows may go ahead."""
    publisher = Publisher(service.endpoint, "a", epoch=4, **options)
    publisher.send(IMAGE)
    service.receive()
    service.reply(Ack("a", 4, (0,)))
    assert publisher.flush(WAIT_S)
    return publisher


def begin(publisher, **fields):
    return publisher.frame(SHAPE, "uint16", time_s=2.5, **fields)


def scan(frame, image=IMAGE, first=0):
    for top in range(first, SHAPE[0], STEP):
        frame.rows(image[top : top + STEP])


def expect_rows(service, image=IMAGE):
    """Receive a frame in rows; gives their headers."""
    headers = []
    for top in range(0, SHAPE[0], STEP):
        header, rows = service.receive()
        assert (header.row_start, header.rows, header.shape) == (top, STEP, SHAPE)
        np.testing.assert_array_equal(rows, image[top : top + STEP])
        headers.append(header)
    return headers


def test_rows_go_as_they_are_given_and_the_frame_is_acknowledged_once(service):
    with connected(service) as publisher:
        with begin(publisher, pixel_size_nm=0.03, metadata={"gain": 2}) as frame:
            frame.rows(IMAGE[:STEP])
            header, rows = service.receive()  # while the frame is being acquired
            assert (header.seq, header.time_s, header.pixel_size_nm) == (1, 2.5, 0.03)
            np.testing.assert_array_equal(rows, IMAGE[:STEP])
            scan(frame, first=STEP)
        assert [service.receive()[0].row_start for _ in range(3)] == [16, 32, 48]
        assert service.receive(0.2) is None  # it does not go whole as well
        assert publisher.stats.pending == 1
        service.reply(Ack("a", 4, (1,)))
        assert publisher.flush(WAIT_S)
        stats = publisher.stats
        assert (stats.sent, stats.acked, stats.pending, stats.resent) == (2, 2, 0, 0)


def test_blocks_agree_in_all_but_their_rows_and_when_they_were_sent(service):
    with connected(service) as publisher:
        with begin(publisher, metadata={"gain": 2}) as frame:
            scan(frame)
        headers = expect_rows(service)
        assert len({repr(header.whole()).partition("sent_s")[0] for header in headers}) == 1
        assert [h.sent_s for h in headers] == sorted(h.sent_s for h in headers)
        service.reply(Ack("a", 4, (1,)))


def test_the_sender_may_change_its_array_at_once(service):
    with connected(service) as publisher, begin(publisher) as frame:
        buffer = IMAGE[:STEP].copy()
        for top in range(0, SHAPE[0], STEP):
            buffer[:] = IMAGE[top : top + STEP]
            frame.rows(buffer)
        buffer[:] = 0
        expect_rows(service)
        service.reply(SendAgain("a", 4, 1))
        np.testing.assert_array_equal(service.receive()[1], IMAGE)
        service.reply(Ack("a", 4, (1,)))


def test_rows_that_were_lost_bring_the_frame_whole_and_what_came_after_it(service):
    with connected(service) as publisher:
        with begin(publisher) as frame:
            scan(frame)
        expect_rows(service)
        publisher.send(IMAGE + 1)
        publisher.end()
        service.receive()
        service.receive()
        service.reply(SendAgain("a", 4, 1))
        header, image = service.receive()
        assert (header.seq, header.is_part) == (1, False)
        np.testing.assert_array_equal(image, IMAGE)
        assert [service.receive()[0].seq for _ in range(2)] == [2, 3]
        service.reply(Ack("a", 4, (1, 2)))
        service.reply(Ended("a", 4))
        assert publisher.flush(WAIT_S)


def test_a_service_that_goes_gets_the_frame_whole_when_it_is_back(service):
    endpoint = service.endpoint
    publisher = connected(service)
    frame = begin(publisher)
    with publisher, frame:
        frame.rows(IMAGE[:STEP])
        service.receive()
        service.context.destroy(linger=0)
        scan(frame, first=STEP)
        with Service(endpoint) as again:
            header, image = again.receive()
            while header.is_part:  # rows may have gone before the loss was noticed
                header, image = again.receive()
            assert header.seq == 1
            np.testing.assert_array_equal(image, IMAGE)
            again.reply(Ack("a", 4, (1,)))
            assert publisher.flush(WAIT_S)
    assert publisher.stats.acked == 2


def test_rows_wait_for_nobody(service):
    with connected(service, in_flight=2) as publisher:
        for _ in range(3):
            publisher.send(IMAGE)
        with begin(publisher) as frame:
            scan(frame)
        assert service.seqs(2) == [1, 2]
        assert service.receive(0.2) is None  # neither the third frame nor rows of the fourth
        service.reply(Ack("a", 4, (1, 2)))
        for seq in (3, 4):
            header, image = service.receive()
            assert (header.seq, header.is_part) == (seq, False)
        np.testing.assert_array_equal(image, IMAGE)
        service.reply(Ack("a", 4, (3, 4)))


def test_a_scan_that_is_given_up_leaves_its_number_to_the_next(service):
    with connected(service) as publisher:
        with contextlib.suppress(KeyboardInterrupt), begin(publisher) as frame:
            frame.rows(IMAGE[:STEP])
            raise KeyboardInterrupt
        assert publisher.next_seq == 1
        publisher.send(IMAGE + 1)
        assert service.receive()[0].is_part
        header, image = service.receive()
        assert (header.seq, header.is_part) == (1, False)
        np.testing.assert_array_equal(image, IMAGE + 1)
        service.reply(Ack("a", 4, (1,)))
        assert publisher.flush(WAIT_S)


def test_a_frame_that_lacks_rows_is_an_error_and_does_not_count(service):
    with connected(service) as publisher:
        with pytest.raises(FrameError, match="48 of 64 rows"), begin(publisher) as frame:
            frame.rows(IMAGE[:STEP])
        assert (publisher.next_seq, publisher.stats.pending) == (1, 0)


def test_rows_may_come_in_any_order_and_again(service):
    with connected(service) as publisher:
        with begin(publisher) as frame:
            frame.rows(IMAGE[32:], at=32)
            frame.rows(np.zeros_like(IMAGE[:40]), at=0)
            assert publisher.stats.sent == 2  # complete
        assert [service.receive()[0].row_start for _ in range(2)] == [32, 0]
        service.reply(SendAgain("a", 4, 1))
        _, image = service.receive()
        np.testing.assert_array_equal(image[:40], 0)
        np.testing.assert_array_equal(image[40:], IMAGE[40:])
        service.reply(Ack("a", 4, (1,)))


@pytest.mark.parametrize(
    ("field", "block", "at"),
    [
        ("shape", IMAGE[0], None),
        ("shape", IMAGE[:4, :60], None),
        ("shape", IMAGE[:0], None),
        ("dtype", IMAGE[:4].astype(float), None),
        ("row_start", IMAGE[:4], 61),
        ("row_start", IMAGE[:4], -1),
    ],
)
def test_rows_that_do_not_fit_are_refused(service, field, block, at):
    with connected(service) as publisher:
        with begin(publisher) as frame:
            with pytest.raises(FrameError) as caught:
                frame.rows(block, at)
            assert caught.value.field == field
            scan(frame)
            with pytest.raises(FrameError, match="all have been given"):
                frame.rows(IMAGE[:4], 0)
        expect_rows(service)
        service.reply(Ack("a", 4, (1,)))


def test_a_bad_frame_is_refused_before_its_first_row(service):
    with connected(service) as publisher:
        for shape, dtype, fields, field in (
            ((64,), "uint8", {}, "shape"),
            ((63, 64), "uint8", {}, "shape"),
            (SHAPE, "float16", {}, "dtype"),
            (SHAPE, "uint8", {"pixel_size_nm": -1.0}, "pixel_size_nm"),
            (SHAPE, "uint8", {"metadata": {"x": object()}}, "metadata"),
            (SHAPE, "uint8", {"seq": 0}, "seq"),
        ):
            with pytest.raises(FrameError) as caught:
                publisher.frame(shape, dtype, **fields)
            assert caught.value.field == field
        publisher.send(IMAGE)  # nothing is left open
        service.reply(Ack("a", 4, (1,)))


def test_what_is_no_field_of_a_frame_is_named(service):
    with Publisher(service.endpoint, "a") as publisher:
        with pytest.raises(TypeError, match="row_start"):
            publisher.frame(SHAPE, "uint8", row_start=3)
        assert publisher.next_seq == 0


def test_one_frame_at_a_time_and_none_after_the_end(service):
    with connected(service) as publisher:
        with begin(publisher) as frame:
            for further in (publisher.end, lambda: publisher.send(IMAGE), lambda: begin(publisher)):
                with pytest.raises(PublisherError, match="complete it first"):
                    further()
            scan(frame)
        service.reply(Ack("a", 4, (1,)))
        frame = begin(publisher)
        publisher.close()
        with pytest.raises(PublisherError, match="closed"):
            frame.rows(IMAGE[:STEP])


def test_there_is_room_for_the_whole_frame_or_it_is_not_begun(service):
    with connected(service, memory_bytes=IMAGE.nbytes + 1000) as publisher:
        with begin(publisher) as frame:
            scan(frame)
        with pytest.raises(PublisherFullError):
            begin(publisher)
        expect_rows(service)
        service.reply(Ack("a", 4, (1,)))
        assert publisher.flush(WAIT_S)
        with begin(publisher) as frame:
            scan(frame)
        service.reply(Ack("a", 4, (2,)))


BLOCKS = 3


class Wire:
    """An outbox, and what of each frame the connection of the moment has carried."""

    def __init__(self) -> None:
        self.outbox = Outbox(window=3, memory_bytes=10**6)
        self.connected = True
        self.settled = set()
        self._carried = {}

    def rows(self, seq, number):
        self.outbox.put_rows(Block(1, seq, b"%d" % number, b"x"), connected=self.connected)

    def whole(self, seq, in_rows):
        self.outbox.put(Entry(1, seq, b"whole", b"x", in_rows=in_rows))

    def transmit(self):
        while self.connected and (sent := self.outbox.take_rows() or self.outbox.take()):
            self._carried.setdefault(sent.seq, set()).add(sent.header)

    def lose(self):
        self.connected = False
        self._carried.clear()
        self.outbox.rewind()

    def come_back(self):
        self.connected = True

    def ask_again(self, seq):
        self._carried.pop(seq, None)
        self.outbox.again((1, seq))

    def settle(self):
        for seq, parts in self._carried.items():
            if seq not in self.settled and (b"whole" in parts or len(parts) == BLOCKS):
                if self.outbox.settle((1, seq)) is not None:
                    self.settled.add(seq)
                else:
                    parts.clear()  # answered before it was complete: it must come again


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_every_frame_goes_out_in_rows_or_whole(data):
    """Whatever happens on the way, no frame is left that has neither gone whole nor in rows."""
    wire = Wire()
    events = {"": lambda _: None, "send": lambda _: wire.transmit(), "lose": lambda _: wire.lose(),
              "back": lambda _: wire.come_back(), "settle": lambda _: wire.settle(),
              "again": lambda seq: wire.ask_again(data.draw(st.integers(0, seq)))}  # fmt: skip
    for seq in range(5):
        in_rows = data.draw(st.booleans())
        for number in range(BLOCKS if in_rows else 0):
            wire.rows(seq, number)
            for event in data.draw(st.lists(st.sampled_from(sorted(events)), max_size=3)):
                events[event](seq)
        wire.whole(seq, in_rows)
    wire.come_back()
    for _ in range(5):
        wire.transmit()
        wire.settle()
    assert wire.settled == set(range(5))
    assert (len(wire.outbox), wire.outbox.memory_used) == (0, 0)


@pytest.mark.parametrize("first", ["settle", "again"])
def test_what_is_answered_before_its_last_row_goes_whole(first):
    outbox = Outbox(window=3, memory_bytes=100)
    assert outbox.put_rows(Block(1, 0, b"0", b"x"), connected=True)
    assert outbox.take_rows() is not None
    getattr(outbox, first)((1, 0))
    assert not outbox.put_rows(Block(1, 0, b"1", b"x"), connected=True)
    outbox.put(Entry(1, 0, b"whole", b"x", in_rows=True))
    assert (outbox.take_rows(), outbox.take().header) == (None, b"whole")


def test_a_frame_handed_over_whole_goes_whole_whatever_rows_went_before():
    outbox = Outbox(window=3, memory_bytes=100)
    assert outbox.put_rows(Block(1, 0, b"0", b"x"), connected=True)
    outbox.put(Entry(1, 0, b"whole", b"x"))
    assert [outbox.take_rows().header, outbox.take().header] == [b"0", b"whole"]


def test_rows_stay_behind_what_the_spool_holds(tmp_path):
    spool = Spool(tmp_path, "a", 10**6)
    outbox = Outbox(window=3, memory_bytes=0, spool=spool)
    outbox.put(Entry(1, 0, b"whole", b"x"))
    assert outbox.take() is not None
    # in flight, but still on the disk: a frame that memory alone held would come before it there
    assert not outbox.put_rows(Block(1, 1, b"0", b"x"), connected=True)
    spool.close()
