"""The results port: an XPUB socket that greets a new subscriber with the latest of its topics."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from dataclasses import replace
from typing import TypeVar

import zmq

from latticewatch.client.checks import STREAM_PATTERN
from latticewatch.client.messages import KINDS, MAX_TOPIC_BYTES, Health, Message, encode
from latticewatch.port import Port
from latticewatch.security import Admission
from latticewatch.security.admission import LOOK_EVERY_S

M = TypeVar("M", bound=Message)

#: Messages that wait for each subscriber before it loses some: half a minute at five frames a
#: second of three topics, and with overlays of 256 x 256 some 10 MB.
SEND_AHEAD = 500

_UNSUBSCRIBE, _SUBSCRIBE = 0, 1


class Publishing(Port):
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
    admission
        Who may subscribe. When somebody no longer may, every connection is cut, and who may comes
        back by itself: what was published meanwhile shows as missed.

    Raises
    ------
    BindingError
        On construction: the address may be reached by strangers.
    PortError
        On entering: the address is taken.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        send_ahead: int = SEND_AHEAD,
        run: int | None = None,
        admission: Admission | None = None,
    ) -> None:
        options = {
            # A subscription takes effect in `run` alone, together with its snapshot: taken by the
            # socket, it would let an update that is sent meanwhile arrive before the snapshot.
            zmq.XPUB_MANUAL: 1,
            zmq.SNDHWM: send_ahead,
            zmq.MAXMSGSIZE: MAX_TOPIC_BYTES + 1,  # nothing but subscriptions comes in
        }
        super().__init__(endpoint, zmq.XPUB, options, admission)
        self.published: Counter[str] = Counter()
        self.snapshots = 0
        self._run = secrets.randbits(63) if run is None else run
        self._latest: dict[str, Message] = {}

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
        patience_ms = None if self.admission is None else int(1000 * LOOK_EVERY_S)
        while True:
            ready = await self._socket.poll(patience_ms)
            if self.admission is not None and self.admission.revoked():
                await self._reopen()
                continue
            if not ready:
                continue
            request, *more = await self._socket.recv_multipart()
            wish, prefix = request[:1], request[1:]
            if more or not _possible(prefix):
                continue  # an XSUB socket can send anything, and ZeroMQ keeps every subscription
            if wish == bytes([_SUBSCRIBE]):
                self._socket.set(zmq.SUBSCRIBE, prefix)
                await self._greet(prefix)
            elif wish == bytes([_UNSUBSCRIBE]):
                self._socket.set(zmq.UNSUBSCRIBE, prefix)

    async def _greet(self, prefix: bytes) -> None:
        # everybody on the topic gets the snapshot; who knows its number already drops it
        for topic, message in self._latest.items():
            if topic.encode().startswith(prefix):
                self.snapshots += 1
                await self._socket.send_multipart(encode(replace(message, snapshot=True)))


def _possible(prefix: bytes) -> bool:
    """Whether a topic may begin so."""
    kind, slash, stream = prefix.partition(b"/")
    if not slash:
        return any(name.encode().startswith(kind) for name in KINDS)
    name = stream.decode("ascii", "replace")
    streams = kind.decode("ascii", "replace") in KINDS.keys() - {Health.kind}
    return streams and (not name or STREAM_PATTERN.fullmatch(name) is not None)
