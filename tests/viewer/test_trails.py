from __future__ import annotations

import numpy as np
import pytest
from published import ROWS, table

from latticewatch.viewer.trails import FORGET_AFTER, LENGTH, extend, on_frame


def test_memory_is_bounded_in_a_long_session():
    trails = {}
    for frame in range(300):  # a new track every other frame, each seen for six
        rows = [(frame // 2 - k, 1.0 * frame, 2.0, "VS", "") for k in range(3)]
        trails = extend(trails, frame, table(frame, rows), starting=frame == 0)
        assert len(trails) <= 3 + FORGET_AFTER
        assert all(len(trail.places) <= LENGTH for trail in trails.values())


def test_the_newest_positions_are_kept_in_order():
    trails = {}
    for frame in range(LENGTH + 5):
        trails = extend(
            trails, frame, table(frame, [(1, 1.0 * frame, 0.0, "VS", "")]), starting=False
        )
    x = trails[1].places[:, 0] / 0.03
    assert x == pytest.approx(np.arange(5, LENGTH + 5))
    assert trails[1].first == 0


def test_a_path_follows_the_specimen():
    trails = {}
    for frame, drift in enumerate([(0.0, 0.0), (3.0, -1.0), (5.0, 2.0)]):
        rows = [(t, x + drift[0], y + drift[1], s, state) for t, x, y, s, state in ROWS]
        now = table(frame, rows, drift=drift)
        trails = extend(trails, frame, now, starting=frame == 0)
    paths, of = on_frame(trails, now, 0.03)
    assert of == [0, 1, 2]
    for path, row in zip(paths, of, strict=True):  # nothing moved but the specimen as a whole
        assert path == pytest.approx(np.tile([now.x_px[row], now.y_px[row]], (3, 1)))


def test_no_path_without_positions_in_nm():
    unknown = table(0, pixel_nm=np.nan)
    trails = extend({}, 0, unknown, starting=True)
    assert on_frame(extend(trails, 1, unknown, starting=False), unknown, 0.03) == ([], [])


def test_rows_without_a_track_leave_no_trail():
    assert extend({}, 0, table(0, [(-1, 1.0, 1.0, "VS", "")]), starting=True) == {}
