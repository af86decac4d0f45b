"""The frame port: a ROUTER socket that checks, answers and hands frames on in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import zmq

from latticewatch.client.errors import FrameError
from latticewatch.client.frames import (
    HEADER_FIELDS,
    MAX_SIDE,
    EndHeader,
    frame_array,
    parse_message,
)
from latticewatch.client.replies import ErrorReply, Reply, SendAgain, pack_reply
from latticewatch.port import Port
from latticewatch.receiving.allowance import IN_HAND
from latticewatch.receiving.deliveries import Delivery, Gap, Part, StreamUnavailableError
from latticewatch.receiving.intake import StreamIntake, Taken
from latticewatch.receiving.reorder import WINDOW, Position, Verdict
from latticewatch.security import Admission

log = logging.getLogger(__name__)

#: Seconds that frames wait for one that has not come, when too few follow to fill the window.
GAP_TIMEOUT_S = 5.0

#: Streams that one service takes; each has a folder, a tracker and a writer.
MAX_STREAMS = 64

#: Frames that ZeroMQ reads ahead from each peer while the pipeline is busy.
RECEIVE_AHEAD = 4

#: A message part above the largest frame is refused by the socket itself.
MAX_PART_BYTES = MAX_SIDE * MAX_SIDE * 8

#: Sources that answers are remembered for, by stream and epoch.
KEPT_PEERS = 1024

#: Pause after a message that was turned away, seconds. A flood of 147 kB frames is then held to
#: 215 messages a second and takes 0.08 of a core; without a pause 4,100 a second took 0.68. ZeroMQ
#: takes turns between peers, so that each of another's messages waits so long for each flood.
PAUSE_S = 0.004

HEADER_AND_BUFFER = 2


@dataclass
class IngestCounters:
    """What the frame port has seen since it was opened; all plain numbers.

    Attributes
    ----------
    received
        Frames that passed every check and were new, by stream.
    blocks
        Blocks of rows that passed every check, by stream.
    duplicate
        Frames that had come before, by stream.
    missing
        Frames that were given up, by stream.
    rejected
        Messages answered with an error on arrival, by the field at fault.
    unavailable
        Messages left unanswered because the stream's session could not be opened, by stream.
    asked_again
        Requests to send a frame again, since rows of it were lost or since it came before the
        session could be opened, by stream.
    overrun
        Messages turned away, since the stream had as many frames in hand as it may have, by stream.
    received_bytes
        Pixels of the frames received.
    """

    received: Counter[str] = field(default_factory=Counter)
    blocks: Counter[str] = field(default_factory=Counter)
    duplicate: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    unavailable: Counter[str] = field(default_factory=Counter)
    asked_again: Counter[str] = field(default_factory=Counter)
    overrun: Counter[str] = field(default_factory=Counter)
    received_bytes: int = 0


class Ingest(Port):
    """Receives frames and hands them to `deliver`, each stream's in order.

    A stream that has as many frames in hand as it may have is turned away, with a pause after each
    message, and the others go on; once there is room it is asked to go back to the first of them.
    While `deliver` waits nothing is read. Use as an async context manager around `run`.

    Parameters
    ----------
    endpoint
        Address to bind to.
    deliver
        Called with every `Delivery` and awaited.
    resume
        Called for each stream that is new, with its name; returns where its store stands. It may
        raise FrameError to refuse the stream for good, or StreamUnavailableError: then nothing is
        answered, the source keeps its frames, and the next message tries again.
    growing
        Called with every `Part`, a frame that is being acquired; it must not wait.
    window, gap_timeout_s
        How many later frames, and how long, wait for a missing one.
    in_hand
        Frames of a stream handed on and not settled, beyond which more are turned away.
    counters
        Counted into; a fresh one when None.
    admission
        Who may send frames.

    Raises
    ------
    BindingError
        On entering: the address may be reached by strangers.
    PortError
        On entering: the address is taken.
    """

    def __init__(
        self,
        endpoint: str,
        deliver: Callable[[Delivery], Awaitable[None]],
        *,
        resume: Callable[[str], Awaitable[Position]] | None = None,
        growing: Callable[[Part], None] | None = None,
        window: int = WINDOW,
        gap_timeout_s: float = GAP_TIMEOUT_S,
        max_streams: int = MAX_STREAMS,
        in_hand: int = IN_HAND,
        counters: IngestCounters | None = None,
        admission: Admission | None = None,
    ) -> None:
        options = {zmq.RCVHWM: RECEIVE_AHEAD, zmq.MAXMSGSIZE: MAX_PART_BYTES}
        super().__init__(endpoint, zmq.ROUTER, options, admission)
        self.counters = counters or IngestCounters()
        self._deliver = deliver
        self._resume = resume
        self._growing = growing
        self._window = window
        self._gap_timeout_s = gap_timeout_s
        self._max_streams = max_streams
        self._in_hand = in_hand
        self._streams: dict[str, StreamIntake] = {}
        self._stalled: dict[str, tuple[int, float]] = {}
        self._peers: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._unanswered: dict[tuple[str, int], int] = {}  # the first of them

    async def run(self) -> None:
        """Receive until cancelled."""
        while True:
            timeout_ms = int(1000 * self._gap_timeout_s) if self._stalled else None
            if await self._socket.poll(timeout_ms):
                frames = await self._socket.recv_multipart(copy=False)
                if self._may_speak(frames) and await self._take(
                    frames[0].bytes, [frame.buffer for frame in frames[1:]]
                ):
                    await asyncio.sleep(PAUSE_S)
            await self._give_up()

    def forget(self, stream: str) -> None:
        """Let the stream's next message open its session anew, as `resume` finds it then."""
        self._streams.pop(stream, None)
        self._stalled.pop(stream, None)

    async def ack(self, stream: str, epoch: int, seqs: list[int]) -> None:
        """Tell the source that these frames are committed."""
        reply = self._streams[stream].acked(epoch, seqs)
        await self._settled(stream, epoch, reply)

    async def reject(self, stream: str, epoch: int, seq: int, error: FrameError) -> None:
        """Tell the source that a frame is refused for good, once that is committed."""
        reply = self._streams[stream].rejected(epoch, seq, error)
        await self._settled(stream, epoch, reply)

    async def ended(self, stream: str, epoch: int, seq: int) -> None:
        """Tell the source that its epoch's end is committed."""
        reply = self._streams[stream].ended(epoch, seq)
        await self._settled(stream, epoch, reply)

    async def _settled(self, stream: str, epoch: int, reply: Reply) -> None:
        """Answer what is committed, and ask for what was turned away where there is room now."""
        await self._answer(self._peers.get((stream, epoch)), reply)
        request = self._streams[stream].turned_away()
        if request is not None:
            await self._request(request)

    async def _request(self, request: SendAgain) -> None:
        self.counters.asked_again[request.stream] += 1
        await self._answer(self._peers.get((request.stream, request.epoch)), request)

    async def _take(self, peer: bytes, parts: list[memoryview]) -> bool:
        """Deal with a message; whether it was turned away."""
        received_s = time.time()
        try:
            taken = await self._parsed(peer, parts, received_s)
        except FrameError as error:
            taken = await self._refused(peer, error)
        except StreamUnavailableError as error:
            # no answer: the source keeps the frame and sends it again
            self.counters.unavailable[error.stream] += 1
            return False
        if taken.reply is not None:
            await self._answer(peer, taken.reply)
        for request in taken.again:
            await self._request(request)
        if taken.part is not None and self._growing is not None:
            self._growing(taken.part)
        await self._hand_on(taken.deliveries)
        return taken.overrun

    async def _parsed(self, peer: bytes, parts: list[memoryview], received_s: float) -> Taken:
        if not parts or len(parts) > HEADER_AND_BUFFER:
            reason = f"{len(parts)} parts instead of a header and a buffer"
            raise FrameError("header", reason, "send two parts, see docs/wire-format.md")
        header = parse_message(parts[0])
        if isinstance(header, EndHeader):
            intake = await self._intake(header.stream, header.epoch, header.seq, peer)
            lacking = self._left_unanswered(header.stream, header.epoch)
            if lacking:
                return Taken(None, None, [], again=lacking)
            if not intake.admits(peer, header.epoch, header.seq, end=True):
                return self._turned_away(header.stream)
            return intake.end(header)
        image = frame_array(header, parts[1] if len(parts) == HEADER_AND_BUFFER else b"")
        intake = await self._intake(header.stream, header.epoch, header.seq, peer)
        lacking = self._left_unanswered(header.stream, header.epoch)
        if not intake.admits(peer, header.epoch, header.seq):
            return self._turned_away(header.stream, lacking)
        take = intake.rows if header.is_part else intake.frame
        taken = take(header, image, received_s)
        taken = replace(taken, again=lacking + taken.again)
        self.counters.blocks[header.stream] += header.is_part
        self._count(header.stream, taken, header.whole().nbytes)
        return taken

    async def _refused(self, peer: bytes, error: FrameError) -> Taken:
        """Give a bad frame its place in the order where its identity could be read."""
        if error.stream is not None and error.epoch is not None and error.seq is not None:
            try:
                intake = await self._intake(error.stream, error.epoch, error.seq, peer)
                if not intake.admits(peer, error.epoch, error.seq):
                    return self._turned_away(error.stream)
                taken = intake.refusal(error, error.epoch, error.seq)
                self._count(error.stream, taken, 0)
            except StreamUnavailableError:
                self.counters.unavailable[error.stream] += 1
                return Taken(None, None, [])
            except FrameError as refused:
                error = refused
            else:
                return taken
        self._count_rejection(error.field)
        return Taken(None, ErrorReply.of(error), [])

    def _turned_away(self, stream: str, again: tuple[SendAgain, ...] = ()) -> Taken:
        """Count a message that there is no room for."""
        if not self.counters.overrun[stream]:
            text = "stream %s: more than %d frames in hand, more are turned away; use a Publisher, "
            text += "or go back to what 'again' names, else they count as missing"
            log.warning(text, stream, self._in_hand)
        self.counters.overrun[stream] += 1
        return Taken(None, None, [], again=again, overrun=True)

    def _left_unanswered(self, stream: str, epoch: int) -> tuple[SendAgain, ...]:
        """Ask for what came before the session could be opened, once it is."""
        first = self._unanswered.pop((stream, epoch), None)
        return () if first is None else (SendAgain(stream, epoch, first),)

    async def _intake(self, stream: str, epoch: int, seq: int, peer: bytes) -> StreamIntake:
        """Intake of the stream, made where it is new; remembers whom to answer."""
        if stream not in self._streams:
            # those that could not be opened count: their names are kept too
            known = self._streams.keys() | self.counters.unavailable.keys()
            if stream not in known and len(known) >= self._max_streams:
                reason = f"the service has {self._max_streams} streams already"
                raise FrameError("stream", reason, "use one of them, or raise the limit")
            try:
                position = await self._resume(stream) if self._resume else Position()
            except StreamUnavailableError:
                if len(self._unanswered) < KEPT_PEERS:
                    self._unanswered.setdefault((stream, epoch), seq)
                raise
            self._streams[stream] = StreamIntake(stream, position, self._window, self._in_hand)
        self._peers[stream, epoch] = peer
        self._peers.move_to_end((stream, epoch))
        while len(self._peers) > KEPT_PEERS:
            self._peers.popitem(last=False)
        return self._streams[stream]

    async def _hand_on(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            if isinstance(delivery, Gap):
                self.counters.missing[delivery.stream] += delivery.count
            await self._deliver(delivery)

    async def _give_up(self) -> None:
        """Declare gaps that have been waited for long enough."""
        now = time.monotonic()
        for stream, intake in tuple(self._streams.items()):
            awaited, since = self._stalled.get(stream, (-1, now))
            if not intake.waiting:
                self._stalled.pop(stream, None)
            elif awaited != intake.awaited or intake.overdue:  # not while it was turned away
                self._stalled[stream] = (intake.awaited, now)
            elif now - since >= self._gap_timeout_s:
                del self._stalled[stream]
                await self._hand_on(intake.give_up())

    def _count(self, stream: str, taken: Taken, nbytes: int) -> None:
        if taken.error is not None:
            self._count_rejection(taken.error.field)
        elif taken.verdict is Verdict.FRESH:
            self.counters.received[stream] += 1
            self.counters.received_bytes += nbytes
        elif taken.verdict in (Verdict.IN_HAND, Verdict.COMMITTED):
            self.counters.duplicate[stream] += 1
        elif isinstance(taken.reply, ErrorReply):
            self._count_rejection(taken.reply.field)

    def _count_rejection(self, name: str) -> None:
        # a field that we do not know was named by the sender: it must not grow our counters
        self.counters.rejected[name if name in HEADER_FIELDS else "header"] += 1

    async def _answer(self, peer: bytes | None, reply: Reply) -> None:
        if peer is not None:
            await self._socket.send_multipart([peer, pack_reply(reply)])
