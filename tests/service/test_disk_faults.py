"""A disk that fails under a running service: frames wait, health says why, and all of it counts.

The frames of every test are the same, so that each session must come to the undisturbed one's.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from latticewatch.client.asking import QueryClient
from latticewatch.client.errors import QueryError
from latticewatch.client.messages import Health
from latticewatch.client.publisher import Publisher
from latticewatch.client.subscriber import Subscriber
from latticewatch.client.table import DefectTable
from latticewatch.processes import running_service
from latticewatch.storage.session import SESSION_FILE
from latticewatch_models.microscope import Microscope

WAIT_S = 25.0
HEALTHS = 15  # of one every two seconds
FRAMES = 6
BEFORE = 2  # frames that are counted before the disk fails


@dataclass
class Scene:
    data: Path
    process: subprocess.Popen[str]
    ports: dict[str, str]
    undisturbed: tuple[DefectTable, dict[str, Any]]

    def publisher(self, stream: str) -> Publisher:
        return Publisher(self.ports["frames"], stream, epoch=5, ack_timeout_s=1.0)


def send(publisher: Publisher, first: int, last: int) -> None:
    for k, frame in enumerate(Microscope(shape=(128, 128), seed=4).frames(last)):
        if k >= first:
            publisher.send(frame.image, time_s=frame.time_s, **frame.header)


def stored(ports: dict[str, str], stream: str) -> tuple[DefectTable, dict[str, Any]]:
    queries = QueryClient(ports["queries"])
    statistics = dict(queries.snapshot(stream)["statistics"])
    assert statistics.pop("stream") == stream
    return queries.defects(stream), statistics


def healths(results: Subscriber) -> Iterator[Health]:
    for _ in range(HEALTHS):
        message = results.receive(WAIT_S)
        assert isinstance(message, Health)
        yield message


def wait_for_trouble(results: Subscriber, stream: str) -> str:
    """Why the stream waits, by the first health message that says so."""
    for message in healths(results):
        if stream in message.values["unavailable"]:
            assert message.state == "degraded"
            return str(message.values["unavailable"][stream])
    raise AssertionError(f"health never told of {stream}")


def wait_until_well(results: Subscriber, stream: str) -> None:
    assert any(stream not in message.values["unavailable"] for message in healths(results))


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Iterator[Scene]:
    data = tmp_path_factory.mktemp("data")
    with running_service(data) as (process, ports):
        with Publisher(ports["frames"], "undisturbed", epoch=5) as publisher:
            send(publisher, 0, FRAMES)
            publisher.end()
            assert publisher.flush(WAIT_S)
        yield Scene(data, process, ports, stored(ports, "undisturbed"))
        assert process.poll() is None, "the service ended"


def held_by_another_program(path: Path) -> Callable[[], None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    def release() -> None:
        other.execute("ROLLBACK")
        other.close()

    return release


def check_fault(
    scene: Scene, stream: str, cause: str, begin: Callable[[], Callable[[], None]]
) -> None:
    """Count some frames, let the disk fail for the others, mend it, compare."""
    with (
        Subscriber(scene.ports["results"], topics=("health",)) as results,
        scene.publisher(stream) as publisher,
    ):
        send(publisher, 0, BEFORE)
        assert publisher.flush(WAIT_S)
        mend = begin()
        try:
            send(publisher, BEFORE, FRAMES)
            publisher.end()
            told = wait_for_trouble(results, stream)
            assert cause in told
            assert "\n" not in told
            assert publisher.stats.acked == BEFORE
            with contextlib.suppress(QueryError):  # reading, too, may need room on the disk
                assert QueryClient(scene.ports["queries"]).snapshot(stream)["frame"] == BEFORE - 1
        finally:
            mend()
        assert publisher.flush(WAIT_S)
        assert (publisher.stats.acked, publisher.stats.rejected) == (FRAMES, 0)
        wait_until_well(results, stream)
    table, statistics = stored(scene.ports, stream)
    assert table == scene.undisturbed[0]
    assert statistics == scene.undisturbed[1]


def test_a_session_that_another_program_locks(scene):
    path = scene.data / "locked" / SESSION_FILE
    cause = "another program holds it"
    check_fault(scene, "locked", cause, lambda: held_by_another_program(path))


def test_a_disk_that_takes_no_more(scene):
    resource = pytest.importorskip("resource", reason="file size limits are POSIX")
    if not hasattr(resource, "prlimit"):
        pytest.skip("the limits of another process are set on Linux alone")
    pid, before = scene.process.pid, resource.prlimit(scene.process.pid, resource.RLIMIT_FSIZE)

    def limit() -> Callable[[], None]:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
        return lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

    check_fault(scene, "limited", "disk", limit)


def test_a_folder_that_cannot_be_made(scene):
    blocked = scene.data / "blocked"
    blocked.write_text("a file where the stream's folder should be")
    with (
        Subscriber(scene.ports["results"], topics=("health",)) as results,
        scene.publisher("blocked") as publisher,
    ):
        send(publisher, 0, FRAMES)
        publisher.end()
        told = wait_for_trouble(results, "blocked")
        assert "cannot be written" in told
        assert publisher.stats.acked == 0
        blocked.unlink()
        assert publisher.flush(WAIT_S)
        wait_until_well(results, "blocked")
    assert stored(scene.ports, "blocked")[0] == scene.undisturbed[0]


def test_a_stream_named_like_a_session_file_disturbs_nobody(scene):
    with scene.publisher(SESSION_FILE) as publisher:
        send(publisher, 0, FRAMES)
        publisher.end()
        assert publisher.flush(WAIT_S)
    assert stored(scene.ports, SESSION_FILE)[0] == scene.undisturbed[0]


def _mounted(folder: Path) -> bool:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


@pytest.fixture
def small_disk(scene, request) -> Iterator[Path]:
    folder = scene.data / request.node.name  # the stream's name, too
    folder.mkdir()
    if not _mounted(folder):
        pytest.skip("a file system of its own needs the right to mount one")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_full_disk(scene, small_disk):
    def fill() -> Callable[[], None]:
        ballast = small_disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        return ballast.unlink

    check_fault(scene, small_disk.name, "make room", fill)


def test_a_read_only_disk(scene, small_disk):
    def remounted(how: str) -> None:
        command = ["mount", "-o", f"remount,{how}", str(small_disk)]
        subprocess.run(command, check=True, capture_output=True)

    remounted("ro")
    with (
        Subscriber(scene.ports["results"], topics=("health",)) as results,
        scene.publisher(small_disk.name) as publisher,
    ):
        send(publisher, 0, FRAMES)
        publisher.end()
        assert "mend its rights" in wait_for_trouble(results, small_disk.name)
        assert publisher.stats.acked == 0
        remounted("rw")
        assert publisher.flush(WAIT_S)
    assert stored(scene.ports, small_disk.name) == scene.undisturbed


def test_a_damaged_last_page_is_told_and_nothing_counts_on_it(scene):
    path = scene.data / "torn" / SESSION_FILE
    path.parent.mkdir()
    with (
        contextlib.closing(sqlite3.connect(scene.data / "undisturbed" / SESSION_FILE)) as original,
        contextlib.closing(sqlite3.connect(path)) as copy,
    ):
        original.backup(copy)
    whole = path.read_bytes()
    path.write_bytes(whole[:-4096] + bytes([0xA5]) * 4096)
    with (
        Subscriber(scene.ports["results"], topics=("health",)) as results,
        Publisher(scene.ports["frames"], "torn", epoch=6, ack_timeout_s=1.0) as publisher,
    ):
        send(publisher, 0, BEFORE)
        assert "restore it, or move it away" in wait_for_trouble(results, "torn")
        assert publisher.stats.acked == 0
        path.write_bytes(whole)
        assert publisher.flush(WAIT_S)
        assert publisher.stats.acked == BEFORE
        wait_until_well(results, "torn")
    queries = QueryClient(scene.ports["queries"])
    assert queries.snapshot("torn")["frame"] == FRAMES + BEFORE - 1
    assert queries.defects("torn", last=FRAMES - 1) == scene.undisturbed[0]
