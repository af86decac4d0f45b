"""The last frame's numbers are those that the statistics give as ``now``."""

from __future__ import annotations

import numpy as np
from synthetic import View, detect, info, make_specimen

from latticewatch.tracker import Tracker, TrackerSettings


def test_newest_is_what_the_statistics_say_of_now():
    specimen, rng = make_specimen(0), np.random.default_rng(4)
    tracker = Tracker(TrackerSettings(), specimen.crystal)
    assert tracker.newest() == {}
    for frame in range(4):
        update = tracker.apply(info(frame), detect(specimen, View(), rng))
    newest, told = tracker.newest(), tracker.statistics()
    assert newest["defect_density_nm2"] == told["defect_density_nm2"]["now"]
    for group in ("fractions", "populations", "states"):
        assert newest[group] == {name: row["now"] for name, row in told[group].items()}
    species = update.table["species"]
    assert newest["populations"]["MoW"] == (species == "MoW").sum() > 0
    tracker.apply(info(4), None)
    assert tracker.newest() == newest
