"""The service inside this process, and a movie sent to it; for what needs no process of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np

from latticewatch.client import Publisher, PublisherFullError, Subscriber
from latticewatch.client.messages import Message
from latticewatch.config import load_settings
from latticewatch.service import Listening, Service
from reliability.movie import EPOCH, STREAM, fields_of
from reliability.outcome import Outcome

ANY = "tcp://127.0.0.1:*"

#: Silence after which something must be wrong, seconds; longer than the longest outage.
PATIENCE_S = 120.0


@contextlib.asynccontextmanager
async def hosted(data: Path) -> AsyncIterator[tuple[Service, Listening]]:
    """Serve while inside."""
    endpoints = {"frames": ANY, "results": ANY, "queries": ANY, "metrics": ""}
    settings = load_settings(
        None,
        endpoints=endpoints,
        store={"data": data},
        analysis={"device": "cpu", "workers": 2},
    )
    service = Service(settings)
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(service.run(stop, ready.set_result))
    await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield service, ready.result()
    finally:
        stop.set()
        await task


def send_movie(images: np.ndarray, endpoint: str, **options: Any) -> Publisher:
    """Send it all and its end, and wait until the service has answered; gives the closed publisher.

    Raises
    ------
    AssertionError
        A frame was refused, or no answer came.
    """
    with Publisher(endpoint, STREAM, EPOCH, **options) as publisher:
        for number, image in enumerate(images):
            while True:
                try:
                    publisher.send(image, **fields_of(number))
                except PublisherFullError:
                    publisher.flush(1.0)
                else:
                    break
        publisher.end()
        wait_for_all(publisher)
    return publisher


def wait_for_all(publisher: Publisher) -> None:
    """Wait until all is answered; raises AssertionError on a refusal or a long silence."""
    left = -1
    while not publisher.flush(PATIENCE_S):
        if publisher.stats.pending == left:
            raise AssertionError(f"no answer in {PATIENCE_S:g} s: {publisher.stats}")
        left = publisher.stats.pending
    if publisher.errors:
        raise AssertionError(f"{publisher.stats}, {list(publisher.errors)}")


async def heard(results: Subscriber, kind: type[Message], frame: int) -> Message:
    """Wait for a message of a kind about a frame, or a later one."""
    while True:
        message = await asyncio.to_thread(results.receive, PATIENCE_S)
        if isinstance(message, kind) and message.frame >= frame:
            return message


def alone(movie: Path, folder: Path) -> Outcome:
    """Let the movie through with nobody else about."""

    async def scene() -> None:
        async with hosted(folder) as (_, listening):
            await asyncio.to_thread(send_movie, np.load(movie), listening.frames)

    asyncio.run(scene())
    return Outcome.of(folder / STREAM)
