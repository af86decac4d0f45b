"""A service whose streams share a GPU, a double: frames come together, results stay their own."""

from __future__ import annotations

import asyncio
from concurrent.futures import wait
from pathlib import Path

import numpy as np
from gpus import Gpus

from latticewatch.client import Publisher
from latticewatch.config import load_settings
from latticewatch.resident.recordings import AFTER, Recordings
from latticewatch.service import Service
from latticewatch.storage.session import Session
from latticewatch.together import Together
from latticewatch_models.microscope import Microscope

WAIT_S = 60.0
ANY = "tcp://127.0.0.1:*"
SIDE, FRAMES, STREAMS = 128, AFTER + 4, "ab"


def settings(folder: Path, together: bool):
    return load_settings(
        endpoints={"frames": ANY, "results": ANY, "queries": ANY, "metrics": ""},
        store={"data": folder, "fsync": "never"},
        analysis={"device": "cuda:0", "record": together, "workers": 2},
        segmenter={"max_batch": 2 if together else 1},
        # every frame that is checked goes without the others
        calibration={"every": 1000},
    )


def send(endpoint: str, seed: int, stream: str) -> None:
    with Publisher(endpoint, stream, epoch=1) as publisher:
        for k, frame in enumerate(Microscope("WS2", (SIDE, SIDE), 6 + seed).frames(FRAMES)):
            publisher.send(frame.image, time_s=float(k))
        publisher.end()
        assert publisher.flush(WAIT_S)
        assert not publisher.errors


async def serve(folder: Path, together: bool) -> Gpus:
    gpus = Gpus(1)
    service = Service(settings(folder, together), machine=gpus.machine)
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(service.run(stop, ready.set_result))
    try:
        await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
        at = ready.result().frames
        names = enumerate(STREAMS)
        await asyncio.gather(*(asyncio.to_thread(send, at, seed, name) for seed, name in names))
    finally:
        stop.set()
        await task
    return gpus


def test_two_streams_share_a_gpu_frame_by_frame(device_double, tmp_path, monkeypatch):
    lent, take, pause = [], Recordings.take, Together._pause

    def taken(self, frames, *rest):
        works = take(self, frames, *rest)
        lent.append((len(frames), len(works)))
        return works

    asyncio.run(serve(tmp_path / "alone", together=False))
    monkeypatch.setattr(Recordings, "take", taken)
    # nobody gives up waiting for the other, but at the end, where there may be none
    paused = []

    def patient(self, first):
        paused.append(first)
        if len(paused) < FRAMES:
            wait([first], WAIT_S / 60)
        pause(self, first)

    monkeypatch.setattr(Together, "_pause", patient)
    gpus = asyncio.run(serve(tmp_path / "together", together=True))
    assert (2, 2) in lent, lent
    assert sum(number for number, _ in lent) >= len(STREAMS) * (FRAMES - 1)
    # buffers of the two need not be as large, and work of the larger serves both
    assert [len(free) for free in gpus.lanes[0].placement.recordings._free.values()] == [2]
    for stream in STREAMS:
        tables = []
        for way in ("alone", "together"):
            with Session.open_read(tmp_path / way / stream) as session:
                tables.append(session.defects())
        ours, theirs = tables
        assert len(ours) == len(theirs) > 10
        for name in ("x_px", "y_px", "probability"):
            found, expected = getattr(ours, name), getattr(theirs, name)
            np.testing.assert_allclose(found, expected, 1e-5, 1e-5, err_msg=name)
