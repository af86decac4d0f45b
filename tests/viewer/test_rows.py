"""A frame that is being acquired on the screen: its own rows, its own points, nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from kept import frames, rows
from published import (
    ROWS,
    SHAPE,
    colour_of,
    components,
    defects,
    entities,
    overlay,
    partial,
    statistics,
    table,
)  # fmt: skip
from test_live import DATA, whole

from latticewatch.palette import style_of
from latticewatch.viewer.live import BEHIND_S, Live, left_to_draw
from latticewatch.viewer.recording import Recording

HALF = 32


def test_the_rows_that_have_come_are_drawn_with_their_points():
    live = Live()
    (drawing,) = live.take(partial(0, HALF))
    assert (drawing.frame, drawing.time_s, drawing.sent_s) == (0, 0.0, None)
    seen = [row for row in ROWS if row[2] < HALF]
    assert 0 < len(seen) < len(ROWS)
    drawn = components(drawing, "frame/defects")
    expected = [[x + 0.5, y + 0.5] for _, x, y, _, _ in seen]
    assert np.array(drawn["positions"]) == pytest.approx(np.array(expected))
    colours = [style_of(species, state)[0] for *_, species, state in seen]
    assert [colour_of(value)[:7] for value in drawn["colors"]] == [f"{c}FF"[:7] for c in colours]
    assert drawn["labels"] == ["MoW (so far)", "MoW+VS/1 (so far)"]
    (image,) = components(drawing, "frame/image")["format"]
    assert (image["height"], image["width"]) == (HALF, SHAPE[1])
    # the border is that of the whole frame, and the page is laid out for it
    assert components(drawing, "frame/border")["half_sizes"] == [[SHAPE[1] / 2, SHAPE[0] / 2]]
    assert live.sizes.frame == SHAPE


def test_a_reduced_preview_takes_the_places_along():
    (drawing,) = Live().take(partial(0, HALF, block=4))
    drawn = components(drawing, "frame/defects")
    assert drawn["positions"][0] == pytest.approx([(ROWS[0][1] + 0.5) / 4, (ROWS[0][2] + 0.5) / 4])
    (image,) = components(drawing, "frame/image")["format"]
    assert (image["height"], image["width"]) == (HALF // 4, SHAPE[1])


def test_nothing_of_the_frame_before_stays_with_the_rows_of_the_next(tmp_path):
    """What Rerun shows at a frame is the last that was logged to each entity up to it."""
    live = Live()
    live.take(statistics(0, DATA))
    before = {e for k in range(3) for e in entities(whole(live, k)) if e.startswith("frame/")}
    assert "frame/paths" in before
    (drawing,) = live.take(partial(3, HALF))
    # the scale bar is the same for all frames
    assert before - entities(drawing) == {"frame/scale"}
    assert components(drawing, "frame/paths")["strips"] == []


def test_the_whole_frame_takes_the_place_of_its_rows(tmp_path):
    live, recording = Live(), Recording(None, tmp_path / "kept.rrd")
    for message in (partial(0, 16), partial(0, HALF), overlay(0), defects(0), partial(1, HALF)):
        for drawing in live.take(message):
            recording.draw(drawing)
    recording.close()
    # all at the frame's own moment, where the last counts
    assert frames(tmp_path / "kept.rrd", "frame/image") == [0, 0, 0, 1]
    drawn = [row for row in rows(tmp_path / "kept.rrd")["frame/defects"] if row["frame"] == 0]
    last = max(drawn, key=lambda row: row["rerun.controls.RowId"])  # what Rerun shows
    assert len(last["Points2D:positions"]) == len(ROWS)


def test_rows_that_come_late_are_not_drawn():
    live = Live()
    whole(live, 3)
    assert live.take(partial(3, HALF)) == []
    assert live.take(partial(2, HALF)) == []
    assert live.take(partial(4, HALF)) != []
    assert live.losses == Live().losses


def test_rows_do_not_keep_a_frame_from_being_put_together():
    live = Live()
    live.take(overlay(0))
    live.take(partial(1, HALF))
    (drawing,) = live.take(defects(0))
    assert drawing.frame == 0
    assert "frame/defects" in entities(drawing)


def test_rows_of_another_stream_are_not_drawn():
    live = Live("s")
    assert live.take(partial(0, HALF, stream="other")) == []


def test_a_viewer_that_was_stopped_leaves_rows_out():
    batch = [make(k) for k in range(5) for make in (overlay, defects)]
    batch += [partial(5, HALF), partial(5, 2 * HALF)]
    kept, skipped = left_to_draw(batch, batch[0].published_s + 10 * BEHIND_S)
    assert [(message.frame, message.kind) for message in kept] == [
        (3, "overlay"), (3, "defects"), (4, "overlay"), (4, "defects")
    ]  # fmt: skip
    assert skipped == 3


def test_no_point_lies_below_the_rows_that_have_come():
    for rows_done in (16, HALF, SHAPE[0]):
        (drawing,) = Live().take(partial(0, rows_done))
        for _, y in components(drawing, "frame/defects")["positions"]:
            assert y < rows_done
    assert len(table(0)) == len(ROWS)
