"""A socket of the service, bound while it is entered."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TypeVar

import zmq
import zmq.asyncio

from latticewatch.binding import check_binding

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

    Raises
    ------
    BindingError
        On construction: the address may be reached by strangers.
    PortError
        On entering: the address is taken.
    """

    def __init__(self, endpoint: str, kind: int, options: Mapping[zmq.SocketOption, int]) -> None:
        self.endpoint = check_binding(endpoint)
        self._kind = kind
        self._options = dict(options)

    async def __aenter__(self: P) -> P:
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(self._kind)
        self._socket.set(zmq.LINGER, 0)
        for option, value in self._options.items():
            self._socket.set(option, value)
        try:
            self._socket.bind(self.endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
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
        self._context.destroy(linger=0)
