"""Where a socket may listen: on loopback, and elsewhere only with keys."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

LOOPBACK_NAMES = ("localhost",)


class BindingError(ValueError):
    """A socket would listen where strangers can reach it."""


def check_binding(endpoint: str, *, keys: bool = False) -> str:
    """Return the endpoint if a socket may be bound to it.

    Parameters
    ----------
    endpoint
        ZeroMQ address: ``tcp://127.0.0.1:7701``, ``ipc://...``, ``inproc://...``.
    keys
        Whether the socket admits only peers whose keys are allowed (CURVE).

    Raises
    ------
    BindingError
        The address is not a loopback one and there are no keys, or it is no address.
    """
    scheme, _, rest = endpoint.partition("://")
    if scheme in ("ipc", "inproc") and rest:
        return endpoint
    if scheme != "tcp" or ":" not in rest:
        raise BindingError(f"{endpoint!r} is no address: use tcp://127.0.0.1:PORT or ipc://PATH")
    if keys or _is_loopback(_host(endpoint)):
        return endpoint
    raise BindingError(
        f"{endpoint} is not a loopback address, and without keys anybody could reach it: "
        "bind to 127.0.0.1 (a tunnel can lead there), or make keys with "
        "'latticewatch keys new service --dir KEYS' and give serve --keys KEYS"
    )


def _host(endpoint: str) -> str:
    if endpoint.endswith(":*"):  # any free port
        endpoint = endpoint[:-1] + "0"
    try:
        return urlsplit(endpoint).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
