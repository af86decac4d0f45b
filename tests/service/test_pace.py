"""Statistics may wait while frames do; none is lost by it, and at rest they are the newest."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from latticewatch.client.frames import encode_frame, frame_array, parse_header
from latticewatch.client.messages import Statistics
from latticewatch.pace import (
    KEPT_FRAMES,
    KEPT_UNDER_LOAD,
    TOLD_FRAMES,
    is_estimated,
    is_told,
)
from latticewatch.queries import store_handlers
from latticewatch.receiving.deliveries import Arrival, End
from latticewatch.steps import Analysed
from latticewatch.storage.session import Session
from latticewatch.tracker import TrackerSettings
from latticewatch.writer import StreamWriter
from latticewatch_models.crystal import crystal_named

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from simulated_detections import Scene, simulate

FRAMES = 25


def steps():
    for shot in islice(simulate(Scene(defects=20), 5), FRAMES):
        frame = shot.info.frame
        packed, buffer = encode_frame(
            np.zeros((64, 64), np.uint8) + np.eye(64, dtype=np.uint8), stream="s", epoch=1,
            seq=frame, time_s=shot.info.time_s, pixel_size_nm=shot.info.pixel_size_nm,
            frame_time_s=shot.info.frame_time_s,
        )  # fmt: skip
        header = parse_header(packed)
        image = frame_array(header, buffer)
        yield Analysed(Arrival("s", frame, 1, frame, header, image, 0.0), shot.detections)


@pytest.fixture(scope="module")
def analysed():
    return list(steps())


def writer(folder):
    return StreamWriter("s", folder, TrackerSettings(), crystal_named("WS2"), fsync="never")


def told(outcomes):
    return [m.frame for o in outcomes for m in o.messages if isinstance(m, Statistics)]


def held(folder):
    with Session.open_read(folder) as session:
        return session.state(), session.statistics(), session.defects().to_rows(), session.events()


def test_statistics_wait_while_frames_do_and_the_end_has_those_of_no_hurry(analysed, tmp_path):
    end = End("s", FRAMES, 1, FRAMES)
    calm, hurried = writer(tmp_path / "calm"), writer(tmp_path / "hurried")
    every = [told(calm.process([step])) for step in analysed]
    assert every == [[frame] for frame in range(FRAMES)]
    some = [frame for step in analysed for frame in told(hurried.process([step], more=True))]
    assert some == [TOLD_FRAMES - 1, 2 * TOLD_FRAMES - 1]
    assert told(hurried.process([end], more=True)) == told(calm.process([end])) == [FRAMES]
    calm.close()
    hurried.close()
    assert held(tmp_path / "calm") == held(tmp_path / "hurried")


def test_a_session_that_was_killed_meanwhile_catches_up(analysed, tmp_path):
    killed = writer(tmp_path / "s")
    for step in analysed[:15]:
        killed.process([step], more=True)
    killed.close()
    since = store_handlers(tmp_path)["since"]
    answer = since({"stream": "s", "first": 14})
    assert (answer["last"], answer["statistics_frame"]) == (14, TOLD_FRAMES - 1)
    assert answer["statistics"]["frames"] == TOLD_FRAMES
    again = writer(tmp_path / "s")
    newest = [m.frame for m in again.latest() if isinstance(m, Statistics)]
    again.close()
    assert newest == [14]
    answer = since({"stream": "s", "first": 14})
    assert (answer["statistics_frame"], answer["statistics"]["frames"]) == (14, 15)


def test_costly_estimates_are_made_between_commits(analysed, tmp_path):
    one = writer(tmp_path)
    made = []
    for step in analysed:
        (outcome,) = one.process([step])
        (message,) = [m for m in outcome.messages if isinstance(m, Statistics)]
        made.append(message.data["inferred_at_frame"])
        if one.is_due(more=False):
            one.estimate()
    one.close()
    # with the first frame there are none to be kept; then those of the frame before
    assert made == [0] * 11 + [10] * 10 + [20] * 4


def test_pace():
    assert is_told(5, 4, more=False)
    assert [is_told(frame, 0, more=True) for frame in (1, 9, 10, 11)] == [False, False, True, True]
    assert not is_estimated(KEPT_FRAMES - 1, 0, more=False)
    assert is_estimated(KEPT_FRAMES, 0, more=False)
    assert not is_estimated(KEPT_UNDER_LOAD - 1, 0, more=True)
    assert is_estimated(KEPT_UNDER_LOAD, 0, more=True)
