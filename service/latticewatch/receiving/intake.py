"""One stream's way in, without sockets: checks, deduplication, order."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np

from latticewatch.client.errors import FrameError
from latticewatch.client.frames import EndHeader, FrameHeader
from latticewatch.client.replies import Ack, Ended, ErrorReply, Reply, SendAgain
from latticewatch.receiving.allowance import IN_HAND, Allowance
from latticewatch.receiving.assembly import Assembly, Key
from latticewatch.receiving.deliveries import Arrival, Delivery, End, Gap, Part, Refusal
from latticewatch.receiving.reorder import (
    MAX_JUMP,
    WINDOW,
    Finished,
    Missing,
    Outcome,
    Position,
    ReorderBuffer,
    Verdict,
)

#: Rejections that are remembered so that a resend gets the same answer: four times what a source
#: may have on the wire. Each takes 0.5 kB, in each of 16 streams.
KEPT_REJECTIONS = 256

Pixels = tuple[FrameHeader, np.ndarray, float]


@dataclass(frozen=True)
class Taken:
    """What came of a message: an answer for the source, and what is ready for the pipeline.

    `error` is set where a new frame was refused; it is answered once that is committed. `part` is
    the frame that rows were added to, while it is incomplete; `again` are the frames whose rows
    were dropped, to be asked for. `overrun` says that the message was turned away.
    """

    verdict: Verdict | None
    reply: Reply | None
    deliveries: list[Delivery]
    error: FrameError | None = None
    part: Part | None = None
    again: tuple[SendAgain, ...] = ()
    overrun: bool = False


class StreamIntake:
    """Puts one stream's messages into order and answers repetitions.

    Parameters
    ----------
    stream
        Its name.
    position
        Where the store stands.
    window
        Later frames that wait before a missing one is given up.
    in_hand
        Frames handed on and not committed, beyond which more are turned away.
    """

    def __init__(
        self,
        stream: str,
        position: Position | None = None,
        window: int = WINDOW,
        in_hand: int = IN_HAND,
    ) -> None:
        self.stream = stream
        self._allowance = Allowance(in_hand)
        self._buffer: ReorderBuffer[Pixels | FrameError] = ReorderBuffer(
            window, position or Position()
        )
        self._assembly = Assembly()
        self._format: tuple[int, tuple[int, int], str] | None = None
        self._rejected: OrderedDict[tuple[int, int], ErrorReply] = OrderedDict()
        for epoch, seq, reason in position.rejected if position else ():
            error = FrameError.parsed(reason).of(stream, epoch, seq)
            self._rejected[epoch, seq] = ErrorReply.of(error)

    @property
    def waiting(self) -> int:
        """Frames that wait for an earlier one."""
        return self._buffer.waiting

    @property
    def awaited(self) -> int:
        """Number in the session of the frame that comes next."""
        return self._buffer.frame

    @property
    def overdue(self) -> bool:
        """Whether a frame was turned away that the source was not asked for yet."""
        return self._allowance.due

    def admits(self, peer: bytes, epoch: int, seq: int, *, end: bool = False) -> bool:
        """Whether there is room for a message; repetitions need none."""
        verdict = self._buffer.judge_end(epoch) if end else self._buffer.judge(epoch, seq)
        if verdict is Verdict.FRESH:
            return self._allowance.admits(peer, (epoch, seq))
        self._allowance.answered((epoch, seq))
        return True

    def turned_away(self) -> SendAgain | None:
        """Request for what was turned away, once there is room for it."""
        key = self._allowance.ask()
        return None if key is None else SendAgain(self.stream, *key)

    def frame(self, header: FrameHeader, image: np.ndarray, received_s: float) -> Taken:
        """Take a frame that passed the checks of its header and length."""
        try:
            self._check_format(header)
        except FrameError as error:
            return self.refusal(error, header.epoch, header.seq)
        taken = self._push(header.epoch, header.seq, (header, image, received_s))
        if taken.verdict is Verdict.FRESH:
            self._format = self._format_of(header)
        return taken

    def rows(self, header: FrameHeader, rows: np.ndarray, received_s: float) -> Taken:
        """Take rows of a frame; with the last of them the frame is taken like a whole one."""
        place = (header.epoch, header.seq)
        verdict = self._buffer.judge(*place)
        if verdict is not Verdict.FRESH:
            return Taken(verdict, self._repeated(*place, verdict), [])
        try:
            self._check_format(header)
        except FrameError as error:
            return self.refusal(error, *place)
        growing, dropped = self._assembly.take(header, rows)
        again = self._ask(dropped)
        if growing.complete:
            taken = self.frame(header.whole(), growing.image, received_s)
            return replace(taken, again=again + taken.again)
        frame = self._buffer.number(*place)
        part = Part(self.stream, frame, *place, header, growing.image, growing.rows_done)
        return Taken(None, None, [], part=part, again=again)

    def refusal(self, error: FrameError, epoch: int, seq: int) -> Taken:
        """Take a frame that failed a check; it keeps its place in the order."""
        return self._push(epoch, seq, error.of(self.stream, epoch, seq))

    def end(self, header: EndHeader) -> Taken:
        """Take the end of an epoch; it must be sent again where a frame before it must be."""
        lacking = self._assembly.drop(lambda key: key[0] == header.epoch and self._is_fresh(key))
        again = self._ask([key for key in lacking if key[1] < header.seq])
        if again:
            return Taken(None, None, [], again=again)
        verdict, outcomes = self._buffer.end(header.epoch, header.seq)
        reply: Reply | None = None
        if verdict is Verdict.COMMITTED:
            reply = Ended(self.stream, header.epoch)
        elif verdict is Verdict.TOO_FAR:
            reason = f"an end after {header.seq} frames does not fit those that came"
            error = FrameError("seq", reason, "give the number of frames of the epoch")
            reply = ErrorReply.of(error.of(self.stream, header.epoch, header.seq))
        return Taken(verdict, reply, self._deliveries(outcomes))

    def give_up(self) -> list[Delivery]:
        """Declare the first gap: frames have waited for it long enough."""
        return self._deliveries(self._buffer.give_up())

    def acked(self, epoch: int, seqs: list[int]) -> Ack:
        """Note committed frames; return the answer for the source."""
        self._allowance.settled(len(seqs))
        self._buffer.committed(epoch, max(seqs, default=-1) + 1)
        return Ack(self.stream, epoch, tuple(seqs))

    def rejected(self, epoch: int, seq: int, error: FrameError) -> ErrorReply:
        """Note a frame that is committed as rejected; return the answer for the source."""
        self._allowance.settled()
        self._buffer.committed(epoch, seq + 1)
        reply = ErrorReply.of(error.of(self.stream, epoch, seq))
        self._rejected[epoch, seq] = reply
        while len(self._rejected) > KEPT_REJECTIONS:
            self._rejected.popitem(last=False)
        return reply

    def ended(self, epoch: int, seq: int) -> Ended:
        """Note that an epoch's end is committed; return the answer for the source."""
        self._allowance.settled()
        self._buffer.committed(epoch, seq)
        self._buffer.end_committed(epoch)
        return Ended(self.stream, epoch)

    def _push(self, epoch: int, seq: int, item: Pixels | FrameError) -> Taken:
        verdict, outcomes = self._buffer.push(epoch, seq, item)
        reply = self._repeated(epoch, seq, verdict)
        refused = item if isinstance(item, FrameError) and verdict is Verdict.FRESH else None
        again = self._overtaken(epoch, seq) if verdict is Verdict.FRESH else ()
        return Taken(verdict, reply, self._deliveries(outcomes), refused, again=again)

    def _overtaken(self, epoch: int, seq: int) -> tuple[SendAgain, ...]:
        """Let go of what a new frame leaves behind: earlier frames that lack rows are asked for."""
        self._assembly.drop(lambda key: not self._is_fresh(key))
        return self._ask(self._assembly.drop(lambda key: key[0] == epoch and key[1] < seq))

    def _is_fresh(self, key: Key) -> bool:
        return self._buffer.judge(*key) is Verdict.FRESH

    def _ask(self, keys: list[Key]) -> tuple[SendAgain, ...]:
        return tuple(SendAgain(self.stream, *key) for key in keys)

    def _repeated(self, epoch: int, seq: int, verdict: Verdict) -> Reply | None:
        if verdict is Verdict.COMMITTED:
            return self._rejected.get((epoch, seq)) or Ack(self.stream, epoch, (seq,))
        if verdict is Verdict.LATE:
            reason = f"{seq} was recorded as missing before it came"
            error = FrameError("seq", reason, "send the frames of an epoch in order")
        elif verdict is Verdict.CLOSED:
            reason = "the epoch was closed by its end or by a newer one"
            error = FrameError("epoch", reason, "give each source a stream of its own")
        elif verdict is Verdict.TOO_FAR:
            reason = f"{seq} is more than {MAX_JUMP} past the frames that came"
            error = FrameError("seq", reason, "start a new epoch, from 0")
        else:
            return None
        return ErrorReply.of(error.of(self.stream, epoch, seq))

    def _check_format(self, header: FrameHeader) -> None:
        if self._format is None or self._format[0] != header.epoch:
            return
        _, shape, dtype = self._format
        mend = "start a new epoch to change it"
        if header.shape != shape:
            was, now = (" x ".join(map(str, sides)) for sides in (shape, header.shape))
            raise FrameError("shape", f"changed from {was} to {now} within the epoch", mend)
        if header.dtype != dtype:
            reason = f"changed from {dtype} to {header.dtype} within the epoch"
            raise FrameError("dtype", reason, mend)

    @staticmethod
    def _format_of(header: FrameHeader) -> tuple[int, tuple[int, int], str]:
        return header.epoch, header.shape, header.dtype

    def _deliveries(self, outcomes: list[Outcome[Pixels | FrameError]]) -> list[Delivery]:
        self._allowance.in_hand += sum(not isinstance(one, Missing) for one in outcomes)
        return [self._delivery(outcome) for outcome in outcomes]

    def _delivery(self, outcome: Outcome[Pixels | FrameError]) -> Delivery:
        frame, epoch, seq = outcome.frame, outcome.epoch, outcome.seq
        if isinstance(outcome, Missing):
            return Gap(self.stream, frame, epoch, seq, outcome.count)
        if isinstance(outcome, Finished):
            return End(self.stream, frame, epoch, seq)
        if isinstance(outcome.item, FrameError):
            return Refusal(self.stream, frame, epoch, seq, outcome.item)
        header, image, received_s = outcome.item
        return Arrival(self.stream, frame, epoch, seq, header, image, received_s)
