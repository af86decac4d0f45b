"""The state does not grow with the session; what ends leaves it."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import View, detect, info, make_specimen

from latticewatch.tracker import Tracker, TrackerSettings

#: Different frames, which come round again and again; false detections open and close tracks.
VIEWS = 20
#: Frames between two looks at the size: a multiple of the views, not of the learner's batch.
EVERY = 100


@pytest.mark.parametrize(
    "frames",
    [2_000, pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(1_800)])],
)
def test_the_state_stays_as_large_as_it_was(frames):
    specimen = make_specimen(0, counts=(4, 2, 4, 2))
    tracker = Tracker(TrackerSettings(), specimen.crystal)
    rng = np.random.default_rng(1)
    views = [detect(specimen, View(drift=(0.2 * k, 0.1 * k), false=3), rng) for k in range(VIEWS)]
    sizes, opened, closed = [], [], 0
    for frame in range(frames):
        update = tracker.apply(info(frame), views[frame % VIEWS])
        closed += len(update.closed)
        opened.append(sum(event.kind == "birth" for event in update.events))
        if frame % EVERY == EVERY - 1:
            sizes.append(len(tracker.save()))
    told = tracker.statistics()["tracks"]
    assert closed == told["closed"] > frames
    assert sum(opened) == closed + told["open"]
    assert told["open"] < 40
    # The buffer of descriptors that wait for a whole batch fills and empties, and numbers take a
    # few bytes more as they grow; a float a frame would add a third over the short form.
    assert max(sizes[10:]) < 1.02 * max(sizes[:10]), sizes
