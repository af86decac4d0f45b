"""`latticewatch watch` as it is run: on a terminal, into a pipe, beside a real service."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys

import pytest

from latticewatch.processes import running, running_service

SOURCE = ("send", "--simulate", "--stream", "s", "--frames", "12", "--size", "128", "--seed", "3")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Address of a service that has counted a session to its end."""
    with running_service(tmp_path_factory.mktemp("watch") / "data") as (_, ports):
        with running(*SOURCE, "--to", ports["frames"], quiet=True) as sender:
            assert sender.wait(60) == 0
        yield ports["results"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "latticewatch", "watch", *arguments]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_into_a_pipe_it_writes_plain_lines(results, encoding):
    done = subprocess.run(
        command(results, "--until-end", "--timeout", "30"), capture_output=True, timeout=60,
        check=True, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    lines = done.stdout.decode(encoding).splitlines()
    assert lines[-1].startswith("s frame 11  missing 0  density ")
    assert lines[-1].endswith("ended")
    assert ("/nm²" if encoding == "utf-8" else "/nm^2") in lines[-1]
    assert b"\x1b" not in done.stdout
    assert done.stderr == b""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (140, 50)])
def test_on_a_terminal_it_draws_a_page_that_fits(results, columns, lines):
    import pty

    ours, theirs = pty.openpty()
    size = {"COLUMNS": str(columns), "LINES": str(lines), "TERM": "xterm", "NO_COLOR": "1"}
    environment = {**os.environ, **size, "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(
        command(results, "--until-end", "--timeout", "30"), stdout=theirs, stderr=theirs,
        env=environment,
    ) as process:  # fmt: skip
        os.close(theirs)
        written = read_all(ours)
        assert process.wait(30) == 0
    # the last page: what was written after the cursor went up for it, without control sequences
    page = re.split(r"\x1b\[\d*A", written)[-1]
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", page).replace("\r", "").splitlines()
    assert max(len(line) for line in shown) < columns
    assert len([line for line in shown if line]) < lines
    text = "\n".join(shown)
    assert "frame 11  12 counted, ended" in text
    assert re.search(r"MoW +\d+ .*▁", text)


def read_all(descriptor: int) -> str:
    parts = []
    while select.select([descriptor], [], [], 60)[0]:
        try:
            part = os.read(descriptor, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts).decode()
