"""Admission at one port: who may shake hands, and whether who did so may still speak."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import zmq
import zmq.asyncio
from zmq.auth import Authenticator

from latticewatch.client.keys import KeyFileError, make_room
from latticewatch.security.keyring import Keyring

log = logging.getLogger(__name__)

#: Seconds between two looks at the folder while messages come in: a key that was revoked works no
#: longer than that. A look is one listing of a folder.
LOOK_EVERY_S = 0.5

#: Seconds between two warnings of strangers: a port that is scanned must not fill the log.
WARN_EVERY_S = 10.0


class Admission:
    """Lets peers in whose keys have the right that a port asks for.

    Parameters
    ----------
    keyring
        The folder of keys; read again when it changes.
    right
        One of `keyring.RIGHTS`.
    on_denied
        Called with the right at each refusal.

    Attributes
    ----------
    denied
        Handshakes refused, and messages dropped of peers whose key was revoked meanwhile.
    """

    def __init__(
        self, keyring: Keyring, right: str, on_denied: Callable[[str], None] = lambda _: None
    ) -> None:
        self._keyring, self._right = keyring, right
        self._public, self._secret = keyring.pair()
        self._on_denied = on_denied
        self.denied, self._revoked = 0, False
        self._mark: Any = None
        self._allowed: dict[bytes, str] = {}
        self._looked = self._warned = -1e9
        self._look()

    def guard(self, socket: zmq.asyncio.Socket) -> None:
        """Make a socket that is not bound yet demand keys."""
        socket.set(zmq.CURVE_SERVER, 1)
        socket.set(zmq.CURVE_PUBLICKEY, self._public)
        socket.set(zmq.CURVE_SECRETKEY, self._secret)
        socket.set(zmq.ZAP_DOMAIN, self._right.encode())
        make_room(socket)

    @asynccontextmanager
    async def answering(self, context: zmq.asyncio.Context) -> AsyncIterator[None]:
        """Answer the handshakes of a context's sockets while inside."""
        authenticator = Authenticator(context)
        authenticator.configure_curve_callback(self._right, self)
        authenticator.start()
        task = asyncio.ensure_future(_answer(authenticator))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            authenticator.stop()

    def callback(self, _domain: str, key: bytes) -> bool:
        """Whether a key may shake hands (what `zmq.auth` asks)."""
        self._look()
        if key in self._allowed:
            return True
        self._deny(f"a stranger asked to {self._right} (public key {key.decode()})")
        return False

    def still(self, user: str) -> bool:
        """Whether a message's sender, its ``User-Id``, is still let in."""
        if time.monotonic() - self._looked > LOOK_EVERY_S:
            self._look()
        if user.encode() in self._allowed:
            return True
        self._deny(f"a message was dropped: its key may no longer {self._right}")
        return False

    def revoked(self) -> bool:
        """Whether anybody who was let in no longer is, since the last call."""
        if time.monotonic() - self._looked > LOOK_EVERY_S:
            self._look()
        revoked, self._revoked = self._revoked, False
        return revoked

    def _look(self) -> None:
        self._looked = time.monotonic()
        mark = self._keyring.mark(self._right)
        if mark == self._mark:
            return
        try:
            allowed = self._keyring.allowed(self._right)
        except KeyFileError as error:
            # whoever was let in stays so: a damaged file must not stop the microscope
            log.warning("the keys that may %s stay as they were: %s", self._right, error)
            return
        self._revoked |= bool(set(self._allowed) - set(allowed))
        self._allowed, self._mark = allowed, mark

    def _deny(self, what: str) -> None:
        self.denied += 1
        self._on_denied(self._right)
        now = time.monotonic()
        if now - self._warned > WARN_EVERY_S:
            self._warned = now
            log.warning("%s (%d refused so far)", what, self.denied)


async def _answer(authenticator: Authenticator) -> None:
    """Answer one handshake after the other until cancelled."""
    poller = zmq.asyncio.Poller()
    poller.register(authenticator.zap_socket, zmq.POLLIN)
    while True:
        await poller.poll()
        await authenticator.handle_zap_message(authenticator.zap_socket.recv_multipart())
