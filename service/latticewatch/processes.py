"""Other latticewatch processes: started, found, ended. For the demo, the bench and tests."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from latticewatch.client.messages import Health
from latticewatch.client.subscriber import Subscriber

#: A process that was told to end gets so long before it is killed, seconds.
GRACE_S = 10.0

_ANY_PORT = "tcp://127.0.0.1:*"


@contextlib.contextmanager
def running(
    *arguments: str, pipe: bool = False, quiet: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """``latticewatch ARGUMENTS`` in a process of its own, ended on the way out.

    Parameters
    ----------
    *arguments
        The command line after ``latticewatch``.
    pipe, quiet
        Its standard output is piped, or thrown away; otherwise it is ours.
    """
    output = subprocess.PIPE if pipe else subprocess.DEVNULL if quiet else None
    command = [sys.executable, "-m", "latticewatch", *arguments]
    with subprocess.Popen(command, stdout=output, text=True) as process:  # noqa: S603 - our own
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(GRACE_S)
                except subprocess.TimeoutExpired:
                    process.kill()


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C, so that what this process has started is ended before it."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def until_subscribed(subscriber: Subscriber, timeout_s: float) -> None:
    """Wait until the service knows what the subscriber asked for; ``health`` must come last in it.

    Subscriptions arrive in the order of the subscriber's topics, and health is answered at once.

    Raises
    ------
    TimeoutError
        The service was silent for so long.
    """
    while not isinstance(subscriber.receive(timeout_s), Health):
        pass


@contextlib.contextmanager
def running_service(
    data: Path, *arguments: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Start a service on free ports; gives it and its addresses by name once it listens.

    Raises
    ------
    RuntimeError
        It did not start; its own line on standard error says why.
    """
    ports = [part for name in ("frames", "results", "queries") for part in (f"--{name}", _ANY_PORT)]
    metrics = ("--metrics", "http://127.0.0.1:0/metrics")
    with running("serve", "--data", str(data), *ports, *metrics, *arguments, pipe=True) as service:
        assert service.stdout is not None  # noqa: S101 - asked for above
        line = service.stdout.readline()
        if not line.startswith("latticewatch serve: "):
            raise RuntimeError("the service did not start: see its line above")
        parts = (part.partition("=") for part in line.split()[2:])
        yield service, {name: address for name, _, address in parts}
