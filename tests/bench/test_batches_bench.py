"""The bench of batches, on the host: every row is of the size and the segmenter that it says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from accelerated import batches

from latticewatch.analysis import Analyser
from latticewatch.batched import BatchedSegmenter
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import Microscope
from latticewatch_models.runtime import Segmenter
from latticewatch_models.tuning import Tuning


@pytest.mark.parametrize("number", [1, 3])
def test_frames_are_run_by_so_many(number, monkeypatch):
    sizes, several = [], Segmenter.segment_all

    def counted(self, images, **named):
        sizes.append(len(images))
        return several(self, images, **named)

    monkeypatch.setattr(Segmenter, "segment_all", counted)
    frames = [frame.image for frame in Microscope("WS2", (128, 128), 1).frames(2)]
    maker = batches.Maker(60.0, {"device": "cpu", "threads": 1, "tuning": Tuning()})
    assert isinstance(maker.segmenter(number), BatchedSegmenter) == (number > 1)
    figures = batches.measure(Analyser(crystal=CRYSTALS["WS2"]), maker, frames, 2, number)
    # to warm up, the timed ones, and the whole analysis of as many frames as workers or more
    network = 1 + batches.REPEATS
    assert sizes[:network] == [number] * network
    assert sum(sizes[network:]) == max(2, number)
    values = [figures.network_ms, figures.processor_ms, *figures.per_second.values()]
    assert np.isfinite(values).all()
    assert min(values) > 0
    assert figures.text().startswith(f"  batches of {number}: network ")
