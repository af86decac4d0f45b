"""The bench of agreement prints what it says, and its correlation is one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import agreement as bench

from latticewatch.analysis import Analyser
from latticewatch_models.runtime import Segmenter
from latticewatch_models.segmentation import Segmentation


class OneSided(Segmenter):
    """The shipped model, blind on one half of the frame: what it misses it misses again."""

    def segment(self, image: np.ndarray) -> Segmentation:
        seen = super().segment(image)
        heat = seen.heat.copy()
        heat[:, : heat.shape[1] // 2] = 0.0
        return replace(seen, heat=heat)


def test_a_row_holds_shares_and_an_interval():
    line = bench.row(Analyser(Segmenter(threads=1), check=True), 1, 256, *bench.imaged())
    columns, found, marked, told = (part.strip() for part in line.strip("| ").split(" | "))
    assert (float(found), float(marked)) == (1.0, 1.0)
    assert int(columns) > 10
    assert told.startswith("1.000 (0.")


def test_what_is_missed_again_correlates():
    assert bench.repeats(OneSided(threads=1), 3) > 0.9
