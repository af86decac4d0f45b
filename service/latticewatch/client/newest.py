"""Asking for the newest overlay, one at a time: nothing older waits on the way to who is slow.

A request is a subscription to a topic of its own, ``latest/NAME.NUMBER/overlay/STREAM``, which the
service answers once, on that topic, with the newest overlay that NAME has not had. NAME is drawn by
the subscriber. The next request is made before the last one is withdrawn, so that the service knows
by the end of all of them that the subscriber has gone.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import zmq

from latticewatch.client.overlays import Overlay

#: What a request's topic begins with.
PREFIX = b"latest/"

#: Longest request: a name of 8, a number of 12 digits, a stream of 64.
MAX_REQUEST_BYTES = 7 + 8 + 1 + 12 + 1 + 8 + 64

_REQUEST = re.compile(
    rb"latest/(?P<name>[0-9a-f]{8})\.[0-9]{1,12}/(?P<topic>overlay/(?:[A-Za-z0-9][\w.-]{0,63})?)",
    re.ASCII,
)


@dataclass(frozen=True)
class Request:
    """Who asks, and the topic, or with all streams its beginning, that is asked for."""

    name: bytes
    topic: str

    def wants(self, topic: str) -> bool:
        """Whether a message's topic is asked for."""
        return topic == self.topic or (self.topic.endswith("/") and topic.startswith(self.topic))


def read_request(subscription: bytes) -> Request | None:
    """Read a request; None where a subscription is none."""
    found = _REQUEST.fullmatch(subscription) if len(subscription) <= MAX_REQUEST_BYTES else None
    return None if found is None else Request(found["name"], found["topic"].decode())


class Newest:
    """A subscriber's requests.

    Parameters
    ----------
    stream
        Whose overlays; empty for those of all.
    """

    def __init__(self, stream: str) -> None:
        self._topic = f"{Overlay.kind}/{stream}".encode()
        self._name = secrets.token_hex(4).encode()
        self._count = 0
        self._open = False

    def ask(self, socket: zmq.Socket[bytes]) -> None:
        """Ask for the next, unless that has been asked for."""
        if self._open:
            return
        before, self._count, self._open = self._request, self._count + 1, True
        socket.subscribe(self._request)
        if self._count > 1:
            socket.unsubscribe(before)

    def renew(self, socket: zmq.Socket[bytes]) -> None:
        """Ask anew: the last request may be lost."""
        self._open = False
        self.ask(socket)

    def opened(self, parts: Sequence[bytes]) -> Sequence[bytes]:
        """Give an answer as if it had come on the overlay's own topic; anything else as it is."""
        if not parts[0].startswith(PREFIX):
            return parts
        self._open = False
        topic = b"/".join(parts[0].split(b"/")[2:])
        return [topic, *parts[1:]]

    @property
    def _request(self) -> bytes:
        return b"%b%b.%d/%b" % (PREFIX, self._name, self._count, self._topic)
