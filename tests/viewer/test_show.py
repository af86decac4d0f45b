"""The shell: what it keeps, how it ends, what it says of what it lost."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kept import frames, rows
from published import defects, overlay, statistics
from test_live import DATA
from test_screen import family

from latticewatch.benchmark import simulated_frames
from latticewatch.client.publisher import Publisher
from latticewatch.client.subscriber import Subscriber
from latticewatch.processes import running, running_service
from latticewatch.viewer.drawing import Drawing
from latticewatch.viewer.recording import Recording
from latticewatch.viewer.screen import opened
from latticewatch.viewer.series import rate_entry
from latticewatch.viewer.show import show


class Feed:
    """Messages in the place of a subscriber; tells how often it was found empty."""

    def __init__(self, messages, stream="*"):
        self.messages, self.stream, self.unreadable, self.empty = list(messages), stream, 0, 0

    def receive(self, timeout=None):
        if not self.messages:
            self.empty += 1
            raise TimeoutError
        return self.messages.pop(0)

    def has_more(self):
        return not self.empty


@pytest.fixture
def now(monkeypatch):
    """The clock at the time of the messages of `published`."""
    monkeypatch.setattr("latticewatch.viewer.show.time.time", lambda: 1000.2)


def a_session(count):
    for k in range(count):
        yield from (overlay(k), defects(k), statistics(k, DATA))


def test_a_session_is_kept_frame_by_frame(tmp_path, now):
    feed = Feed(a_session(4))
    show(feed, None, tmp_path / "kept.rrd", open_still=feed.has_more)
    for entity in ("frame/image", "frame/defects", "populations/VS", "latency/drawn", "status"):
        assert frames(tmp_path / "kept.rrd", entity) == [0, 1, 2, 3], entity
    (acquired,) = {
        row["acquired"].total_seconds()
        for row in rows(tmp_path / "kept.rrd")["frame/image"]
        if row["frame"] == 3
    }
    assert acquired == 1.5


def test_it_ends_with_the_stream_where_it_is_told_to(tmp_path, now):
    ended = statistics(2, {**DATA, "ended": True})
    feed = Feed([*a_session(2), ended])
    show(feed, None, tmp_path / "kept.rrd", open_still=lambda: True, until_end=True)
    assert frames(tmp_path / "kept.rrd", "status") == [0, 1, 1]


def test_silence_is_an_error_where_it_is_told_to_be(tmp_path):
    with pytest.raises(TimeoutError, match="is the service running"):
        show(Feed([]), None, tmp_path / "kept.rrd", open_still=lambda: True, timeout_s=0.0)


def test_what_is_lost_is_logged(tmp_path, now, caplog):
    feed = Feed([overlay(0), *list(a_session(3))[3:]])
    with caplog.at_level(logging.WARNING):
        show(feed, None, tmp_path / "kept.rrd", open_still=feed.has_more)
    assert "not drawn so far: 1 unpaired" in caplog.text
    assert frames(tmp_path / "kept.rrd", "frame/image") == [1, 2]


def test_another_session_is_another_recording(tmp_path, now):
    feed = Feed([*a_session(3), overlay(0, run=6), defects(0, run=6)])
    show(feed, None, tmp_path / "kept.rrd", open_still=feed.has_more)
    assert frames(tmp_path / "kept.rrd", "frame/image") == [0, 1, 2]
    assert frames(tmp_path / "kept-2.rrd", "frame/image") == [0]


def test_unix_times_are_told_from_the_sources_own(tmp_path):
    recording = Recording(None, tmp_path / "kept.rrd")
    recording.draw(Drawing(0, 1.75e9, (rate_entry(5.0),)))
    recording.close()
    (row,) = [r for r in rows(tmp_path / "kept.rrd")["rate/frames"] if "frame" in r]
    assert row["acquired"].timestamp() == pytest.approx(1.75e9)


@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_closing_the_window_in_the_middle_of_a_session_is_no_error(tmp_path, now):
    with opened(web=True, port=0, memory_limit="64MiB") as screen:
        rerun = family(screen.process.pid)[-1]

        class Closing(Feed):
            def receive(self, timeout=None):
                if len(self.messages) == 6:
                    os.kill(rerun, signal.SIGTERM)
                return super().receive(timeout)

        feed = Closing(a_session(200))
        show(
            feed, screen.server, tmp_path / "kept.rrd",
            open_still=lambda: screen.process.poll() is None,
        )  # fmt: skip
        assert screen.process.wait(30) != 0
    assert frames(tmp_path / "kept.rrd", "frame/image") != []


@pytest.mark.timeout(120)
def test_a_viewer_that_comes_late_catches_up(tmp_path):
    """As one that was killed and started again: all that it knows is in the snapshots."""
    file = tmp_path / "late.rrd"
    with running_service(tmp_path / "data") as (_, ports):
        source = ("send", "--simulate", "--frames", "12", "--size", "128", "--seed", "3")
        with running(*source, "--stream", "s", "--to", ports["frames"], quiet=True) as sender:
            assert sender.wait(60) == 0
        options = ("--headless", "--record", str(file), "--until-end", "--timeout", "30")
        with running("view", ports["results"], *options) as viewer:
            assert viewer.wait(60) == 0
    assert frames(file, "frame/image") == [11]
    assert set(frames(file, "populations/MoW")) == {11}
    (status,) = [row for row in rows(file)["status"] if row.get("frame") == 11]
    assert "12 counted" in status["TextDocument:text"][0]


@pytest.mark.timeout(120)
def test_a_viewer_that_is_killed_and_started_again_in_mid_session_catches_up(tmp_path):
    file, half = tmp_path / "second.rrd", 8
    images, header = simulated_frames(128, 2 * half)
    options = ("--web", "--port", "0", "--timeout", "30")
    with (
        running_service(tmp_path / "data") as (_, ports),
        Publisher(ports["frames"], "s") as publisher,
        Subscriber(ports["results"], "s", ("statistics",)) as subscriber,
    ):

        def send(numbers):
            for k in numbers:
                publisher.send(images[k], time_s=k * header["frame_time_s"], **header)

        with running("view", ports["results"], *options, pipe=True) as first:
            first.stdout.readline()
            send(range(half))
            while subscriber.receive(60).frame < half - 1:
                pass
            first.kill()
            first.wait(30)
        again = (*options, "--record", str(file), "--until-end")
        with running("view", ports["results"], *again, pipe=True) as second:
            second.stdout.readline()
            send(range(half, 2 * half))
            publisher.end()
            publisher.flush(60)
            assert second.wait(60) == 0
    drawn = frames(file, "frame/image")
    # with the newest frame at its start, which on a busy machine may be the last of all
    assert half - 1 <= drawn[0] <= drawn[-1] == 2 * half - 1
    last = [row for row in rows(file)["status"] if row.get("frame") == 2 * half - 1]
    assert f"{2 * half} counted" in last[-1]["TextDocument:text"][0]


@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGSTOP")
def test_a_viewer_that_is_stopped_holds_nobody_up(tmp_path):
    file = tmp_path / "stopped.rrd"
    source = ("send", "--simulate", "--frames", "12", "--size", "128", "--seed", "3")
    options = ("--web", "--port", "0", "--record", str(file), "--until-end", "--timeout", "30")
    with (
        running_service(tmp_path / "data") as (_, ports),
        running("view", ports["results"], *options, pipe=True) as viewer,
    ):
        viewer.stdout.readline()
        viewer.send_signal(signal.SIGSTOP)
        with running(*source, "--stream", "s", "--to", ports["frames"], pipe=True) as sender:
            assert "12 acknowledged" in sender.stdout.read()
            assert sender.wait(60) == 0
        viewer.send_signal(signal.SIGCONT)
        assert viewer.wait(60) == 0
    assert frames(file, "frame/image")[-1] == 11
    assert frames(file, "status")[-1] == 11


def test_without_the_extra_one_line_names_it():
    script = "import sys; sys.modules['rerun'] = None; from latticewatch.cli import main; "
    for command in ("['view']", "['demo', '--web', '--frames', '2']"):
        done = subprocess.run(
            [sys.executable, "-c", script + f"sys.exit(main({command}))"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "rerun" in line
        assert "pip install 'latticewatch[view]'" in line


def test_headless_without_a_file_is_misuse(capsys):
    from latticewatch.cli import main

    assert main(["view", "--headless"]) == 2
    assert "--record" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux to await a grandchild")
def test_a_leashed_command_ends_with_its_starter_however_that_ends():
    endless = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    starter = (
        "import subprocess, sys;"
        f"leash = [sys.executable, '-m', 'latticewatch.leash', sys.executable, '-c', {endless!r}];"
        "subprocess.Popen(leash, stdin=subprocess.PIPE).wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True
    ) as process:
        command = int(process.stdout.readline())
        watched = os.pidfd_open(command)
        process.send_signal(signal.SIGKILL)
        ended, _, _ = select.select([watched], [], [], 30)
        os.close(watched)
    assert ended, "the command outlived its starter"


@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_demo_opens_the_viewer_and_ends_it(tmp_path):
    options = ("--web", "--frames", "6", "--size", "128", "--rate", "20")
    with running("demo", *options, pipe=True) as demo:
        first = demo.stdout.readline()
        assert "latticewatch view: showing" in first
        assert "http://127.0.0.1:" in first
        for line in demo.stdout:
            if "the viewer is open until" in line:
                break
        started = family(demo.pid)
        assert len(started) > 4  # itself, the service, the viewer, the leash, Rerun
        demo.terminate()
        demo.wait(30)
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


@pytest.mark.timeout(120)
def test_without_a_display_the_demo_says_how_to_open_the_viewer(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-m", "latticewatch", "demo", "--frames", "3", "--size", "128"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    if sys.platform == "linux":
        assert "without the live viewer: --web opens it" in done.stdout
