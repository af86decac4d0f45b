"""Show a service's results as a live table in the terminal.

For example::

  latticewatch watch
  latticewatch watch tcp://127.0.0.1:7702 --stream demo
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.live import Live

from latticewatch.board import Board
from latticewatch.client.messages import Statistics
from latticewatch.client.subscriber import Subscriber

TOPICS = ("statistics", "defects", "alert", "health")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("results", nargs="?", default="tcp://127.0.0.1:7702", help="(%(default)s)")
    parser.add_argument("--keys", type=Path, metavar="DIR", help="for a service that asks for keys")
    parser.add_argument("--stream", default="*", help="name of a stream; default: all")
    parser.add_argument("--frames", type=int, help="end after so many frames")
    parser.add_argument("--until-end", action="store_true", help="end with the stream")
    parser.add_argument(
        "--timeout", type=float, help="end with an error after so many silent seconds"
    )


def run(options: argparse.Namespace) -> int:
    """Watch until interrupted, or as the options say."""
    with Subscriber(options.results, options.stream, TOPICS, keys=options.keys) as subscriber:
        show(subscriber, options.frames, options.until_end, options.timeout)
    return 0


def show(
    subscriber: Subscriber, frames: int | None, until_end: bool, timeout: float | None
) -> None:
    """Redraw the board with every message."""
    board = Board()
    with Live(board.render(), console=Console(), auto_refresh=False) as live:
        while True:
            message = subscriber.receive(timeout)
            board.take(message)
            live.update(board.render(), refresh=True)
            if not isinstance(message, Statistics):
                continue
            if until_end and message.data.get("ended"):
                return
            if frames is not None and message.frame + 1 >= frames:
                return
