"""Simulated microscope, service, terminal view and live viewer, each a process of its own.

For example::

  latticewatch demo
  latticewatch demo --web
  latticewatch demo --frames 60 --headless

The live viewer opens in a window where there is a display and pip install 'latticewatch[view]' has
been done, and with --web in the browser; it stays open after the last frame, until it is closed.
With --headless no view is opened; after the last frame it prints found against true defects, the
classes, the transition matrix and the latency, all taken from what the service published.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from latticewatch.board import class_table, transition_table
from latticewatch.client.messages import Defects, DefectTable, Statistics
from latticewatch.client.subscriber import Subscriber
from latticewatch.processes import (
    GRACE_S,
    ended_in_order,
    running,
    running_service,
    until_subscribed,
)
from latticewatch.scorecard import score_by_species
from latticewatch.sources.simulated import read_truth
from latticewatch_models.truth import Truth

STREAM = "demo"

TOPICS = ("statistics", "defects", "health")

EXTRA = "'latticewatch[view]'"

#: Longest silence of the service before the demo gives up, seconds.
_SILENCE_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--frames", type=int, default=240, help="length of the movie (%(default)s)")
    views = parser.add_mutually_exclusive_group()
    views.add_argument("--headless", action="store_true", help="no view; print the results")
    views.add_argument("--web", action="store_true", help="live viewer in the browser")
    parser.add_argument("--size", type=int, default=256, help="pixels a side (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the simulation (%(default)s)")
    parser.add_argument("--rate", type=float, default=5.0, help="frames a second (%(default)s)")
    parser.add_argument("--rows", type=int, metavar="N", help="send frames N rows at a time")
    parser.add_argument("--dose", type=float, help="electrons a pixel (1600)")
    parser.add_argument("--data", type=Path, help="keep the session here")


def run(options: argparse.Namespace) -> int:
    """Run all parts until the movie has been counted."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(ended_in_order())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="latticewatch-")))
        data = options.data or folder / "data"
        service, ports = stack.enter_context(running_service(data))
        if options.headless:
            return _headless(options, ports, folder / "truth.jsonl")
        viewer = _viewer(stack, ports["results"], web=options.web)
        view = stack.enter_context(
            running("watch", ports["results"], "--stream", STREAM, "--until-end")
        )
        stack.enter_context(running(*_sender(options, ports), quiet=True))
        status = view.wait()
        if options.data:
            print(f"latticewatch demo: session kept in {data}")
        if viewer is not None and viewer.poll() is None:
            print("latticewatch demo: the viewer is open until you close it or press Ctrl-C")
            viewer.wait()
        return status if service.poll() is None else 1


def _viewer(
    stack: contextlib.ExitStack, results: str, *, web: bool
) -> subprocess.Popen[str] | None:
    """Open the live viewer where it can be; says why it is not opened.

    Raises
    ------
    ModuleNotFoundError
        It is asked for with --web and rerun-sdk is not installed.
    """
    installed = importlib.util.find_spec("rerun") is not None
    if web and not installed:
        raise ModuleNotFoundError("rerun is not installed", name="rerun")
    if not web and not (installed and _has_display()):
        lacking = "--web opens it in the browser" if installed else f"pip install {EXTRA} brings it"
        print(f"latticewatch demo: without the live viewer: {lacking}")
        return None
    where = ("--web", "--port", "0") if web else ()
    viewer = stack.enter_context(running("view", results, "--stream", STREAM, *where, pipe=True))
    assert viewer.stdout is not None  # noqa: S101 - asked for above
    print(viewer.stdout.readline(), end="")
    if viewer.poll() is not None:
        raise RuntimeError("the viewer did not start: see its lines above")
    return viewer


def _has_display() -> bool:
    return sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _headless(options: argparse.Namespace, ports: dict[str, str], truth: Path) -> int:
    with Subscriber(ports["results"], STREAM, TOPICS) as subscriber:
        until_subscribed(subscriber, _SILENCE_S)
        command = (*_sender(options, ports), "--truth", str(truth))
        with running(*command, quiet=True) as sender:
            started = time.monotonic()
            tables, statistics, latencies_ms = _collect(subscriber)
            spent = time.monotonic() - started
            if sender.wait(GRACE_S) != 0:
                raise RuntimeError("not every frame was acknowledged: see the sender's lines above")
    frames = [(true, tables[true.frame]) for true in read_truth(truth) if true.frame in tables]
    if len(frames) != options.frames:
        raise RuntimeError(f"{options.frames} frames were sent, {len(frames)} were published")
    console = Console(width=max(100, Console().width))
    console.print(
        f"{len(frames)} frames of {options.size} x {options.size} in {spent:.1f} s, "
        "start of the sender included"
    )
    console.print(_score_table(frames))
    console.print(class_table(statistics.data))
    matrix = transition_table(statistics.data)
    if matrix is not None:
        console.print(matrix)
    p50, p99 = np.percentile(latencies_ms, [50, 99])
    console.print(
        f"from send to subscriber at {options.rate:g} frames/s: {p50:.0f} ms median, "
        f"{p99:.0f} ms p99"
    )
    return 0


def _collect(subscriber: Subscriber) -> tuple[dict[int, DefectTable], Statistics, list[float]]:
    """Everything that a subscriber gets until the stream ends."""
    tables: dict[int, DefectTable] = {}
    latencies_ms: list[float] = []
    while True:
        message = subscriber.receive(_SILENCE_S)
        if message.missed:
            raise RuntimeError(f"{message.missed} messages were lost on the way")
        if isinstance(message, Defects):
            tables[message.frame] = message.table
            if message.sent_s is not None:
                latencies_ms.append(1000 * (time.time() - message.sent_s))
        elif isinstance(message, Statistics) and message.data.get("ended"):
            return tables, message, latencies_ms


def _score_table(frames: list[tuple[Truth, DefectTable]]) -> Table:
    table = Table(title="found against true", title_justify="left", box=None, header_style="dim")
    for name in ("species", "true", "reported", "right", "precision", "recall"):
        table.add_column(name, justify="left" if name == "species" else "right")
    for species, score in score_by_species(frames).items():
        shares = ("-" if s is None else f"{s:.3f}" for s in (score.precision, score.recall))
        counts = (str(n) for n in (score.true, score.reported, score.right))
        table.add_row(species, *counts, *shares)
    return table


def _sender(options: argparse.Namespace, ports: dict[str, str]) -> tuple[str, ...]:
    command = ["send", "--simulate", "--stream", STREAM, "--to", ports["frames"]]
    for name in ("frames", "size", "seed", "rate", "rows", "dose"):
        value = getattr(options, name)
        if value is not None:
            command += [f"--{name}", str(value)]
    return tuple(command)
