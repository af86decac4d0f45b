"""Show a service's results live, in a window or in the browser.

For example::

  latticewatch view
  latticewatch view tcp://127.0.0.1:7702 --stream titan --web
  latticewatch view --record session.rrd

The viewer is a subscriber like any other: it can be closed and opened again at any time. It needs
rerun-sdk, which pip install 'latticewatch[view]' brings. With --web it is served on this machine
alone; open the address that is printed.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from latticewatch.cli import MisuseError
from latticewatch.client.subscriber import Subscriber
from latticewatch.processes import ended_in_order

#: Page of --web, after the service's own 7701 to 7704.
PORT = 7705

#: Rerun's memory for drawings; beyond it the oldest go.
MEMORY_LIMIT = "2GiB"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("results", nargs="?", default="tcp://127.0.0.1:7702", help="(%(default)s)")
    parser.add_argument("--keys", type=Path, metavar="DIR", help="for a service that asks for keys")
    parser.add_argument("--stream", default="*", help="name of a stream; default: the first heard")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--web", action="store_true", help="serve a page instead of a window")
    where.add_argument("--headless", action="store_true", help="neither: only --record")
    parser.add_argument(
        "--port", type=int, default=PORT, help="of the page; 0: a free one (%(default)s)"
    )
    parser.add_argument("--record", type=Path, metavar="FILE.rrd", help="keep the session here")
    parser.add_argument(
        "--memory-limit", default=MEMORY_LIMIT, help="the oldest frames go beyond it (%(default)s)"
    )
    parser.add_argument("--renderer", help="Rerun's graphics backend: vulkan, gl or metal")
    parser.add_argument("--until-end", action="store_true", help="end with the stream")
    parser.add_argument(
        "--timeout", type=float, help="end with an error after so many silent seconds"
    )


def run(options: argparse.Namespace) -> int:
    """Draw until the window is closed, or as the options say."""
    if options.headless and options.record is None:
        raise MisuseError("--headless draws nothing: give --record FILE.rrd too")
    from latticewatch.viewer.screen import opened
    from latticewatch.viewer.show import TOPICS, show

    with contextlib.ExitStack() as stack:
        stack.enter_context(ended_in_order())
        subscriber = stack.enter_context(
            # every one: it draws them beside their frame's defects, and skips by its own rule
            Subscriber(options.results, options.stream, TOPICS, overlays="every", keys=options.keys)
        )
        screen = None
        if not options.headless:
            screen = stack.enter_context(
                opened(
                    web=options.web,
                    port=options.port,
                    memory_limit=options.memory_limit,
                    renderer=options.renderer,
                )
            )
            where = screen.page or "a window"
            print(f"latticewatch view: showing {options.results} in {where}", flush=True)
        show(
            subscriber,
            screen.server if screen else None,
            options.record,
            open_still=lambda: screen is None or screen.process.poll() is None,
            until_end=options.until_end,
            timeout_s=options.timeout,
        )
        if screen is not None and screen.page and screen.process.poll() is not None:
            raise RuntimeError("Rerun's server has ended: start the viewer again")
    return 0
