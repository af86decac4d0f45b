"""The results port: an XPUB socket that greets a new subscriber with the latest of its topics.

Of overlays a subscriber may ask for the newest, one at a time (`conflating`).
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import zmq

from latticewatch.client.checks import STREAM_PATTERN
from latticewatch.client.messages import KINDS, Health, Message, encode
from latticewatch.client.newest import MAX_REQUEST_BYTES, read_request
from latticewatch.client.overlays import Overlay
from latticewatch.conflating import Askers
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
    superseded
        Called with a stream and how many of its overlays a subscriber was passed over with.

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
        superseded: Callable[[str, int], None] | None = None,
    ) -> None:
        options = {
            # A subscription takes effect in `run` alone, together with its snapshot: taken by the
            # socket, it would let an update that is sent meanwhile arrive before the snapshot.
            zmq.XPUB_MANUAL: 1,
            zmq.SNDHWM: send_ahead,
            zmq.MAXMSGSIZE: MAX_REQUEST_BYTES + 1,  # nothing but subscriptions comes in
        }
        super().__init__(endpoint, zmq.XPUB, options, admission)
        self.published: Counter[str] = Counter()
        self.snapshots = 0
        self._run = secrets.randbits(63) if run is None else run
        self._latest: dict[str, Message] = {}
        self._askers = Askers()
        self._superseded = superseded

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
        if isinstance(stamped, Overlay):
            await self._answer({stamped.topic: stamped}, snapshot=False)
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
                self._askers = Askers()
                await self._reopen()
                continue
            if not ready:
                continue
            for prefix in self._taken():
                if read_request(prefix):
                    await self._answer(self._latest, snapshot=True)
                else:
                    await self._greet(prefix)

    def _taken(self) -> list[bytes]:
        """Take one request, if there is one; give the subscription that was granted.

        ZeroMQ grants a subscription to the peer whose request was read last, which it forgets when
        another peer goes meanwhile: the subscription would be lost. It learns of that in
        whatever asks for the socket's events, as the event loop does; so nothing may come between
        the reading and the granting.
        """
        socket: zmq.Socket[bytes] = zmq.Socket.shadow(self._socket)
        try:
            request, *more = socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return []
        wish, prefix = request[:1], request[1:]
        if more:  # an XSUB socket can send anything
            return []
        if wish == bytes([_UNSUBSCRIBE]):
            self._askers.withdraw(prefix)
            self._set(zmq.UNSUBSCRIBE, prefix)
        elif wish == bytes([_SUBSCRIBE]):
            if self._askers.ask(prefix):
                socket.set(zmq.SUBSCRIBE, prefix)
                return [prefix]
            if _possible(prefix):
                self._set(zmq.SUBSCRIBE, prefix)
                return [prefix]
        return []

    def _set(self, option: zmq.SocketOption, prefix: bytes) -> None:
        # who wants everything wants the topics, not what others have asked for
        for one in [prefix] if prefix else [kind.encode() for kind in KINDS]:
            self._socket.set(option, one)

    async def _answer(self, latest: Mapping[str, Message], *, snapshot: bool) -> None:
        """Send the newest overlay to those who asked and have not had it."""
        for answer in self._askers.answers(latest):
            if self._superseded is not None:
                self._superseded(answer.message.stream, answer.superseded)
            _, *rest = encode(replace(answer.message, snapshot=snapshot and answer.first))
            await self._socket.send_multipart([answer.topic, *rest])

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
