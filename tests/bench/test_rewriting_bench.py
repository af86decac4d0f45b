"""The bench of the network's rewriting, on CuPy's double: its figures mean nothing there."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import rewriting as bench

from latticewatch_kernels.arrays import device
from latticewatch_models import packing
from latticewatch_models.opened import Source
from latticewatch_models.tuning import Form


class Doubling:
    """Stands for a segmenter: its heat maps are the frames, twice."""

    providers = ("cuda",)

    def __init__(self, xp):
        self.xp = xp

    def beside(self, number, sides):
        frames = self.xp.empty((number, 1, *sides), np.float32)
        heat = self.xp.empty_like(frames)

        def run():
            heat[...] = 2.0 * frames

        return SimpleNamespace(frames=frames, results={"heat": heat}, run=run)


def test_runs_are_timed_and_seen(device_double):
    device_double.cupy.cuda.get_elapsed_time = lambda start, end: 0.5
    frames = np.random.default_rng(1).normal(size=(2, 1, 8, 8)).astype(np.float32)
    with device(0):
        time_us, heat = bench.timed(Doubling(device_double.cupy), frames, 5)
        assert time_us == 100.0
        np.testing.assert_array_equal(heat, 2.0 * frames)
        nothing = SimpleNamespace(providers=("cpu",), beside=lambda *_: None)
        with pytest.raises(SystemExit, match="not recorded by cpu"):
            bench.timed(nothing, frames, 5)


def test_forms_are_those_of_the_sessions_that_are_opened():
    before = packing.MOST_CHANNELS
    with bench.formed(None):
        assert Source(b"")._rewritten(Form((16, 16), number=1)) is None
    with bench.formed(32):
        assert packing.MOST_CHANNELS == 32
    assert before == packing.MOST_CHANNELS
