"""Rerun's own process: the window, or the server of the page; on loopback only, ended with us."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from latticewatch.processes import GRACE_S
from latticewatch.viewer.page import LOOPBACK, address, served

#: Seconds that Rerun may take until it listens. Its binary is 290 MB: the first start from a cold
#: disk takes a few.
_START_S = 60.0

_POLL_S = 0.05

#: Proxies, at the discard port.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_NOBODY = f"http://{LOOPBACK}:9"


@dataclass(frozen=True)
class Screen:
    """Rerun, running.

    Attributes
    ----------
    process
        It ends when the window is closed.
    server
        Address that drawings are sent to.
    page
        Address for a browser; None for a window.
    """

    process: subprocess.Popen[bytes]
    server: str
    page: str | None


@contextlib.contextmanager
def opened(
    *, web: bool, port: int, memory_limit: str, renderer: str | None = None
) -> Iterator[Screen]:
    """Start Rerun and wait until it listens; it is ended on the way out.

    Parameters
    ----------
    web
        A page for the browser instead of a window.
    port
        Where the page is served; 0 takes a free one.
    memory_limit
        Above it, Rerun forgets the oldest drawings: ``2GiB``, or ``25%`` of the machine's memory.
    renderer
        Rerun's graphics backend, where its own choice does not work.

    Raises
    ------
    RuntimeError
        A port is taken, or Rerun ends, or does not listen in time.
    """
    files_port, server_port = _free_ports()
    command = [str(_binary()), "--bind", LOOPBACK, "--port", str(server_port)]
    if web:
        # the server keeps what a page that is opened later asks for
        command += ["--serve-web", "--web-viewer-port", str(files_port)]
        command += ["--server-memory-limit", memory_limit]
    else:
        command += ["--expect-data-soon", "--hide-welcome-screen", "--memory-limit", memory_limit]
        command += ["--renderer", renderer] if renderer else []
    server = f"rerun+http://{LOOPBACK}:{server_port}/proxy"
    with contextlib.ExitStack() as stack:
        # a taken port is found before anything is started
        page = None
        if web:
            page = address(stack.enter_context(served(port, files_port, server_port)), server)
        process = stack.enter_context(_leashed(command))
        _await_listening(process, [server_port, *([files_port] if web else [])])
        yield Screen(process, server, page)


@contextlib.contextmanager
def _leashed(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    leash = [sys.executable, "-m", "latticewatch.leash", *command]
    with subprocess.Popen(leash, stdin=subprocess.PIPE, env=_environment()) as process:  # noqa: S603
        try:
            yield process
        finally:
            _end(process)


def _binary() -> Path:
    """Rerun's executable: its Python entry point would be one more process that is not ended."""
    found = importlib.util.find_spec("rerun_cli")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("rerun is not installed", name="rerun")
    folder = Path(found.origin).parent
    names = ("rerun", "rerun.exe", "Rerun.app/Contents/MacOS/Rerun")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise RuntimeError(f"{folder} holds no Rerun: install it anew, pip install rerun-sdk")


def _environment() -> dict[str, str]:
    """Keep Rerun on this machine: no usage statistics, which it sends unless in a test, no news.

    Its window asks its makers for a newer version when it starts; there is no switch for that, so
    it is told of a proxy that nobody listens at.
    """
    proxies = {name: _NOBODY for kind in _PROXIES for name in (kind, kind.lower())}
    quiet = {"CI": "1", "RUST_LOG": os.environ.get("RUST_LOG", "warn")}
    return {**os.environ, **proxies, **quiet}


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind((LOOPBACK, 0))
        return first.getsockname()[1], second.getsockname()[1]


def _await_listening(process: subprocess.Popen[bytes], ports: list[int]) -> None:
    until = time.monotonic() + _START_S
    for port in ports:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((LOOPBACK, port)) == 0:
                    break
            if process.poll() is not None:
                raise RuntimeError(
                    "Rerun ended before it listened, see its lines above: without a display use "
                    "--web, and where graphics fail --renderer gl"
                )
            if time.monotonic() > until:
                raise RuntimeError(f"Rerun does not listen on port {port} after {_START_S:g} s")
            time.sleep(_POLL_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
