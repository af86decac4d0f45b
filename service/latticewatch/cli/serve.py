"""Take frames in, publish defects and statistics; runs until it is interrupted.

For example::

  latticewatch serve --data sessions
  latticewatch serve --data sessions --self-train
  latticewatch serve --data sessions --alert 'hole_fraction > 0.05' --alert 'dose > 1e6'
  latticewatch serve --data sessions --keys keys --frames tcp://0.0.0.0:7701
  latticewatch serve --config /etc/latticewatch.toml
  latticewatch serve --print-config > latticewatch.toml
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from latticewatch.config import default_toml, load_settings
from latticewatch.service import Listening, Service

PORTS = ("frames", "results", "queries", "metrics")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; each overrides the settings file."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings, TOML")
    parser.add_argument("--print-config", action="store_true", help="print the defaults and end")
    parser.add_argument("--data", metavar="DIR", help="each stream is kept in DIR/<stream>/")
    parser.add_argument("--crystal", help="WS2, MoS2, WSe2, graphene")
    parser.add_argument("--model", metavar="FILE", help="another segmenter (ONNX)")
    parser.add_argument(
        "--device", help="auto, cpu, cuda:N or cuda:0,cuda:1 ('latticewatch doctor' tells)"
    )
    parser.add_argument("--workers", type=int, help="frames analysed at once, on each device")
    parser.add_argument("--threads", type=int, help="threads of the segmenter within one frame")
    parser.add_argument(
        "--self-train",
        action="store_true",
        default=None,
        help="train on the newest frames when segmenter and labels disagree for long",
    )
    parser.add_argument(
        "--alert",
        action="append",
        metavar="RULE",
        help="publish an alert when the rule comes true; may be given again (docs/alerts.md)",
    )
    parser.add_argument(
        "--keys", metavar="DIR", help="every port asks for keys of this folder (docs/security.md)"
    )
    for name in PORTS:
        parser.add_argument(f"--{name}", metavar="ADDRESS", help=f"where {name} are served")


def run(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    if options.print_config:
        print(default_toml())
        return 0
    settings = load_settings(
        options.config,
        endpoints={
            key: getattr(options, key) for key in ("frames", "results", "queries", "metrics")
        },
        store={"data": options.data},
        security={"keys": options.keys},
        analysis={
            key: getattr(options, key)
            for key in ("crystal", "model", "device", "workers", "threads")
        },
        calibration={"self_train": options.self_train},
        alerts={"rules": options.alert},
    )
    asyncio.run(_serve(Service(settings)))
    return 0


async def _serve(service: Service) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows: SIGINT raises KeyboardInterrupt instead
            break
    await service.run(stop, _announce)


def _announce(listening: Listening) -> None:
    """One line that a person reads and the demo parses."""
    parts = " ".join(f"{name}={address}" for name, address in vars(listening).items())
    print(f"latticewatch serve: {parts}", flush=True)
