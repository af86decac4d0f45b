"""What `watch` remembers and how it is laid out, from messages alone."""

from __future__ import annotations

import dataclasses
import json
from functools import reduce

import pytest

from latticewatch.agreement import Counts
from latticewatch.client.messages import Alert, Defects, Health, Statistics
from latticewatch.standing import Check, Rule, Standing
from latticewatch.terminal.glyphs import BLOCKS, PLAIN, plain_text, width_of
from latticewatch.terminal.log_lines import log_line, news_line
from latticewatch.terminal.page import cropped, page
from latticewatch.terminal.readout import HISTORY, Readout
from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.viewer.turns import Turn
from latticewatch_models.crystal import CRYSTALS

BAND = {"value": 0.25, "low": 0.125, "high": 0.5}
CHANGE = {
    "series": "populations.VS", "frame": 3, "reported": 5,
    "before": {"value": 4.0, "low": 3.0, "high": 5.0},
    "after": {"value": 11.5, "low": 9.0, "high": 14.0},
}  # fmt: skip
DATA = {
    "frames": 6, "missing": 2, "credible": 0.95, "pixel_size_nm": 0.03,
    "populations": {
        "VS": {"now": 12, "mean": 9.5, "low": 8.25, "high": 10.75},
        "VW": {"now": 0, "mean": 0.0, "low": 0.0, "high": 0.0},
    },
    "states": {"MoW": {"now": 3}, "MoW+VS/0": {"now": 2}},
    "fractions": {"hole": {"now": 0.0625, "mean": 0.05, "low": 0.04, "high": 0.06}},
    "defect_density_nm2": {"now": 0.375, "mean": 0.5, "low": 0.4, "high": 0.6},
    "lattice": {"constant_px": {"mean": 10.5}},
    "diffusion": {"species": "VS", "free": {"D_nm2_s": BAND, "hop_rate_per_s": BAND,
                  "D_nm2_A2_per_e": {"value": 2e-7, "low": 1e-7, "high": 4e-7}}},
    "transitions": {
        "states": ["MoW", "MoW+VS/0"], "probabilities": [[0.875, 0.125], [0.375, 0.625]],
        "low": [[0.8, 0.05], [0.3, 0.5]], "high": [[0.95, 0.2], [0.5, 0.7]],
        "memory": {"verdict": "the matrix is not kinetics"},
    },
    "classes": [{"class_id": 4, "species": "VS", "posterior": {"VS": 0.75}, "weight": 0.5,
                 "mean_image": [[0.0, 1.0], [1.0, 0.0]]}],
    "changes": {"last": []},
}  # fmt: skip
CHANGED = {**DATA, "changes": {"last": [CHANGE]}}
RAISED = Alert(stream="titan", frame=5, rule="holes", text="hole fraction 0.06, above 0.05", run=1)


def statistics(frame, data=DATA, **fields):
    return Statistics(stream="titan", frame=frame, data=data, run=1, **fields)


def read_out(*messages, now_s=100.0) -> Readout:
    readout = Readout()
    for message in messages:
        readout.take(message, now_s)
    return readout


def shown(readout, width=100, glyphs=BLOCKS, now_s=100.0) -> str:
    return "\n".join(plain_text(line) for line in page(readout, width, glyphs, now_s))


def test_it_waits_then_shows_every_number():
    assert "waiting" in shown(Readout())
    text = shown(read_out(*(statistics(k) for k in range(3)), RAISED, statistics(5, CHANGED)))
    pieces = (
        "titan", "frame 5", "6 counted", "2 missing or refused", "0.375", "0.5 [0.4, 0.6]",
        "9.5 [8.2, 11]", "6.25", "5 [4, 6]", "0.25", "[0.12, 0.5]", "2.0e-7 [1.0e-7, 4.0e-7]",
        "10.50 px, 0.3150 nm", "87.5 80-95", "not kinetics", "4 VS p 0.75 50 %",
        "ALERT holes: hole fraction 0.06, above 0.05", "change VS 4 → 11.5 [9, 14] from frame 3",
    )  # fmt: skip
    assert [piece for piece in pieces if piece not in text] == []
    assert "VW" not in text, "a species that was never seen takes a line"


def test_what_a_fresh_tracker_says_is_shown_in_ascii_too():
    data = json.loads(json.dumps(Tracker(TrackerSettings(), CRYSTALS["WS2"]).statistics()))
    low = reduce(lambda now, k: now.after(Check(k, Counts(1, 20, 0)), Rule()), range(9), Standing())
    data = {**data, "calibration": low.summary(Rule())}
    text = shown(read_out(statistics(0, data)), 80, PLAIN)
    assert "LOW 0.0909" in text
    assert text.isascii()


@pytest.mark.parametrize("width", [20, 60, 79, 129, 130, 200])
@pytest.mark.parametrize("glyphs", [BLOCKS, PLAIN])
def test_no_line_is_wider_than_the_terminal(width, glyphs):
    readout = read_out(statistics(0), RAISED, statistics(5, CHANGED))
    assert max(width_of(line) for line in page(readout, width, glyphs, 100.0)) <= width


def test_a_wide_terminal_has_the_matrix_beside_the_series():
    readout = read_out(statistics(0), statistics(1))
    wide, narrow = (shown(readout, width).splitlines() for width in (150, 100))
    assert len(wide) < len(narrow)
    assert any("mean [interval]" in line and "per second" in line for line in wide)
    assert not any("mean [interval]" in line and "per second" in line for line in narrow)


def test_what_a_low_terminal_leaves_out_is_counted():
    lines = page(read_out(statistics(0)), 100, BLOCKS, 100.0)
    kept = cropped(lines, 8, BLOCKS)
    assert len(kept) == 8
    assert plain_text(kept[-1]).startswith(f"… {len(lines) - 7} more lines")
    assert cropped(lines, len(lines), BLOCKS) == lines == cropped(lines, None, BLOCKS)


def test_times_are_told_apart():
    sent = [Defects(stream="titan", frame=k, run=1, sent_s=90.0 + k, published_s=90.05 + k)
            for k in range(20)]  # fmt: skip
    readout = Readout()
    for k, message in enumerate(sent):
        readout.take(message, 90.07 + k)
    readout.take(statistics(19), 110.0)
    found = {name: readout.latency_ms(name)[0] for name in ("published", "lag", "here")}
    assert found == pytest.approx({"published": 50.0, "lag": 20.0, "here": 70.0}, abs=1e-3)
    assert readout.rate == pytest.approx(1.0)
    assert "to published 50, 50   lag 20, 20   to here 70, 70" in shown(readout, now_s=110.0)


def test_snapshots_tell_no_latency_and_a_clock_that_is_behind_is_said():
    old = Defects(stream="titan", frame=3, run=1, sent_s=1.0, published_s=2.0, snapshot=True)
    readout = read_out(old, statistics(3))
    assert readout.latency_ms("here") is None
    ahead = Defects(stream="titan", frame=4, run=1, sent_s=100.5, published_s=100.6)
    readout.take(ahead, 100.0)
    assert "this clock is behind" in shown(readout)


def test_what_was_lost_or_refused_and_a_silent_service_are_said():
    told = Health(values={"rejected": {"dtype": 3, "shape": 0}}, state="degraded")
    foreign = Statistics(stream="other", frame=0, data=DATA, run=1)
    readout = read_out(statistics(0, missed=7), told, foreign)
    readout.unreadable = 1
    text = shown(readout)
    for piece in ("3 dtype refused on arrival", "service degraded", "7 messages missed",
                  "1 unreadable", "1 of other streams"):  # fmt: skip
        assert piece in text
    assert "silent" not in text
    assert "service silent for 31 s" in shown(readout, now_s=131.0)


def test_the_past_is_bounded():
    readout = read_out(*(statistics(k) for k in range(HISTORY + 30)), *[RAISED] * 30)
    assert len(readout.past("density")) == HISTORY
    assert len(readout.alerts) < 30


def test_news_are_told_once_and_not_those_of_before():
    readout = Readout()
    assert readout.take(statistics(5, CHANGED), 1.0) == []
    assert readout.take(statistics(6, CHANGED), 2.0) == []
    later = {**CHANGE, "series": "fractions.hole", "reported": 7}
    (turn,) = readout.take(statistics(7, {**DATA, "changes": {"last": [CHANGE, later]}}), 3.0)
    assert isinstance(turn, Turn)
    assert news_line(readout, turn) == (
        "titan frame 7  change hole fraction 400 → 1.15e+03 [900, 1.4e+03] % from frame 3"
    )
    assert readout.take(RAISED, 4.0) == [RAISED]
    over = dataclasses.replace(RAISED, active=False)
    assert news_line(readout, over) == "titan frame 5  over holes: hole fraction 0.06, above 0.05"


def test_a_line_for_a_log_holds_the_numbers():
    line = log_line(read_out(statistics(5)))
    pieces = ("titan frame 5", "missing 2", "density 0.375/nm²", "VS 12", "hole 6.25%",
              "D 0.25 [0.125, 0.5]nm²/s")  # fmt: skip
    assert [piece for piece in pieces if piece not in line] == []
    assert "\n" not in line


def test_the_end_of_a_stream_is_no_frame():
    assert read_out(statistics(6, {**DATA, "ended": True})).frame == 5


def test_another_session_is_told():
    readout = read_out(statistics(5))
    assert not readout.begins_anew(statistics(6))
    assert not readout.begins_anew(Health(run=2))
    assert readout.begins_anew(Statistics(stream="titan", frame=0, run=2))
