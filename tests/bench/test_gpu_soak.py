"""The soak of a GPU on CuPy's double: it ends, and tells of all frames."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import gpu_soak
from gpu_soak import Memory, main, run

FRAMES = [np.zeros((4, 4))] * 3


@pytest.fixture
def flat(device_double, monkeypatch):
    monkeypatch.setattr(Memory, "now", classmethod(lambda cls: cls(3, 2, 1)))


def test_frames_are_counted_and_rates_told(flat):
    analysed = []
    analyse = SimpleNamespace(together=lambda frames, gpu: analysed.append(len(frames)))
    seen = list(run(analyse, FRAMES, 60, threads=2))
    assert len(seen) == gpu_soak.LINES
    assert seen[-1][0] >= 60
    assert all(before[0] <= after[0] for before, after in pairwise(seen))
    # those that were in hand when the last was done are finished
    assert 60 <= sum(analysed) <= 60 + 2 * len(FRAMES)


def test_what_goes_wrong_ends_it(flat):
    def together(frames, gpu):
        raise ValueError("no lattice")

    with pytest.raises(ValueError, match="no lattice"):
        list(run(SimpleNamespace(together=together), FRAMES, 60, threads=2))


def test_growth_is_told_in_mebibytes():
    grown = Memory(5 << 20, 4 << 20, 3 << 19).less(Memory(4 << 20, 4 << 20, 1 << 20))
    assert grown.text() == "device 1.0, pool 0.0, resident 0.5 MiB"


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(gpu_soak, "cupy_trouble", lambda: ("no CuPy", "install the cuda extra"))
    monkeypatch.setattr(sys, "argv", ["gpu_soak.py"])
    assert main() == 1
    assert "no CuPy: install the cuda extra" in capsys.readouterr().err
