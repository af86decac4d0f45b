"""Send a movie, or a simulated specimen, to a running service, frame by frame.

For example::

  latticewatch send movie.tif --to tcp://127.0.0.1:7701 --rate 2
  latticewatch send --simulate --frames 60 --seed 1 --stream demo
  latticewatch send --simulate --rate 0.5 --rows 32

With --rows every frame is handed over while it is acquired, so many rows at a time, paced over the
time of a frame.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latticewatch.cli import FAILURE, MisuseError
from latticewatch.client.errors import PublisherFullError
from latticewatch.client.publisher import Publisher
from latticewatch.client.replies import ErrorReply
from latticewatch.client.tally import PublisherStats

#: How long a full publisher is given before `send` tries again, seconds.
_ROOM_WAIT_S = 1.0


@dataclass(frozen=True)
class _Outgoing:
    image: np.ndarray
    fields: dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("movie", nargs="?", type=Path, help=".npy, TIFF or HDF5")
    parser.add_argument("--simulate", action="store_true", help="a simulated specimen instead")
    parser.add_argument("--to", default="tcp://127.0.0.1:7701", help="the service (%(default)s)")
    parser.add_argument("--stream", default="stem", help="name of the stream (%(default)s)")
    parser.add_argument("--frames", type=int, help="stop after so many (simulation: 60)")
    parser.add_argument("--rate", type=float, help="frames a second; default: as they are taken")
    parser.add_argument("--rows", type=int, metavar="N", help="hand frames over N rows at a time")
    parser.add_argument("--pixel-size", type=float, metavar="NM", help="overrides the file's")
    parser.add_argument("--frame-time", type=float, metavar="S", help="overrides the file's")
    parser.add_argument("--spool", type=Path, metavar="DIR", help="keep what waits on disk")
    parser.add_argument("--keys", type=Path, metavar="DIR", help="for a service that asks for keys")
    parser.add_argument("--timeout", type=float, default=60.0, help="wait for the last (s)")
    simulation = parser.add_argument_group("simulation")
    simulation.add_argument("--crystal", default="WS2", help="WS2, MoS2, WSe2, graphene")
    simulation.add_argument("--size", type=int, default=256, help="pixels a side (%(default)s)")
    simulation.add_argument("--seed", type=int, default=0, help="same seed, same movie")
    simulation.add_argument("--dose", type=float, help="electrons a pixel (1600)")
    simulation.add_argument("--truth", type=Path, metavar="FILE", help="write the truth as JSON")


def run(options: argparse.Namespace) -> int:
    """Send; returns 1 when a frame was refused or not acknowledged in time."""
    if options.simulate == (options.movie is not None):
        raise MisuseError("give either a movie or --simulate")
    if options.rate is not None and options.rate <= 0:
        raise MisuseError(f"--rate {options.rate} is no rate: give frames a second above 0")
    if options.rows is not None and options.rows < 1:
        raise MisuseError(f"--rows {options.rows}: give 1 or more")
    frames = _simulated(options) if options.simulate else _recorded(options)
    publisher = Publisher(
        options.to,
        options.stream,
        spool_dir=options.spool,
        on_error=_report_refusal,
        keys=options.keys,
    )
    try:
        _send_all(publisher, frames, options.rate, options.rows)
        publisher.end()
        publisher.flush(options.timeout)
        stats = publisher.stats
    finally:
        publisher.close()
    print(_summary(stats))
    return 0 if stats.pending == 0 and stats.rejected == 0 else FAILURE


def _send_all(
    publisher: Publisher, frames: Iterator[_Outgoing], rate: float | None, rows: int | None
) -> None:
    start = time.monotonic()
    for number, frame in enumerate(frames):
        if rate is not None:
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
        while True:
            try:
                if rows is None:
                    publisher.send(frame.image, **frame.fields)
                else:
                    _send_rows(publisher, frame, rows, 1 / rate if rate else None)
            except PublisherFullError:
                publisher.flush(_ROOM_WAIT_S)
            else:
                break
        _progress(f"sent {number + 1}")


def _send_rows(
    publisher: Publisher, outgoing: _Outgoing, rows: int, period_s: float | None
) -> None:
    """Hand a frame over as a microscope acquires it, in `period_s` or else its frame time."""
    image, fields = outgoing.image, outgoing.fields
    period_s = period_s or fields.get("frame_time_s") or 0.0
    begin, height = time.monotonic(), image.shape[0]
    with publisher.frame(image.shape, image.dtype, **fields) as frame:
        for top in range(0, height, rows):
            block = image[top : top + rows]
            acquired = begin + period_s * (top + len(block)) / height
            time.sleep(max(0.0, acquired - time.monotonic()))
            frame.rows(block)


def _recorded(options: argparse.Namespace) -> Iterator[_Outgoing]:
    from latticewatch.sources import open_movie

    movie = open_movie(options.movie)
    pixel_size = options.pixel_size or movie.pixel_size_nm
    frame_time = options.frame_time or movie.frame_time_s
    for number, image in enumerate(movie):
        if options.frames is not None and number >= options.frames:
            return
        yield _Outgoing(
            image,
            {
                "pixel_size_nm": pixel_size,
                "frame_time_s": frame_time,
                "time_s": number * (frame_time or 1.0),
            },
        )


def _simulated(options: argparse.Namespace) -> Iterator[_Outgoing]:
    from latticewatch.sources.simulated import TruthFile, simulated_microscope

    microscope = simulated_microscope(options.crystal, options.size, options.seed, options.dose)
    truth = TruthFile(options.truth) if options.truth else None
    try:
        for frame in microscope.frames(60 if options.frames is None else options.frames):
            if truth:
                truth.add(frame)
            yield _Outgoing(frame.image, {**frame.header, "time_s": frame.time_s})
    finally:
        if truth:
            truth.close()


def _report_refusal(error: ErrorReply) -> None:
    print(
        f"latticewatch: frame {error.seq} refused: {error.field}: {error.reason}; {error.mend}",
        file=sys.stderr,
    )


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text} ", end="", file=sys.stderr, flush=True)


def _summary(stats: PublisherStats) -> str:
    return (
        f"sent {stats.sent} frames: {stats.acked} acknowledged, {stats.rejected} refused, "
        f"{stats.pending} unanswered, {stats.resent} sent again, {stats.spooled} spooled"
    )
