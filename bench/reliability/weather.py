"""Bad connections between source, service and subscriber: complete, correct results after them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np

from latticewatch.client import Defects, Subscriber
from reliability import watcher
from reliability.hosted import alone, heard, hosted, send_movie
from reliability.kills import check_seen
from reliability.movie import STREAM, make_movie
from reliability.outcome import Outcome
from reliability.proxy import Proxy, Weather

#: 200 ms there and 200 ms back, and a packet in twenty lost: TCP sends it again after 200 ms.
FAR_AWAY = Weather(delay_s=0.2, stall_share=0.05, stall_s=0.2)

#: A tenth of what the frames ask for at full speed.
NARROW = Weather(delay_s=0.2, bytes_per_s=100_000.0)

#: Longest of a frame's message: a cut after less falls into the first one that follows, or between.
MESSAGE_BYTES = 20_000

#: ZeroMQ's heartbeats find a dead connection after 6 s: this one shorter, that one longer.
SHORT_SILENCE_S, LONG_SILENCE_S = 0.5, 20.0


@dataclass(frozen=True)
class Front:
    """How much weather: frames of the movie, cuts, seconds of refusal and of silence."""

    frames: int
    cuts: int
    outage_s: float
    silence_s: float


SHORT = Front(frames=48, cuts=2, outage_s=3.0, silence_s=SHORT_SILENCE_S)
LONG = Front(frames=300, cuts=20, outage_s=60.0, silence_s=LONG_SILENCE_S)


@dataclass(frozen=True)
class Report:
    """What came through, and what the connections went through for it."""

    outcome: Outcome
    cuts: int
    resent: int


async def stormy(movie: Path, folder: Path, front: Front, seed: int) -> Report:
    """Let the movie through bad weather, a subscriber behind as bad weather beside it."""
    rng, images = Random(seed), np.load(movie)  # noqa: S311 - no secrets
    folder.mkdir()  # noqa: ASYNC240 - nothing runs yet
    seen = folder / "seen.txt"
    async with contextlib.AsyncExitStack() as stack:
        _, listening = await stack.enter_async_context(hosted(folder))
        up = await stack.enter_async_context(Proxy(listening.frames, rng))
        down = await stack.enter_async_context(Proxy(listening.results, rng))
        near = stack.enter_context(Subscriber(listening.results, STREAM, ("defects",)))
        up.weather = down.weather = FAR_AWAY
        watching = asyncio.ensure_future(
            asyncio.to_thread(watcher.main, down.endpoint, listening.queries, str(seen))
        )
        sending = asyncio.ensure_future(
            asyncio.to_thread(send_movie, images, up.endpoint, ack_timeout_s=10.0)
        )
        storm = _storm(near, up, down, front, rng)
        publisher, *_ = await asyncio.gather(sending, watching, storm)
    check_seen(seen, folder / STREAM)
    return Report(Outcome.of(folder / STREAM), up.cuts, publisher.stats.resent)


async def _storm(near: Subscriber, up: Proxy, down: Proxy, front: Front, rng: Random) -> None:
    """Cut after cut, then a narrow line, connections refused, and silence, as the frames go by."""
    steps = front.cuts + 3
    due = iter(range(0, front.frames, max(1, front.frames // (steps + 1))))
    for _ in range(front.cuts):
        await heard(near, Defects, next(due))
        up.cut_after(rng.randrange(1, MESSAGE_BYTES))
        await up.was_cut.wait()
        down.cut_after(0)
    await heard(near, Defects, next(due))
    up.weather = NARROW
    await heard(near, Defects, next(due))
    up.weather = FAR_AWAY
    await asyncio.gather(up.outage(front.outage_s), down.outage(front.outage_s))
    await heard(near, Defects, next(due))
    await asyncio.gather(up.silence(front.silence_s), down.silence(front.silence_s))


def main(long: bool) -> bool:
    """Print a line; whether all came through."""
    front = LONG if long else SHORT
    with TemporaryDirectory() as name:
        movie = make_movie(Path(name) / "movie.npy", front.frames)
        peace = alone(movie, Path(name) / "peace")
        report = asyncio.run(stormy(movie, Path(name) / "storm", front, seed=0))
    differ = peace.differences(report.outcome)
    print(
        f"{front}: {report.cuts} times cut, {report.resent} frames sent again: "
        + ("FAIL: " + ", ".join(differ) if differ else "PASS, byte for byte")
    )
    return not differ
