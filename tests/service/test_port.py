"""Ports that are taken: one line that names the address and the mend."""

from __future__ import annotations

import asyncio
import socket

import pytest

from latticewatch.cli import main
from latticewatch.port import PortError
from latticewatch.publishing import Publishing

ANY = "tcp://127.0.0.1:*"


@pytest.fixture
def taken():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_taken_address_is_named(taken):
    async def enter():
        async with Publishing(f"tcp://127.0.0.1:{taken}"):
            pass

    with pytest.raises(PortError, match=f"127.0.0.1:{taken} cannot be bound"):
        asyncio.run(enter())


@pytest.mark.parametrize("name", ["frames", "metrics"])
def test_serve_ends_with_one_line_when_a_port_is_taken(taken, tmp_path, capsys, name):
    address = {"frames": f"tcp://127.0.0.1:{taken}", "metrics": f"http://127.0.0.1:{taken}/metrics"}
    ports = {"frames": ANY, "results": ANY, "queries": ANY, "metrics": ""}
    ports[name] = address[name]
    given = [part for key, value in ports.items() for part in (f"--{key}", value)]
    assert main(["serve", "--data", str(tmp_path), *given]) == 1
    error = capsys.readouterr().err
    assert f"{address[name]} cannot be bound" in error
    assert error.count("\n") == 1
