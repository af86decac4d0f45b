"""A service whose streams share a GPU, a double: frames come together, results stay their own."""

from __future__ import annotations

from concurrent.futures import wait
from pathlib import Path

from gpus import Gpus
from two_streams import ANY, STREAMS, WAIT_S, assert_same_defects, serve

from latticewatch.config import load_settings
from latticewatch.resident.recordings import AFTER, Recordings
from latticewatch.service import Service
from latticewatch.together import Together

FRAMES = AFTER + 4
SCENE = (128, FRAMES, 6)


def settings(folder: Path, together: bool):
    return load_settings(
        endpoints={"frames": ANY, "results": ANY, "queries": ANY, "metrics": ""},
        store={"data": folder, "fsync": "never"},
        analysis={"device": "cuda:0", "record": together, "workers": 2},
        segmenter={"max_batch": 2 if together else 1},
        # every frame that is checked goes without the others
        calibration={"every": 1000},
    )


def test_two_streams_share_a_gpu_frame_by_frame(device_double, tmp_path, monkeypatch):
    lent, take, pause = [], Recordings.take, Together._pause

    def taken(self, frames, *rest):
        works = take(self, frames, *rest)
        lent.append((len(frames), len(works)))
        return works

    serve(Service(settings(tmp_path / "alone", False), machine=Gpus(1).machine), *SCENE)
    monkeypatch.setattr(Recordings, "take", taken)
    # nobody gives up waiting for the other, but at the end, where there may be none
    paused = []

    def patient(self, first):
        paused.append(first)
        if len(paused) < FRAMES:
            wait([first], WAIT_S / 60)
        pause(self, first)

    monkeypatch.setattr(Together, "_pause", patient)
    gpus = Gpus(1)
    serve(Service(settings(tmp_path / "together", True), machine=gpus.machine), *SCENE)
    assert (2, 2) in lent, lent
    assert sum(number for number, _ in lent) >= len(STREAMS) * (FRAMES - 1)
    # buffers of the two need not be as large, and work of the larger serves both
    assert [len(free) for free in gpus.lanes[0].placement.recordings._free.values()] == [2]
    assert_same_defects(tmp_path / "alone", tmp_path / "together")
