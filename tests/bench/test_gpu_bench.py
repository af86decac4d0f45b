"""The bench of a GPU runs from end to end on CuPy's double: its figures mean nothing there."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import gpu as bench
from accelerated import batches, floors, whole

from latticewatch.resident.recordings import AFTER, Recordings
from latticewatch_kernels.arrays import device

SIDE, FRAMES = 96, 4


@pytest.fixture
def small(device_double, monkeypatch):
    """Floors and warm-up of a size that the double can bear, and what else of CuPy is asked for."""
    monkeypatch.setattr(floors, "COPIED", 1 << 12)
    monkeypatch.setattr(floors, "SIDE_GPU", 16)
    monkeypatch.setattr(floors, "REPEATS", 1)
    monkeypatch.setattr(bench, "BESIDE", 2)
    monkeypatch.setattr(whole, "WARM_UP", AFTER + 1)
    monkeypatch.setattr(batches, "IN_HAND", (1, 2))
    pool = SimpleNamespace(total_bytes=lambda: 0)
    device_double.cupy.get_default_memory_pool = lambda: pool
    device_double.cupy.cuda.get_elapsed_time = lambda start, end: 0.5
    return device_double


def test_the_peer_is_told_with_what_we_gain():
    spread = {"predict_ms": {"median": 20.0}, "locate_ms": {"median": 5.0}}
    peer = {"device": "NVIDIA H100", **spread, "total_ms": {"median": 25.0}}
    text = bench.peer_text(peer, {"one by one": 1000.0, "in stacks of 16": 4000.0})
    assert text.startswith("  AtomAI on NVIDIA H100: predict 20.0 ms + locate 5.0 ms a frame")
    assert text.endswith("; times as many here: 25.0 one by one, 100.0 in stacks of 16")
    assert bench.peer_text("no network", {}) == "  AtomAI: not measured: no network"


@pytest.mark.parametrize("record", [False, True], ids=["plain", "recorded"])
def test_every_row_is_measured(small, record, monkeypatch):
    lent, take = [], Recordings.take

    def taken(self, frames, kind):
        works = take(self, frames, kind)
        lent.append(len(works))
        return works

    monkeypatch.setattr(Recordings, "take", taken)
    options = Namespace(
        sizes=[SIDE], frames=FRAMES, workers=[1], batches=[2], wait_ms=50.0, device="cpu",
        precision="auto", cuda_graph=False, record=record, providers="cpu", backend="onnxruntime",
        peer=False, trace=None, different=8, stacks_only=False, beside_host=True,
    )  # fmt: skip
    with device(0):
        text = "\n".join(bench._measured(options, 0))
    for row in ("Floors. copies", "one frame p50", "frames/s by number of threads: ", "stages, m"):
        assert row in text
    assert "localise (device) 0.50" in text
    assert re.search(r"on the host's cores alone, .*: [\d.]+ by 1", text)
    rows = re.findall(r"batches of (\d): .* ([\d.]+) by 2 with a stack", text)
    assert [number for number, _ in rows] == ["2"]
    assert all(float(rate) > 0 for _, rate in rows)
    assert "by 4 workers" in text
    assert (max(lent, default=0) == 2) == record
