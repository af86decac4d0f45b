"""Connecting to an address, with an error that a person can act on."""

from __future__ import annotations

import zmq


def connect(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Connect a socket; raises ValueError where the endpoint is no address."""
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        raise ValueError(
            f"{endpoint!r} is no address ({error.strerror}): use tcp://HOST:PORT"
        ) from None


def check_endpoint(endpoint: str) -> None:
    """Raise ValueError where nothing could be connected to the endpoint."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.set(zmq.LINGER, 0)
        connect(socket, endpoint)
