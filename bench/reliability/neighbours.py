"""Two microscopes on one service: what a bad one does is nothing to the other."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from latticewatch.client import Defects, Publisher, Subscriber
from latticewatch.processes import until_subscribed
from latticewatch.service import Service
from reliability.hosted import PATIENCE_S, hosted, wait_for_all
from reliability.mischief import KINDS, Mischief
from reliability.movie import EPOCH, STREAM, fields_of, make_movie
from reliability.outcome import Outcome

LONG_FRAMES, SHORT_FRAMES = 2_000, 60

#: Who else is there: nobody, those that only do wrong, one that sends good frames without end.
COMPANY = {"alone": (), "bad": ("garbage", "misshapen", "unusable"), "flood": ("flood",)}


@dataclass(frozen=True)
class Report:
    """The good stream's results and latencies, and what the bad one has sent and been told."""

    outcome: Outcome
    latency_ms: np.ndarray
    sent: dict[str, int]
    answers: int
    rejected: int


def one_by_one(images: np.ndarray, frames: str, results: str) -> np.ndarray:
    """Send a frame when the one before is published, as a microscope with time does.

    Returns milliseconds from sending to publishing, by frame.
    """
    latency = np.empty(len(images))
    with (
        Subscriber(results, STREAM, ("defects", "health")) as heard,
        Publisher(frames, STREAM, EPOCH) as publisher,
    ):
        until_subscribed(heard, PATIENCE_S)
        for number, image in enumerate(images):
            publisher.send(image, **fields_of(number))
            message = heard.receive(PATIENCE_S)
            while not (isinstance(message, Defects) and message.frame == number):
                message = heard.receive(PATIENCE_S)
            latency[number] = 1000 * (message.published_s - message.sent_s)
        publisher.end()
        wait_for_all(publisher)
    return latency


def beside(
    movie: Path, folder: Path, seed: int | None, kinds: tuple[str, ...] = tuple(KINDS)
) -> Report:
    """Let the movie through beside bad streams, or alone where there is no seed for them."""
    images = np.load(movie)

    async def scene() -> tuple[np.ndarray, Mischief | None, Service]:
        async with hosted(folder) as (service, at):
            if seed is None:
                told = await asyncio.to_thread(one_by_one, images, at.frames, at.results)
                return told, None, service
            mischief = Mischief(at.frames, seed, kinds)
            await asyncio.to_thread(mischief.__enter__)
            try:
                told = await asyncio.to_thread(one_by_one, images, at.frames, at.results)
            finally:
                await asyncio.to_thread(mischief.__exit__)
            return told, mischief, service

    latency, mischief, service = asyncio.run(scene())
    return Report(
        Outcome.of(folder / STREAM),
        latency,
        {} if mischief is None else dict(mischief.sent),
        0 if mischief is None else mischief.answers,
        sum(service.metrics.ingest.rejected.values()),
    )


def main(long: bool) -> bool:
    """Print what the good stream was like alone and beside the bad one; whether it is the same."""
    count = LONG_FRAMES if long else SHORT_FRAMES
    with TemporaryDirectory() as name:
        movie = make_movie(Path(name) / "movie.npy", count)
        reports = {}
        for title, kinds in COMPANY.items():
            started = time.monotonic()
            seed = 1 if kinds else None
            report = reports[title] = beside(movie, Path(name) / title, seed, kinds)
            p50, p99 = np.percentile(report.latency_ms, (50, 99))
            print(
                f"{title}: {count} frames in {time.monotonic() - started:.0f} s, latency p50 "
                f"{p50:.0f} ms, p99 {p99:.0f} ms; bad messages {report.sent}, {report.answers} "
                f"answered, {report.rejected} rejected on arrival"
            )
    alone = reports["alone"].outcome
    differ = sorted({name for r in reports.values() for name in alone.differences(r.outcome)})
    print("FAIL: " + ", ".join(differ) if differ else "PASS, byte for byte")
    return not differ
