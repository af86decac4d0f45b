"""Rerun's own process: where it listens, and how it ends. The kernel is asked, not Rerun."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from latticewatch.viewer.screen import opened

pytest.importorskip("rerun", reason="the viewer needs rerun-sdk")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

_LISTEN = "0A"


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(p for child in children for p in family(int(child)))]


def sockets_of(pids: list[int]) -> set[str]:
    links = []
    for fd in (fd for pid in pids for fd in Path(f"/proc/{pid}/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            links.append(str(fd.readlink()))
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def listening(pids: list[int]) -> list[tuple[str, int]]:
    """Addresses and ports that the processes listen on, over IPv4 and IPv6."""
    ours, found = sockets_of(pids), []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            local, state, inode = fields[1], fields[3], fields[9]
            if state == _LISTEN and inode in ours:
                words, port = local.split(":")
                # the kernel prints 32-bit words in the machine's order
                raw = b"".join(
                    int(words[k : k + 8], 16).to_bytes(4, sys.byteorder)
                    for k in range(0, len(words), 8)
                )
                found.append((str(ipaddress.ip_address(raw)), int(port, 16)))
    return found


def test_the_table_is_read_rightly():
    with socket.socket() as everywhere, socket.socket() as here:
        everywhere.bind(("0.0.0.0", 0))  # noqa: S104 - the table is to show it
        here.bind(("127.0.0.1", 0))
        for listener in (everywhere, here):
            listener.listen()
        expected = {listener.getsockname() for listener in (everywhere, here)}
        assert expected <= set(listening([os.getpid()]))


@pytest.mark.timeout(180)
def test_the_page_is_served_on_loopback_alone():
    with opened(web=True, port=0, memory_limit="64MiB") as screen:
        pids = [os.getpid(), *family(screen.process.pid)]
        # whatever it wants to ask of others goes to a proxy that nobody listens at
        environment = Path(f"/proc/{pids[-1]}/environ").read_bytes().split(b"\0")
        for name in (b"HTTPS_PROXY", b"https_proxy", b"ALL_PROXY"):
            assert name + b"=http://127.0.0.1:9" in environment
        found = listening(pids)
        assert len(found) == 3  # the page, Rerun's files, and the data
        assert {address for address, _ in found} == {"127.0.0.1"}
        assert screen.page.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(screen.page, timeout=60) as answer:  # noqa: S310 - http
            assert b"canvas" in answer.read()
            rule = answer.headers["Content-Security-Policy"]
    assert "default-src 'self';" in rule
    assert set(re.findall(r"https?://([^:/ ]+)", rule)) == {"127.0.0.1"}
    assert len(pids) == 3
    assert not [pid for pid in pids[1:] if Path(f"/proc/{pid}").exists()]
    assert not listening([os.getpid()])


def test_a_taken_port_is_named():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with (
            pytest.raises(RuntimeError, match=f"port {port} is taken.*--port"),
            opened(web=True, port=port, memory_limit="64MiB"),
        ):
            pass
