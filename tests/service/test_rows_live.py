"""A service through its sockets: frames in rows leave the session that whole frames leave."""

from __future__ import annotations

import asyncio
import queue
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from latticewatch.client import Defects, Overlay, PartialOverlay, Publisher, Statistics, Subscriber
from latticewatch.config import load_settings
from latticewatch.processes import until_subscribed
from latticewatch.service import Service
from latticewatch.storage.session import Session
from latticewatch_models.microscope import Microscope

WAIT_S = 60.0
ANY = "tcp://127.0.0.1:*"
FRAMES, SIDE, SEED = 6, 192, 3


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [frame.image for frame in Microscope("WS2", (SIDE, SIDE), SEED).frames(FRAMES)]


def send_whole(publisher, number, image):
    publisher.send(image, **fields(number))


def send_rows(publisher, number, image):
    """Blocks of drawn heights, every third frame from the bottom up and one block twice."""
    rng = np.random.default_rng([SEED, number])
    cuts = [0, *np.sort(rng.choice(np.arange(1, SIDE), 5, replace=False)).tolist(), SIDE]
    spans = list(pairwise(cuts))
    spans = [*spans[:2], *spans[1:]]
    with publisher.frame(image.shape, image.dtype, **fields(number)) as frame:
        for start, stop in reversed(spans) if number % 3 == 2 else spans:
            frame.rows(image[start:stop], at=start)


def fields(number):
    return {"time_s": 2.0 * number, "pixel_size_nm": 0.03, "frame_time_s": 2.0}


async def session(folder: Path, images, send):
    """Serve, send everything, and give what a subscriber heard and the port counted."""
    ports = {"frames": ANY, "results": ANY, "queries": ANY, "metrics": ""}
    service = Service(load_settings(endpoints=ports, store={"data": folder, "fsync": "never"}))
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(service.run(stop, ready.set_result))
    try:
        await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
        heard = await asyncio.to_thread(talk, ready.result(), images, send)
        return heard, service.metrics.ingest
    finally:
        stop.set()
        await task


def talk(listening, images, send) -> list:
    heard = []
    topics = ("partial", "overlay", "defects", "statistics", "health")
    with (
        Subscriber(listening.results, "a", topics, overlays="every") as results,
        Publisher(listening.frames, "a", epoch=1) as publisher,
    ):
        until_subscribed(results, WAIT_S)
        for number, image in enumerate(images):
            send(publisher, number, image)
            assert publisher.flush(WAIT_S)  # rows go ahead of their frame while nothing waits
        publisher.end()
        while True:
            message = results.receive(WAIT_S)
            heard.append(message)
            if isinstance(message, Statistics) and message.data["ended"]:
                assert publisher.flush(WAIT_S)
                assert not publisher.errors
                return heard


def held(folder: Path):
    with Session.open_read(folder / "a") as kept:
        return (
            kept.state(), kept.statistics(), kept.defects().to_rows(), kept.tracks(),
            kept.events(), kept.frames(),
        )  # fmt: skip


def test_rows_or_whole_frames_leave_the_same_bytes(images, tmp_path):
    whole, _ = asyncio.run(session(tmp_path / "whole", images, send_whole))
    in_rows, counted = asyncio.run(session(tmp_path / "rows", images, send_rows))
    assert counted.blocks["a"] >= 7 * (FRAMES - 1)  # before the first it may not be connected
    assert counted.received["a"] == FRAMES
    ours, theirs = held(tmp_path / "rows"), held(tmp_path / "whole")
    assert theirs[1]["frames"] == FRAMES
    assert len(theirs[2]) > 50
    assert ours[0] == theirs[0], f"seed {SEED}"
    assert ours[1:] == theirs[1:], f"seed {SEED}"
    assert not any(isinstance(message, PartialOverlay) for message in whole)
    for kind in (Overlay, Defects):
        assert [m.frame for m in in_rows if isinstance(m, kind)] == list(range(FRAMES))


def test_rows_are_told_after_the_frame_before_and_before_their_own(images, tmp_path, monkeypatch):
    """A scan that waits in the middle until its rows have been told of."""
    arrived: queue.Queue[PartialOverlay] = queue.Queue()
    publish = Service._publish_partial

    async def noted(service, overlay):
        await publish(service, overlay)
        arrived.put(overlay)

    def send(publisher, number, image):
        if number == 0:  # rows go ahead once the publisher is connected: with the first answer
            send_whole(publisher, number, image)
            return
        with publisher.frame(image.shape, image.dtype, **fields(number)) as frame:
            frame.rows(image[: SIDE // 2])
            arrived.get(timeout=WAIT_S)
            frame.rows(image[SIDE // 2 :])

    monkeypatch.setattr(Service, "_publish_partial", noted)
    heard, _ = asyncio.run(session(tmp_path, images[:3], send))
    order = [(m.frame, m.kind) for m in heard if isinstance(m, Overlay | PartialOverlay)]
    rest = [(k, kind) for k in (1, 2) for kind in ("partial", "overlay")]
    assert order == [(0, "overlay"), *rest]
    for message in heard:
        if isinstance(message, PartialOverlay):
            assert (message.rows_done, message.frame_shape) == (SIDE // 2, (SIDE, SIDE))
            assert message.image.shape == (SIDE // 2, SIDE)
            assert len(message.points) > 3
            assert message.points[:, 1].max() < SIDE // 2
