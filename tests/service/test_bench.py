"""The command that times frames: what it sends, with which settings, and what it prints."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latticewatch.benchmark import WARM_UP, Run
from latticewatch.cli import bench, main


@pytest.fixture
def timed(monkeypatch):
    """What frames are timed with, in place of their being timed."""
    given = []

    def time_frames(images, header, rate=None, arguments=()):
        given.append((len(images), rate, arguments))
        latency = np.arange(1.0, 101.0)
        return Run(len(images) - WARM_UP, 12.5, latency, {"segment": latency / 2})

    monkeypatch.setattr(bench, "time_frames", time_frames)
    return given


def test_throughput_and_latency_are_two_runs(timed, capsys, tmp_path):
    file = tmp_path / "bench.json"
    assert (
        main(["bench", "--sizes", "64", "--frames", "45", "--rate", "2", "--json", str(file)]) == 0
    )
    assert timed == [(45 + WARM_UP, None, ()), (40 + WARM_UP, 2.0, ())]
    printed = capsys.readouterr().out
    assert "64 x 64, 45 frames: 12.5 frames/s" in printed
    assert json.loads(file.read_text())["64"]["send_to_subscriber"]["p50"] == 50.5


def test_the_service_is_timed_as_it_is_configured(timed, tmp_path):
    config = tmp_path / "lab.toml"
    assert main(["bench", "--sizes", "64", "--frames", "41", "--config", str(config)]) == 0
    assert [arguments for _, _, arguments in timed] == [("--config", str(config))] * 2
