"""Threads that streams share: none waits behind another's queue, and no device for another."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

import pytest
from gpus import Gpus
from hypothesis import given, settings
from hypothesis import strategies as st

from latticewatch.analysis import Analyser
from latticewatch.client.frames import encode_frame, frame_array, parse_header
from latticewatch.config import load_settings
from latticewatch.devices.lanes import Lanes
from latticewatch.devices.seats import Seat
from latticewatch.fairness import AHEAD, DeviceWorkers, FairWorkers
from latticewatch.pipeline import StreamPipeline
from latticewatch.receiving.deliveries import Arrival
from latticewatch.tracker import TrackerSettings
from latticewatch.writer import StreamWriter
from latticewatch_models.crystal import CRYSTALS, crystal_named
from latticewatch_models.microscope import Microscope

WAIT_S = 30.0


class Order:
    """Which streams' jobs were begun, in order."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.gate = threading.Event()

    def job(self, stream: str) -> None:
        assert self.gate.wait(WAIT_S)
        self.begun.append(stream)  # one thread: jobs are begun as they end


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=1))
@settings(max_examples=30, deadline=None)
def test_waiting_streams_take_turns_however_much_each_has(jobs):
    order = Order()

    async def run() -> None:
        with contextlib.closing(FairWorkers(1, "test")) as workers:
            waiting = [
                workers.submit(stream, order.job, stream)
                for stream, count in jobs.items()
                for _ in range(count)
            ]
            order.gate.set()
            await asyncio.wait_for(asyncio.gather(*waiting), WAIT_S)

    asyncio.run(run())
    begun, head_start = order.begun, 1 + AHEAD  # what the pool takes while nobody else is there
    for k in range(1, len(begun) + 1):
        had = {stream: begun[:k].count(stream) for stream in jobs}
        for stream, count in jobs.items():
            if had[stream] < count:
                assert max(had.values()) <= had[stream] + 1 + head_start, begun


def test_a_device_that_hangs_holds_up_no_other():
    devices = {"a": "cuda:0", "b": "cuda:1"}
    hanging = threading.Event()

    async def run() -> list[str]:
        workers = DeviceWorkers(1, "test", devices.__getitem__)
        with contextlib.closing(workers):
            stuck = [workers.submit("a", hanging.wait, WAIT_S) for _ in range(4)]
            done = [await asyncio.wait_for(workers.submit("b", str, k), WAIT_S) for k in range(4)]
            devices["a"] = "cuda:1"  # its device is lost: what comes now goes elsewhere
            done.append(await asyncio.wait_for(workers.submit("a", str, "moved"), WAIT_S))
            assert not any(one.done() for one in stuck)
            hanging.set()
            await asyncio.gather(*stuck)
        return done

    assert asyncio.run(run()) == ["0", "1", "2", "3", "moved"]


class Models:
    """Analyses on a stream's device, and notes whose turn it was."""

    def __init__(self, seat: Seat, analyser: Analyser, stream: str, order: Order) -> None:
        self._analysis, self._stream, self._order = seat.later(analyser), stream, order

    def pick(self, frame: int):
        def analysis(image):
            self._order.job(self._stream)
            return self._analysis(image)

        return analysis, None


def arrival(stream: str, number: int, image) -> Arrival:
    packed, buffer = encode_frame(image, stream=stream, epoch=1, seq=number, time_s=float(number))
    header = parse_header(packed)
    return Arrival(stream, number, 1, number, header, frame_array(header, buffer), 0.0)


@pytest.mark.parametrize("devices", ["cuda:0", "cuda:0,cuda:1"])
def test_a_stream_with_a_backlog_does_not_starve_one_on_the_same_gpu(
    device_double, tmp_path: Path, devices
):
    """Three streams, so that two share a device when there are two."""
    backlog, image = 8, next(Microscope("WS2", (128, 128), seed=4).frames(1)).image
    shared = Lanes(load_settings(analysis={"device": devices}), None, Gpus().machine)
    analyser = Analyser(shared.model.segmenter, crystal=CRYSTALS["WS2"])
    counts = {"busy": backlog, "other": 1, "calm": 2}
    orders = {name: Order() for name in ("cuda:0", "cuda:1")}
    settled: list[str] = []

    async def run() -> None:
        over = asyncio.Event()

        async def note(outcome) -> None:
            settled.append(outcome.stream)
            if len(settled) == sum(counts.values()):
                over.set()

        workers = DeviceWorkers(1, "test", shared.device_of)
        with contextlib.closing(workers):
            pipelines = {}
            for stream in counts:
                order = orders[shared.device_of(stream)]
                models = Models(Seat(shared, stream), analyser, stream, order)
                writer = StreamWriter(
                    stream, tmp_path / stream, TrackerSettings(), crystal_named("WS2"),
                    fsync="never",
                )  # fmt: skip
                pipelines[stream] = StreamPipeline(writer, models, workers, note, 64)
            running = [asyncio.create_task(pipeline.run()) for pipeline in pipelines.values()]
            for stream, count in counts.items():
                for number in range(count):
                    pipelines[stream].put(arrival(stream, number, image))
            for order in orders.values():
                order.gate.set()
            await asyncio.wait_for(over.wait(), WAIT_S)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for pipeline in pipelines.values():
                pipeline.close()

    asyncio.run(run())
    turns = [stream for stream in orders["cuda:0"].begun if stream != "other"]
    assert turns.count("busy") == backlog
    # both of the calm stream were begun when the backlog had been given its first frames and turns
    assert turns.index("calm") <= 1 + AHEAD + 1
    assert turns[::-1].index("calm") >= backlog - (1 + AHEAD + 2)
    assert {name: settled.count(name) for name in counts} == counts
