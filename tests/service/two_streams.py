"""Two streams of frames that are not the same through one service, and what their sessions hold."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from latticewatch.client import Publisher
from latticewatch.service import Service
from latticewatch.storage.session import Session
from latticewatch_models.microscope import Microscope

WAIT_S = 60.0
ANY = "tcp://127.0.0.1:*"
STREAMS = "ab"


def serve(service: Service, side: int, frames: int, seed: int) -> None:
    """Send so many simulated frames of WS2 in each stream, the second's of the next seed."""
    asyncio.run(_serve(service, side, frames, seed))


async def _serve(service: Service, *scene: int) -> None:
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(service.run(stop, ready.set_result))
    try:
        await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
        at = ready.result().frames
        sent = (asyncio.to_thread(_send, at, k, *scene) for k in range(len(STREAMS)))
        await asyncio.gather(*sent)
    finally:
        stop.set()
        await task


def _send(endpoint: str, number: int, side: int, frames: int, seed: int) -> None:
    with Publisher(endpoint, STREAMS[number], epoch=1) as publisher:
        for k, frame in enumerate(Microscope("WS2", (side, side), seed + number).frames(frames)):
            publisher.send(frame.image, time_s=float(k))
        publisher.end()
        assert publisher.flush(WAIT_S)
        assert not publisher.errors


def assert_same_defects(one: Path, other: Path) -> None:
    """Hold what was found in each stream by one service against the same by another."""
    for stream in STREAMS:
        tables = []
        for folder in (one, other):
            with Session.open_read(folder / stream) as session:
                tables.append(session.defects())
        ours, theirs = tables
        assert len(ours) == len(theirs) > 10
        for name in ("x_px", "y_px", "probability"):
            found, expected = getattr(ours, name), getattr(theirs, name)
            np.testing.assert_allclose(found, expected, 1e-5, 1e-5, err_msg=name)
