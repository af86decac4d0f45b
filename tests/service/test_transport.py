"""Publisher, ports, store and subscriber together, with the smallest of pipelines between them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from latticewatch.client import FrameError, Publisher, Subscriber
from latticewatch.client.messages import Statistics
from latticewatch.publishing import Publishing
from latticewatch.receiving.deliveries import End, Gap, Refusal
from latticewatch.receiving.ingest import Ingest
from latticewatch.results import FrameResult, SessionEnd, missing_frames, refused_frame
from latticewatch.storage.store import Store

WAIT_S = 20.0
DOCUMENT = Path(__file__).parents[2] / "docs" / "wire-format.md"


class Pipeline:
    """Commits each frame's mean as its statistics: what the real service does, in ten lines."""

    def __init__(self, folder, frames="tcp://127.0.0.1:*", results="tcp://127.0.0.1:*"):
        self.folder = folder
        self.queue = asyncio.Queue(4)
        self.ingest = Ingest(frames, self.queue.put, resume=self.resume)
        self.publishing = Publishing(results)
        self.stores = {}
        self.committed = 0
        self.dozen = asyncio.Event()

    async def resume(self, stream):
        self.stores[stream] = await asyncio.to_thread(Store.open, self.folder / stream)
        return self.stores[stream].position()

    async def handle(self, item):
        commit = self.stores[item.stream].commit
        if isinstance(item, End):
            await asyncio.to_thread(
                commit, [], b"", {}, SessionEnd(item.frame, item.epoch, item.seq)
            )
            await self.ingest.ended(item.stream, item.epoch, item.seq)
        elif isinstance(item, Gap):
            await asyncio.to_thread(commit, list(missing_frames(item)), b"", {})
        elif isinstance(item, Refusal):
            await asyncio.to_thread(commit, [refused_frame(item)], b"", {})
            await self.ingest.reject(item.stream, item.epoch, item.seq, item.error)
        else:
            await self.frame(item, commit)

    async def frame(self, item, commit):
        place = (item.frame, item.epoch, item.seq, item.header.time_s)
        if not np.isfinite(item.image).all():
            error = FrameError("frame", "holds NaN", "mend the detector's gain map")
            row = FrameResult(*place, status="rejected", reason=str(error))
            await asyncio.to_thread(commit, [row], b"", {})
            await self.ingest.reject(item.stream, item.epoch, item.seq, error)
            return
        data = {"mean": float(item.image.mean())}
        await asyncio.to_thread(commit, [FrameResult(*place)], b"", data)
        self.committed += 1
        if self.committed == 12:
            self.dozen.set()
        await self.publishing.publish(Statistics(stream=item.stream, frame=item.frame, data=data))
        await self.ingest.ack(item.stream, item.epoch, [item.seq])

    @contextlib.asynccontextmanager
    async def running(self):
        async with self.ingest, self.publishing:
            work = [self.ingest.run(), self.publishing.run(), self.work()]
            tasks = [asyncio.create_task(one) for one in work]
            try:
                yield self
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for store in self.stores.values():
                    store.close()

    async def work(self):
        while True:
            await self.handle(await self.queue.get())


def frame(value):
    return np.full((64, 64), value, np.float32)


def test_restarted_service_counts_every_frame_once(tmp_path):
    async def scene():
        pipeline = Pipeline(tmp_path)
        async with pipeline.running():
            endpoint = pipeline.ingest.endpoint
            publisher = Publisher(endpoint, "a")
            for k in range(40):
                publisher.send(frame(k))
            await pipeline.dozen.wait()  # stopped with frames in the queue and on the wire
        with publisher:
            again = Pipeline(tmp_path, endpoint)
            async with again.running():
                for k in range(40, 50):
                    publisher.send(frame(k))
                publisher.end()
                assert await asyncio.to_thread(publisher.flush, WAIT_S)
        stats = publisher.stats
        assert (stats.acked, stats.rejected, stats.pending) == (50, 0, 0)
        assert stats.resent > 0
        # the first stopped wherever it was; one frame may be committed and not yet counted
        assert again.committed + pipeline.committed in (49, 50)
        with Store.open(tmp_path / "a") as store:
            rows = store.frames()
            assert [(row["frame"], row["seq"], row["status"]) for row in rows] == [
                (k, k, "ok") for k in range(50)
            ]
            assert store.position().ended

    asyncio.run(scene())


def test_a_gap_a_bad_frame_and_a_second_run_are_all_recorded(tmp_path):
    async def scene():
        pipeline = Pipeline(tmp_path)
        async with pipeline.running():
            with Publisher(pipeline.ingest.endpoint, "a") as first:
                first.send(frame(0))
                first.send(frame(np.nan))
                first.send(frame(3), seq=3)
                first.end()
                assert await asyncio.to_thread(first.flush, WAIT_S)
                assert (first.stats.acked, first.stats.rejected) == (2, 1)
                assert first.errors[0].reason == "holds NaN"
            with Publisher(pipeline.ingest.endpoint, "a") as second:
                second.send(frame(4))
                second.end()
                assert await asyncio.to_thread(second.flush, WAIT_S)
        with Store.open(tmp_path / "a") as store:
            rows = [(row["frame"], row["seq"], row["status"]) for row in store.frames()]
        assert rows == [
            (0, 0, "ok"), (1, 1, "rejected"), (2, 2, "missing"), (3, 3, "ok"), (4, 0, "ok"),
        ]  # fmt: skip

    asyncio.run(scene())


def test_two_subscribers_see_every_update_once_and_in_order(tmp_path):
    async def scene():
        pipeline = Pipeline(tmp_path)
        async with pipeline.running():
            with contextlib.ExitStack() as stack:
                endpoint = pipeline.publishing.endpoint
                publisher = stack.enter_context(Publisher(pipeline.ingest.endpoint, "a"))
                publisher.send(frame(0))
                early = stack.enter_context(Subscriber(endpoint, "a", ("statistics",)))
                told = [await asyncio.to_thread(early.receive, WAIT_S)]
                for k in range(1, 30):
                    publisher.send(frame(k))
                while told[-1].frame < 29:
                    told.append(await asyncio.to_thread(early.receive, WAIT_S))
                assert [(m.frame, m.missed) for m in told] == [(k, 0) for k in range(30)]
                late = stack.enter_context(Subscriber(endpoint, "a", ("statistics",)))
                last = await asyncio.to_thread(late.receive, WAIT_S)
                assert (last.frame, last.data) == (29, told[-1].data)
                assert await asyncio.to_thread(publisher.flush, WAIT_S)

    asyncio.run(scene())


def example(number):
    return re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)[
        number
    ]


def test_documented_peers_work(tmp_path):
    """The foreign sender and subscriber of docs/wire-format.md, run as they stand."""

    def start(code, default, endpoint):
        assert default in code
        return subprocess.Popen(
            [sys.executable, "-c", code.replace(default, endpoint)],
            stdout=subprocess.PIPE,
            text=True,
        )

    async def scene():
        pipeline = Pipeline(tmp_path)
        async with pipeline.running():
            sender = start(example(0), "tcp://127.0.0.1:7701", pipeline.ingest.endpoint)
            sent, _ = await asyncio.to_thread(sender.communicate, timeout=WAIT_S)
            subscriber = start(example(1), "tcp://127.0.0.1:7702", pipeline.publishing.endpoint)
            got, _ = await asyncio.to_thread(subscriber.communicate, timeout=WAIT_S)
        assert re.findall(r"'type': '(\w+)'", sent) == ["ack"] * 3
        assert got.startswith("statistics/foreign 3 2 {'mean':")

    asyncio.run(scene())
