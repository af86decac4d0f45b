"""Strips beside complete frames: never instead of them, never out of order."""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np

from latticewatch.client.frames import FrameHeader
from latticewatch.client.overlays import PartialOverlay
from latticewatch.partials import BUSY, FAILED, LATE, PUBLISHED, SHORT, Partials
from latticewatch.receiving.deliveries import Part
from latticewatch.strip_reader import Told

WAIT_S = 20.0
SHAPE = (512, 64)
HEADER = FrameHeader("a", 1, 0, SHAPE, "uint8", 0.0)


def part(frame: int, rows_done: int, image: np.ndarray) -> Part:
    return Part("a", frame, 1, frame, HEADER, image, rows_done)


def new_image() -> np.ndarray:
    return np.zeros(SHAPE, np.uint8)


class Scene:
    """Partials with an analysis that finds nothing, and what came of it."""

    def __init__(self) -> None:
        self.fails = False
        self.now = 0.0
        self.published = asyncio.Queue()
        self.outcomes = asyncio.Queue()
        self.partials = Partials(
            self.published.put, lambda _, what: self.outcomes.put_nowait(what), lambda: self.now
        )
        for stream in ("a", "b"):
            self.partials.open(stream, lambda: self.read)
        self.read_rows = []
        self.meanwhile = lambda: None

    def read(self, part, strip, progress):
        self.read_rows.append((part.frame, strip.bottom))
        self.meanwhile()
        progress = progress.after(strip, np.empty((0, 2)), (), 10.0)
        overlay = PartialOverlay(
            stream="a", epoch=1, frame=part.frame, image=np.zeros((strip.bottom, 64), np.uint8),
            frame_shape=SHAPE, rows_done=strip.bottom,
        )  # fmt: skip
        return Told(progress, None if self.fails else overlay)

    async def next(self, queue):
        return await asyncio.wait_for(queue.get(), WAIT_S)

    async def told(self):
        overlay = await self.next(self.published)
        return overlay.frame, overlay.rows_done


@contextlib.asynccontextmanager
async def running():
    scene = Scene()
    task = asyncio.ensure_future(scene.partials.run())
    try:
        yield scene
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        scene.partials.close()


def run(test):
    def wrapped():
        asyncio.run(test())

    wrapped.__name__ = test.__name__
    return wrapped


@run
async def test_rows_are_told_as_they_come():
    async with running() as scene:
        image = new_image()
        for rows in (100, 200, 300):
            scene.partials.grow(part(0, rows, image))
            assert await scene.told() == (0, rows)
            assert await scene.next(scene.outcomes) == PUBLISHED


@run
async def test_rows_that_come_during_a_strip_are_all_in_the_next():
    async with running() as scene:
        image = new_image()
        loop = asyncio.get_running_loop()

        def more():
            scene.meanwhile = lambda: None
            for rows in (180, 260, 340):
                loop.call_soon_threadsafe(scene.partials.grow, part(0, rows, image))

        scene.meanwhile = more
        scene.partials.grow(part(0, 100, image))
        assert [await scene.told() for _ in range(2)] == [(0, 100), (0, 340)]
        assert scene.read_rows == [(0, 100), (0, 340)]


@run
async def test_no_strip_is_begun_while_a_complete_frame_of_any_stream_is_in_hand():
    async with running() as scene:
        scene.partials.delivered("a", 0)
        scene.partials.delivered("b", 7)
        scene.partials.grow(part(1, 100, new_image()))
        assert await scene.next(scene.outcomes) == BUSY
        scene.partials.settled("a")
        assert await scene.next(scene.outcomes) == BUSY
        assert scene.read_rows == []
        scene.partials.settled("b")
        assert await scene.told() == (1, 100)


@run
async def test_a_complete_frame_makes_an_end_of_its_rows():
    async with running() as scene:
        scene.partials.delivered("a", 0)
        scene.partials.grow(part(1, 100, new_image()))
        assert await scene.next(scene.outcomes) == BUSY
        scene.partials.delivered("a", 1)
        scene.partials.settled("a")
        scene.partials.settled("a")
        scene.partials.grow(part(2, 100, new_image()))
        assert await scene.told() == (2, 100)
        assert scene.read_rows == [(2, 100)]


@run
async def test_a_strip_whose_frame_is_complete_by_then_is_not_told():
    async with running() as scene:
        loop = asyncio.get_running_loop()
        scene.meanwhile = lambda: loop.call_soon_threadsafe(scene.partials.delivered, "a", 1)
        scene.partials.grow(part(1, 100, new_image()))
        assert await scene.next(scene.outcomes) == LATE
        assert scene.published.empty()


@run
async def test_a_frame_that_comes_late_goes_before_the_rows_of_the_next():
    async with running() as scene:
        loop = asyncio.get_running_loop()
        scene.meanwhile = lambda: loop.call_soon_threadsafe(scene.partials.delivered, "a", 0)
        scene.partials.grow(part(1, 100, new_image()))
        assert await scene.next(scene.outcomes) == LATE
        assert scene.published.empty()
        scene.meanwhile = lambda: None
        scene.partials.settled("a")
        scene.partials.grow(part(1, 200, scene.partials._streams["a"].part.image))
        assert await scene.told() == (1, 200)


@run
async def test_a_strip_that_would_outlast_its_frame_is_not_begun():
    async with running() as scene:
        image = new_image()

        def takes_long():
            scene.now += 0.5

        scene.meanwhile = takes_long
        scene.partials.grow(part(0, 100, image))
        assert await scene.told() == (0, 100)
        assert await scene.next(scene.outcomes) == PUBLISHED
        scene.now = 1.0  # a hundred rows a second: 312 are yet to come
        scene.partials.grow(part(0, 200, image))
        assert await scene.told() == (0, 200)
        assert await scene.next(scene.outcomes) == PUBLISHED
        scene.now = 1.6  # 187 rows a second: 0.9 s are left
        scene.partials.grow(part(0, 400, image))
        assert await scene.told() == (0, 400)
        assert await scene.next(scene.outcomes) == PUBLISHED
        faster = new_image()
        scene.now = 10.0
        scene.partials.grow(part(1, 50, faster))
        scene.now = 10.1  # two thousand rows a second
        scene.partials.grow(part(1, 250, faster))
        assert await scene.next(scene.outcomes) == SHORT
        assert len(scene.read_rows) == 3


@run
async def test_one_strip_that_took_long_does_not_keep_all_others_from_being_tried():
    async with running() as scene:

        def takes_long():
            scene.now += 2.0

        scene.meanwhile = takes_long
        scene.partials.grow(part(0, 100, new_image()))
        await scene.told()
        await scene.next(scene.outcomes)
        scene.meanwhile = lambda: None
        for frame in range(1, 30):
            image = new_image()
            scene.partials.grow(part(frame, 50, image))
            scene.now += 0.2
            scene.partials.grow(part(frame, 150, image))
            if await scene.next(scene.outcomes) == PUBLISHED:
                break
        assert 1 < frame < 29


@run
async def test_a_scan_begun_anew_is_looked_at_from_its_first_row():
    async with running() as scene:
        scene.partials.grow(part(0, 300, new_image()))
        assert await scene.told() == (0, 300)
        scene.partials.grow(part(0, 100, new_image()))
        assert await scene.told() == (0, 100)


@run
async def test_a_failed_strip_is_counted_and_tells_nothing():
    async with running() as scene:
        scene.fails = True
        scene.partials.grow(part(0, 100, new_image()))
        assert await scene.next(scene.outcomes) == FAILED
        assert scene.published.empty()
