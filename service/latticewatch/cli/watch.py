"""Show a service's results in the terminal, with sparklines; for a remote shell.

For example::

  latticewatch watch
  latticewatch watch tcp://127.0.0.1:7702 --stream titan
  latticewatch watch --stream titan >> titan.log

On a terminal the page is redrawn in place; where the output goes anywhere else it is a line every
second, and one for every alert and change point.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from latticewatch.client.messages import Message, Statistics
from latticewatch.client.subscriber import Subscriber
from latticewatch.terminal.glyphs import Line, glyphs_for, shown
from latticewatch.terminal.log_lines import log_line, news_line
from latticewatch.terminal.page import cropped, page
from latticewatch.terminal.readout import Readout

TOPICS = ("statistics", "defects", "alert", "health")

#: Seconds between two pages, and between two lines where the output is no terminal.
PAGE_EVERY_S, LINE_EVERY_S = 0.2, 1.0

#: Seconds without a message after which the page is drawn anew, to say for how long.
_LOOK_S = 1.0

#: Messages that are taken in before the page is drawn: a slow line to the terminal delays the page,
#: not what it tells.
_AT_ONCE = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("results", nargs="?", default="tcp://127.0.0.1:7702", help="(%(default)s)")
    parser.add_argument("--keys", type=Path, metavar="DIR", help="for a service that asks for keys")
    parser.add_argument("--stream", default="*", help="name of a stream; default: the first heard")
    parser.add_argument(
        "--every", type=float, metavar="SECONDS",
        help=f"least time between two pages ({PAGE_EVERY_S:g}) or lines ({LINE_EVERY_S:g})",
    )  # fmt: skip
    parser.add_argument("--ascii", action="store_true", help="nothing but ASCII characters")
    parser.add_argument("--frames", type=int, help="end after so many frames")
    parser.add_argument("--until-end", action="store_true", help="end with the stream")
    parser.add_argument(
        "--timeout", type=float, help="end with an error after so many silent seconds"
    )


def run(options: argparse.Namespace) -> int:
    """Watch until interrupted, or as the options say."""
    console = Console(highlight=False, soft_wrap=True)
    with Subscriber(options.results, options.stream, TOPICS, keys=options.keys) as subscriber:
        out = _Page(console, options) if console.is_terminal else _Log(console, options)
        with out:
            show(subscriber, out, options)
    return 0


def show(subscriber: Subscriber, out: _Page | _Log, options: argparse.Namespace) -> None:
    """Take in what comes and write it out; raises TimeoutError as --timeout says."""
    readout, written, heard = Readout(options.stream), -math.inf, time.monotonic()
    while True:
        batch = list(_waiting(subscriber, _LOOK_S))
        silence = time.monotonic() - heard
        if batch:
            heard = time.monotonic()
        elif options.timeout is not None and silence > options.timeout:
            raise TimeoutError(f"no message in {options.timeout:g} s: is the service running?")
        last = False
        for message in batch:
            if readout.begins_anew(message):
                readout = Readout(readout.stream)
            readout.unreadable = subscriber.unreadable
            for news in readout.take(message, time.time()):
                out.news(news_line(readout, news))
            last = last or _is_last(message, options)
        if last or time.monotonic() - written >= out.every_s:
            out.write(readout)
            written = time.monotonic()
        if last:
            return


def _waiting(subscriber: Subscriber, timeout_s: float) -> Iterator[Message]:
    with contextlib.suppress(TimeoutError):
        yield subscriber.receive(timeout_s)
        for _ in range(_AT_ONCE - 1):
            yield subscriber.receive(0)


def _is_last(message: Message, options: argparse.Namespace) -> bool:
    if not isinstance(message, Statistics):
        return False
    enough = options.frames is not None and message.frame + 1 >= options.frames
    return enough or (options.until_end and message.data.get("ended") is True)


class _Page:
    """A terminal: the page is redrawn in place."""

    def __init__(self, console: Console, options: argparse.Namespace) -> None:
        self.every_s = PAGE_EVERY_S if options.every is None else options.every
        self._console = console
        self._glyphs = glyphs_for("ascii" if options.ascii else console.encoding)
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> _Page:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def news(self, line: str) -> None:
        """Do nothing: alerts and change points are on the page."""

    def write(self, readout: Readout) -> None:
        # the last row is left to the cursor, the last column to terminals that wrap there
        width, height = self._console.width - 1, self._console.height - 1
        lines = page(readout, width, self._glyphs, time.time())
        text = Text("\n").join(_styled(line) for line in cropped(lines, height, self._glyphs))
        self._live.update(text, refresh=True)


class _Log:
    """No terminal: plain lines, one below the other."""

    def __init__(self, console: Console, options: argparse.Namespace) -> None:
        self.every_s = LINE_EVERY_S if options.every is None else options.every
        self._glyphs = glyphs_for("ascii" if options.ascii else console.encoding)
        self._frame = -1

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def news(self, line: str) -> None:
        print(shown(line, self._glyphs), flush=True)

    def write(self, readout: Readout) -> None:
        if readout.frame != self._frame or readout.facts.ended:
            self._frame = readout.frame
            print(shown(log_line(readout), self._glyphs), flush=True)


def _styled(line: Line) -> Text:
    return Text.assemble(*line, no_wrap=True)
