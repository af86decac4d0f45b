"""At a dose where one frame finds half of the vacancies, ten find nearly all: whole frames."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from estimating.fusion import AT_REST, FIRST_SEED, trial


def test_ten_frames_reach_nine_tenths_where_one_has_six() -> None:
    single, fused = trial(3200.0, AT_REST, 4, 10)
    pooled = 2.0 * single.right.sum() / (single.true.sum() + single.reported.sum())
    assert pooled < 0.65, f"seeds from {FIRST_SEED}"
    assert fused.f1[-1] >= 0.9, f"seeds from {FIRST_SEED}"
    assert fused.true[-1] > 15
