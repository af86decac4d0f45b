"""Frames in rows and frames whole: the pipeline gets the same, whatever is lost on the way."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from latticewatch.client.frames import EndHeader, FrameHeader
from latticewatch.client.replies import Ack, Ended, ErrorReply, SendAgain
from latticewatch.receiving.deliveries import Arrival, End, Gap, Refusal
from latticewatch.receiving.intake import StreamIntake
from latticewatch.receiving.reorder import Position

ROWS, COLUMNS, EPOCH, FRAMES = 64, 66, 3, 5
IMAGES = np.random.default_rng(5).integers(0, 255, (FRAMES, ROWS, COLUMNS), np.uint8)


def header(seq: int, **fields) -> FrameHeader:
    return FrameHeader("a", EPOCH, seq, (ROWS, COLUMNS), "uint8", 0.5 * seq, **fields)


def block(seq: int, start: int, stop: int):
    return header(seq, row_start=start, rows=stop - start), IMAGES[seq, start:stop]


class Source:
    """Keeps every frame whole until it is acknowledged, as `Publisher` does."""

    def __init__(self) -> None:
        self.intake = StreamIntake("a")
        self.deliveries = []
        self.parts = []
        self.sent = 0
        self.ended = False

    def rows(self, seq: int, spans, lost) -> None:
        for number, (start, stop) in enumerate(spans):
            if number not in lost:
                self._take(self.intake.rows(*block(seq, start, stop), 1.0))
        self.sent = seq + 1

    def whole(self, seq: int) -> None:
        self.sent = max(self.sent, seq + 1)
        self._take(self.intake.frame(header(seq), IMAGES[seq], 1.0))

    def end(self) -> None:
        self.ended = True
        self._take(self.intake.end(EndHeader("a", EPOCH, self.sent)))

    def after_silence(self) -> None:
        """Send all that is not acknowledged: nothing is, here."""
        for seq in range(self.sent):
            self.whole(seq)
        if self.ended:
            self.end()

    def _take(self, taken) -> None:
        assert not isinstance(taken.reply, ErrorReply)
        self.deliveries += taken.deliveries
        self.parts += [taken.part] if taken.part is not None else []
        for request in taken.again:
            for seq in range(request.seq, self.sent):
                self.whole(seq)
            if self.ended:
                self.end()


def told(deliveries):
    """What the pipeline gets of each delivery."""
    return [
        (d.frame, d.epoch, d.seq, replace(d.header, sent_s=None), d.image.tobytes())
        if isinstance(d, Arrival)
        else d
        for d in deliveries
    ]


def sent_whole():
    source = Source()
    for seq in range(FRAMES):
        source.whole(seq)
    source.end()
    return told(source.deliveries)


@st.composite
def journeys(draw):
    """For each frame None (whole), or the spans of its blocks as they arrive and those lost.

    One block arrives at least: of a frame that has left no trace there is nothing to ask for.
    """
    frames = []
    for _ in range(FRAMES):
        if draw(st.integers(0, 4)) == 0:
            frames.append(None)
            continue
        cuts = sorted(draw(st.sets(st.integers(1, ROWS - 1), min_size=1, max_size=5)))
        spans = list(pairwise([0, *cuts, ROWS]))
        spans += draw(st.lists(st.sampled_from(spans), max_size=2))
        order = draw(st.permutations(spans))
        lost = draw(st.sets(st.integers(1, len(spans) - 1), max_size=2))
        frames.append((order, lost))
    return frames


@settings(deadline=None)
@given(journeys())
@example([([(0, 32), (32, 64)], {1})] * FRAMES)
@example([([(0, 32), (32, 64)], {0}), None, None, None, ([(0, 32), (32, 64)], {0})])
def test_the_pipeline_gets_the_same_whatever_the_cuts_the_order_and_the_losses(frames):
    source = Source()
    for seq, journey in enumerate(frames):
        if journey is None:
            source.whole(seq)
        else:
            source.rows(seq, *journey)
    source.end()
    source.after_silence()
    assert told(source.deliveries) == sent_whole()
    for part in source.parts:
        np.testing.assert_array_equal(
            part.image[: part.rows_done], IMAGES[part.seq, : part.rows_done]
        )
        assert part.frame == part.seq


def test_a_frame_that_lacks_rows_is_asked_for_when_a_later_one_is_complete():
    intake = StreamIntake("a")
    assert intake.rows(*block(0, 0, 40), 1.0).again == ()
    taken = intake.frame(header(1), IMAGES[1], 1.0)
    assert taken.again == (SendAgain("a", EPOCH, 0),)
    assert taken.deliveries == []  # it waits for the one asked for
    assert [d.seq for d in intake.frame(header(0), IMAGES[0], 1.0).deliveries] == [0, 1]


def test_the_end_waits_for_a_frame_that_lacks_rows():
    intake = StreamIntake("a")
    intake.rows(*block(0, 0, 40), 1.0)
    taken = intake.end(EndHeader("a", EPOCH, 1))
    assert (taken.again, taken.deliveries) == ((SendAgain("a", EPOCH, 0),), [])
    # a source that has it no longer says so by ending again
    assert told(intake.end(EndHeader("a", EPOCH, 1)).deliveries) == [
        Gap("a", 0, EPOCH, 0, 1), End("a", 1, EPOCH, 1)
    ]  # fmt: skip


def test_the_end_does_not_wait_for_a_scan_that_was_given_up():
    intake = StreamIntake("a")
    intake.frame(header(0), IMAGES[0], 1.0)
    intake.rows(*block(1, 0, 40), 1.0)
    taken = intake.end(EndHeader("a", EPOCH, 1))
    assert (taken.again, told(taken.deliveries)) == ((), [End("a", 1, EPOCH, 1)])


def test_rows_of_a_committed_frame_are_acknowledged_and_kept_nowhere():
    intake = StreamIntake("a")
    for start, stop in ((0, 40), (40, ROWS)):
        taken = intake.rows(*block(0, start, stop), 1.0)
    assert [d.seq for d in taken.deliveries] == [0]
    assert intake.rows(*block(0, 0, 40), 1.0).reply is None  # in hand
    intake.acked(EPOCH, [0])
    assert intake.rows(*block(0, 0, 40), 1.0).reply == Ack("a", EPOCH, (0,))
    intake.end(EndHeader("a", EPOCH, 1))
    assert intake.ended(EPOCH, 1) == Ended("a", EPOCH)


def test_rows_of_another_type_refuse_the_frame():
    intake = StreamIntake("a")
    intake.frame(header(0), IMAGES[0], 1.0)
    odd = replace(header(1, row_start=0, rows=8), dtype="uint16")
    taken = intake.rows(odd, np.zeros((8, COLUMNS), np.uint16), 1.0)
    (refusal,) = taken.deliveries
    assert isinstance(refusal, Refusal)
    assert (refusal.seq, refusal.error.field) == (1, "dtype")
    # a refused frame is final (decision 0004): its other rows are no new frame
    taken = intake.rows(*block(1, 0, 40), 1.0)
    assert (taken.part, taken.deliveries) == (None, [])


def test_rows_tell_which_frame_they_will_be():
    intake = StreamIntake("a", Position(epoch=1, seq=4, frame=7))
    assert intake.rows(*block(2, 0, 40), 1.0).part.frame == 9  # a new epoch begins at frame 7
    later = replace(header(6, row_start=0, rows=8), epoch=1)
    assert intake.rows(later, IMAGES[0, :8], 1.0).part.frame == 9
