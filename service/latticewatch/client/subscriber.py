"""The subscriber's half of the results: typed messages, in order, with gaps told."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal

import zmq

from latticewatch.client import checks
from latticewatch.client.addresses import connect
from latticewatch.client.asking import TIMEOUT_S, QueryClient
from latticewatch.client.errors import MessageError, QueryError
from latticewatch.client.following import Following, Since, lasting
from latticewatch.client.keys import Keys, keys_of
from latticewatch.client.messages import (
    KINDS,
    Defects,
    Health,
    Message,
    Overlay,
    PartialOverlay,
    decode,
)
from latticewatch.client.newest import Newest
from latticewatch.client.table import DefectTable
from latticewatch.client.wire import MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)

#: Messages that wait in this process before new ones are dropped.
RECEIVE_AHEAD = 1000

#: `Subscriber.follow` asks the store this often, seconds, when nothing is published: the message
#: that told of the last frame may have been lost.
LOOK_AGAIN_S = 2.0

#: Seconds of silence after which everything is subscribed to anew. ZeroMQ may take one peer's
#: subscription for another's, where a third sends the service what is none.
RENEW_S = 10.0


class Subscriber:
    """Iterates over the service's results.

    The first message of a topic is its latest value (``snapshot``), then comes every update. What
    was lost on the way shows in ``missed`` of the next message, and `fetch_gap` asks for it.

    Parameters
    ----------
    endpoint
        The results port, ``tcp://127.0.0.1:7702``.
    stream
        Name of a stream, or ``*`` for all.
    topics
        Any of ``overlay``, ``partial``, ``defects``, ``statistics``, ``alert``, ``health``.
    query_endpoint
        The query port, for `fetch_gap` and `queries`.
    timeout
        Seconds of silence after which iteration ends; None for never.
    receive_ahead
        Messages that wait in this process before new ones are lost.
    overlays
        ``newest``: an overlay is asked for when there is time for one, and older ones never wait
        in between; those that were passed over are ``missed`` of the next. ``every``: as with the
        other topics, all of them in order while the queues have room.
    keys
        For a service that asks for them: `Keys`, or the folder that ``latticewatch keys new`` made.

    Raises
    ------
    ValueError
        A topic, the stream's name, the endpoint or the keys cannot be.
    """

    def __init__(
        self,
        endpoint: str,
        stream: str = "*",
        topics: Sequence[str] = ("statistics", "defects"),
        query_endpoint: str | None = None,
        timeout: float | None = None,
        *,
        receive_ahead: int = RECEIVE_AHEAD,
        overlays: Literal["newest", "every"] = "newest",
        keys: Keys | str | Path | None = None,
    ) -> None:
        known = keys_of(keys)
        unknown = sorted(set(topics) - set(KINDS))
        if unknown:
            raise ValueError(f"topics {unknown} are not known: use {', '.join(KINDS)}")
        self.stream = stream if stream == "*" else checks.stream_name(stream)
        self.timeout = timeout
        self.dropped = 0
        self.unreadable = 0
        self._queries = QueryClient(query_endpoint, TIMEOUT_S, known) if query_endpoint else None
        self._last: dict[str, tuple[int, int, int]] = {}  # run, seq and frame by topic
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.RCVHWM, receive_ahead)
        self._socket.set(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        if known is not None:
            known.apply(self._socket)
        wanted = "" if self.stream == "*" else self.stream
        one_by_one = overlays == "newest" and Overlay.kind in topics
        self._newest = Newest(wanted) if one_by_one else None
        self._rows: dict[str, tuple[int, int]] = {}  # run and frame of the newest rows, by stream
        self._prefixes = [
            (topic if topic == Health.kind else f"{topic}/{wanted}").encode()
            for topic in topics
            if not (topic == Overlay.kind and one_by_one)
        ]
        for prefix in self._prefixes:
            self._socket.subscribe(prefix)
        self._heard = time.monotonic()
        try:
            connect(self._socket, endpoint)
        except ValueError:
            self.close()
            raise

    @property
    def queries(self) -> QueryClient:
        """Questions to the query port; raises QueryError where no `query_endpoint` was given."""
        if self._queries is None:
            raise QueryError("give the Subscriber a query_endpoint: tcp://127.0.0.1:7703")
        return self._queries

    def receive(self, timeout: float | None = None) -> Message:
        """Return the next new message.

        Parameters
        ----------
        timeout
            Seconds to wait for it; None waits for ever.

        Raises
        ------
        TimeoutError
            None came in time.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            if self._newest is not None:
                self._newest.ask(self._socket)
            if not self._arrived(until):
                raise TimeoutError(f"no message in {timeout:g} s: is the service running?")
            try:
                message = decode(self._taken())
            except MessageError:
                self.unreadable += 1
                continue
            wanted = self.stream in ("*", message.stream) or isinstance(message, Health)
            fresh = self._place(message) if wanted else None
            if fresh is not None:
                return fresh

    def fetch_gap(self, message: Message) -> DefectTable:
        """Defects of the frames that were lost before this message; empty where none were.

        Raises
        ------
        QueryError
            No `query_endpoint` was given, or the service does not answer.
        """
        if message.gap is None:
            return DefectTable.empty()
        return self.queries.defects(message.stream, *message.gap)

    def follow(self, since: Since = 0) -> Iterator[Message]:
        """Every frame's alerts and defects from a place on, once and in order, and the statistics.

        All of it is answered from the store; what is published only says that there is more. So a
        subscriber that was away loses nothing, and a service that does not answer is asked again.
        Frames that never came or were refused have no `Defects`. After the newest frame come the
        `Statistics`, whenever they have changed. Who stops takes ``message.frame + 1`` of the last
        `Defects` as the next `since`.

        Parameters
        ----------
        since
            Number of the first frame wanted, or its epoch and sequence number.

        Yields
        ------
        Message
            `Alert`, `Defects` or `Statistics`. Ends after `timeout` seconds without any.

        Raises
        ------
        QueryError
            No `query_endpoint` was given, or the session knows no such epoch.
        ValueError
            The subscriber is not of one stream.
        """
        if self.stream == "*":
            raise ValueError("follow() needs a Subscriber of one stream: give it a stream's name")
        queries, place = self.queries, Following(self.stream, since)
        heard = time.monotonic()
        while self.timeout is None or time.monotonic() - heard < self.timeout:
            try:
                answer = queries.ask("since", **place.question())
            except QueryError as error:
                if lasting(error):
                    raise
                log.info("following %s: %s", self.stream, error)
                answer = None
            for message in place.take(answer) if answer else ():
                yield message
                heard = time.monotonic()
            if answer is None or answer["last"] < answer["first"] or answer["statistics"]:
                self._wait_for_news()

    def _wait_for_news(self) -> None:
        """Wait for the next message, or for as long as one may be lost; let all that came go."""
        if self._socket.poll(round(1000 * LOOK_AGAIN_S)):
            with contextlib.suppress(zmq.Again):
                while True:
                    self._taken(zmq.NOBLOCK)

    def _arrived(self, until: float | None) -> bool:
        """Wait for a message, and in long silence for the answer to new subscriptions."""
        while True:
            due = self._heard + RENEW_S
            end = due if until is None else min(due, until)
            if self._socket.poll(max(0, math.ceil(1000 * (end - time.monotonic())))):
                self._heard = time.monotonic()
                return True
            if time.monotonic() >= due:
                self._renew()
            elif until is not None and time.monotonic() >= until:
                return False

    def _renew(self) -> None:
        for prefix in self._prefixes:
            self._socket.unsubscribe(prefix)
            self._socket.subscribe(prefix)
        if self._newest is not None:
            self._newest.renew(self._socket)
        self._heard = time.monotonic()

    def _taken(self, flags: int = 0) -> Sequence[bytes]:
        parts = self._socket.recv_multipart(flags)
        return parts if self._newest is None else self._newest.opened(parts)

    def close(self) -> None:
        """Close the connection."""
        self._context.destroy(linger=0)

    def __iter__(self) -> Iterator[Message]:
        while True:
            try:
                yield self.receive(self.timeout)
            except TimeoutError:
                return

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _place(self, message: Message) -> Message | None:
        """Give the message with what was lost before it; None for a repetition."""
        if isinstance(message, PartialOverlay):
            self._rows[message.stream] = (message.run, message.frame)
        elif self._newest is not None and isinstance(message, Overlay):
            run, frame = self._rows.get(message.stream, (message.run, -1))
            if run == message.run and message.frame < frame:
                return None  # rows of a later frame have been given
        last = self._last.get(message.topic)
        if last is not None and last[0] == message.run and message.seq <= last[1]:
            self.dropped += 1
            return None
        self._last[message.topic] = (message.run, message.seq, message.frame)
        if last is None:
            return message
        run, seq, frame = last
        missed = message.seq - (seq if run == message.run else 0) - 1
        # frames are compared too: a restarted service begins a new numbering of its messages
        between = isinstance(message, Defects) and message.frame > frame + 1
        gap = (frame + 1, message.frame - 1) if between else None
        return replace(message, missed=max(0, missed), gap=gap)
