"""Whatever order the analysis workers finish in, the session holds the same bytes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from latticewatch.client.frames import encode_frame, frame_array, parse_header
from latticewatch.fairness import FairWorkers
from latticewatch.pipeline import StreamPipeline
from latticewatch.receiving.deliveries import Arrival, End, Gap
from latticewatch.steps import Analysed
from latticewatch.storage.session import Session
from latticewatch.tracker import TrackerSettings
from latticewatch.writer import StreamWriter
from latticewatch_models.crystal import crystal_named

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from simulated_detections import Scene, simulate  # noqa: E402

FRAMES = 40
#: Frames that never come.
LOST = range(17, 19)
STREAM = "s"


class Conductor:
    """Lets workers finish one at a time, in an order that a seed draws.

    A worker waits until every worker that has a frame waits too; then one of them is drawn.
    """

    def __init__(self, workers: int, count: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._workers, self._left = workers, count
        self._waiting: list[int] = []
        self._change = threading.Condition()
        self.finished: list[int] = []

    def wait(self, frame: int) -> None:
        with self._change:
            self._waiting.append(frame)
            self._draw()
            assert self._change.wait_for(lambda: frame in self.finished, timeout=20)

    def _draw(self) -> None:
        while self._waiting and len(self._waiting) == min(self._workers, self._left):
            drawn = self._random.choice(sorted(self._waiting))
            self._waiting.remove(drawn)
            self._left -= 1
            self.finished.append(drawn)
            self._change.notify_all()


class Models:
    """Stands for the segmenters: the analysis of a frame is its known detections, when let go."""

    def __init__(self, detections, conductor):
        self._detections, self._conductor = detections, conductor

    def pick(self, frame):
        def analyser(_):
            self._conductor.wait(frame)
            return self._detections[frame]

        return analyser, None


@pytest.fixture(scope="module")
def shots():
    return list(islice(simulate(Scene(defects=60), 5), FRAMES))


def arrival(shot) -> Arrival:
    packed, buffer = encode_frame(
        np.arange(64 * 64, dtype=np.uint16).reshape(64, 64), stream=STREAM, epoch=1,
        seq=shot.info.frame, time_s=shot.info.time_s,
        pixel_size_nm=shot.info.pixel_size_nm, frame_time_s=shot.info.frame_time_s,
    )  # fmt: skip
    header, frame = parse_header(packed), shot.info.frame
    return Arrival(STREAM, frame, 1, frame, header, frame_array(header, buffer), 0.0)


def deliveries(shots):
    for shot in shots:
        if shot.info.frame == LOST.start:
            yield Gap(STREAM, LOST.start, 1, LOST.start, len(LOST))
        if shot.info.frame not in LOST:
            yield arrival(shot)
    yield End(STREAM, FRAMES, 1, FRAMES)


def writer(folder) -> StreamWriter:
    return StreamWriter(STREAM, folder, TrackerSettings(), crystal_named("WS2"), fsync="never")


def held(folder):
    with Session.open_read(folder) as session:
        statistics = session.statistics()
        return (
            session.state(), statistics, session.defects().to_rows(), session.tracks(),
            session.events(), session.frames(),
        )  # fmt: skip


async def flow(folder, shots, workers, conductor) -> None:
    """Send everything through a pipeline, and wait until all of it is committed."""
    ended = asyncio.Event()

    async def settled(outcome):
        if isinstance(outcome.step, End):
            ended.set()

    models = Models([shot.detections for shot in shots], conductor)
    pool = FairWorkers(workers, "test")
    with contextlib.closing(pool):
        pipeline = StreamPipeline(writer(folder), models, pool, settled, 64)
        running = asyncio.create_task(pipeline.run())
        for delivery in deliveries(shots):
            pipeline.put(delivery)
        try:
            await asyncio.wait_for(ended.wait(), 60)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            pipeline.close()


@pytest.fixture(scope="module")
def one_by_one(shots, tmp_path_factory):
    """What the writer makes of the frames when each is committed before the next is analysed."""
    folder = tmp_path_factory.mktemp("one")
    alone = writer(folder)
    for delivery in deliveries(shots):
        step = delivery
        if isinstance(delivery, Arrival):
            step = Analysed(delivery, shots[delivery.frame].detections)
        alone.process([step])
    alone.close()
    return held(folder)


@pytest.mark.parametrize(("workers", "seed"), [(1, 0), (2, 1), (2, 2), (8, 3), (8, 4)])
def test_workers_that_finish_in_any_order_leave_the_same_bytes(
    shots, one_by_one, tmp_path, workers, seed
):
    count = FRAMES - len(LOST)
    conductor = Conductor(workers, count, seed)
    asyncio.run(flow(tmp_path, shots, workers, conductor))
    assert len(conductor.finished) == count
    overtaken = conductor.finished != sorted(conductor.finished)
    assert overtaken == (workers > 1), f"seed {seed}"
    ours = held(tmp_path)
    assert ours[1]["frames"] == count
    assert ours[1]["missing"] == len(LOST)
    assert len(ours[3]) > 20
    assert ours[0] == one_by_one[0], f"seed {seed}"
    assert ours[1:] == one_by_one[1:], f"seed {seed}"
