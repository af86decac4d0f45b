"""The results port: an XPUB socket that greets a new subscriber with the latest of its topics."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from dataclasses import replace
from types import TracebackType
from typing import TypeVar

import zmq
import zmq.asyncio

from latticewatch.binding import check_binding
from latticewatch.client.messages import MAX_TOPIC_BYTES, Message, encode

M = TypeVar("M", bound=Message)

#: Messages that wait for each subscriber before it loses some: half a minute at five frames a
#: second of three topics, and with overlays of 256 x 256 some 10 MB.
SEND_AHEAD = 500

_SUBSCRIBE = 1


class Publishing:
    """Publishes results; a subscriber that does not keep up loses messages and delays nobody.

    What a subscriber has lost shows in its own sequence numbers: ZeroMQ drops for it alone and does
    not tell the sender. Use as an async context manager around `run`.

    Parameters
    ----------
    endpoint
        Address to bind to.
    send_ahead
        Messages that wait for one subscriber.
    run
        Number of this run of the service, drawn when None; sequence numbers count from 1 in each.

    Raises
    ------
    BindingError
        On construction: the address may be reached by strangers.
    zmq.ZMQError
        On entering: the address is taken.
    """

    def __init__(
        self, endpoint: str, *, send_ahead: int = SEND_AHEAD, run: int | None = None
    ) -> None:
        self.endpoint = check_binding(endpoint)
        self.published: Counter[str] = Counter()
        self.snapshots = 0
        self._run = secrets.randbits(63) if run is None else run
        self._send_ahead = send_ahead
        self._latest: dict[str, Message] = {}

    async def __aenter__(self) -> Publishing:
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.XPUB_VERBOSE, 1)  # a second subscriber to a topic is told of as well
        self._socket.set(zmq.SNDHWM, self._send_ahead)
        self._socket.set(zmq.MAXMSGSIZE, MAX_TOPIC_BYTES + 1)  # nothing but subscriptions comes in
        try:
            self._socket.bind(self.endpoint)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self.endpoint = self._socket.get_string(zmq.LAST_ENDPOINT)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.destroy(linger=0)

    async def publish(self, message: M) -> M:
        """Send a message, numbered and stamped; return it as sent."""
        before = self._latest.get(message.topic)
        stamped = replace(
            message,
            seq=before.seq + 1 if before else 1,
            run=self._run,
            published_s=time.time(),
            snapshot=False,
        )
        self._latest[message.topic] = stamped
        self.published[message.kind] += 1
        await self._socket.send_multipart(encode(stamped))
        return stamped

    def seed(self, message: Message) -> None:
        """Give subscribers something to begin with after a restart.

        Call it before entering, else a subscriber that comes back at once finds nothing.
        """
        self._latest[message.topic] = replace(message, seq=0, run=self._run)

    async def run(self) -> None:
        """Answer subscriptions with snapshots until cancelled."""
        while True:
            (request,) = await self._socket.recv_multipart()
            if request[:1] == bytes([_SUBSCRIBE]):
                await self._greet(request[1:])

    async def _greet(self, prefix: bytes) -> None:
        # everybody on the topic gets the snapshot; who knows its number already drops it
        for topic, message in self._latest.items():
            if topic.encode().startswith(prefix):
                self.snapshots += 1
                await self._socket.send_multipart(encode(replace(message, snapshot=True)))
