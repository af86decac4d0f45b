"""A socket of the service, bound while it is entered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TypeVar

import zmq
import zmq.asyncio

from latticewatch.binding import check_binding
from latticewatch.security import Admission

#: Seconds between attempts to bind an address that this process has just given up, and in all.
REBIND_EVERY_S, REBIND_FOR_S = 0.02, 5.0

P = TypeVar("P", bound="Port")


class PortError(OSError):
    """An address cannot be bound."""


class Port:
    """An asyncio ZeroMQ socket on an address that strangers cannot reach.

    Use as an async context manager; the derived class has a `run` to be awaited inside.

    Parameters
    ----------
    endpoint
        Address to bind to; once entered, the attribute names the port that was really taken.
    kind
        Type of the socket, ``zmq.ROUTER`` for one.
    options
        Socket options, set before it is bound.
    admission
        Who is let in; without, everybody who reaches a loopback address.

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
        kind: int,
        options: Mapping[zmq.SocketOption, int],
        admission: Admission | None = None,
    ) -> None:
        self.endpoint = check_binding(endpoint, keys=admission is not None)
        self.admission = admission
        self._kind = kind
        self._options = dict(options)

    async def __aenter__(self: P) -> P:
        self._context = zmq.asyncio.Context()
        self._answering = contextlib.AsyncExitStack()
        if self.admission is not None:
            await self._answering.enter_async_context(self.admission.answering(self._context))
        self._socket = self._made()
        try:
            self._socket.bind(self.endpoint)
        except zmq.ZMQError as error:
            await self._close()
            raise PortError(
                f"{self.endpoint} cannot be bound ({error.strerror}): "
                "is another service running? give another port"
            ) from error
        self.endpoint = self._socket.get_string(zmq.LAST_ENDPOINT)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    def _may_speak(self, parts: Sequence[zmq.Frame]) -> bool:
        """Whether the sender of a message is still let in."""
        return self.admission is None or self.admission.still(str(parts[-1].get("User-Id")))

    async def _close(self) -> None:
        await self._answering.aclose()
        self._context.destroy(linger=0)

    def _made(self) -> zmq.asyncio.Socket:
        socket = self._context.socket(self._kind)
        socket.set(zmq.LINGER, 0)
        for option, value in self._options.items():
            socket.set(option, value)
        if self.admission is not None:
            self.admission.guard(socket)
        return socket

    async def _reopen(self) -> None:
        """Cut every connection, by another socket on the same address; who may comes back.

        ZeroMQ cannot cut one connection alone.
        """
        self._socket.close(linger=0)
        self._socket = self._made()
        until = asyncio.get_running_loop().time() + REBIND_FOR_S
        while True:
            try:
                self._socket.bind(self.endpoint)
            except zmq.ZMQError as error:
                # the old socket is closed by another thread
                if error.errno != zmq.EADDRINUSE or asyncio.get_running_loop().time() > until:
                    raise PortError(
                        f"{self.endpoint} cannot be bound again ({error.strerror})"
                    ) from error
                await asyncio.sleep(REBIND_EVERY_S)
            else:
                return
