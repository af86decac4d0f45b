"""Change points, dopants, rates and directions: read, and drawn where they belong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import colour_of, components, defects, entities, overlay, statistics

from latticewatch.client.messages import Alert
from latticewatch.viewer import dopants
from latticewatch.viewer.drawing import Drawing
from latticewatch.viewer.facts import read_facts
from latticewatch.viewer.live import Live
from latticewatch.viewer.motion import read_directions, read_rates
from latticewatch.viewer.rosette import outlines
from latticewatch.viewer.status import alert_entry
from latticewatch.viewer.surroundings import read_surroundings
from latticewatch.viewer.turns import read_turns
from latticewatch.viewer.words import banded, brief

BAND = {"value": 0.25, "low": 0.125, "high": 0.5, "standard_error": 0.0625}
FIELD = [[0.5, 8.0], *[[0.25 * k, -1.0] for k in range(6)]]
ERROR = [[0.5, 0.25]] * 7
TOLD = {
    "looks": 40, "groups": 5, "mean_pm": FIELD, "error_pm": ERROR,
    "toward_pm": {**BAND, "error": 0.1},
    "modes": [
        {"amplitude_pm": size, "amplitude_error_pm": size / 8, "field_pm": FIELD,
         "field_error_pm": ERROR}
        for size in (4.0, 2.0)
    ],
}  # fmt: skip
IMAGE = np.eye(16).tolist()
CRYSTALLOGRAPHY = {
    "told": {"all": TOLD, "MoW": {"looks": 3, "groups": 1}, "MoW+VS": TOLD},
    "images": {"MoW": IMAGE, "MoW+VS": IMAGE},
}
LINES = [
    {"line": name, "angle_from_a1_deg": angle, "hop_rate_per_s": BAND}
    for name, angle in (("a1", 0.0), ("a2", 120.0), ("a1+a2", 60.0))
]
FREE = {
    "D_nm2_s": BAND, "hop_rate_per_s": BAND, "hops_A2_per_e": BAND, "D_nm2_A2_per_e": None,
    "directions": {
        "lines": LINES, "isotropy": {"p_value": 0.5},
        "ratio": {"value": 1.5, "low": 1.0, "high": None},
        "D_nm2_s": {"xx": BAND, "xy": {**BAND, "value": 0.0}, "yy": BAND},
    },
}  # fmt: skip
RATES = {"rates": [[2, 1], [3, 4]], "low": [[1, 0.5], [2, 3]], "high": [[3, 2], [4, 5]]}
DATA = {
    "populations": {"VS": {"now": 12}}, "crystallography": CRYSTALLOGRAPHY,
    "diffusion": {"species": "VS", "free": FREE},
    "transitions": {"states": ["MoW", "MoW+VS/0"], "rates": {"per_s": RATES, "per_dose": None}},
}  # fmt: skip


def change(series="populations.VS", frame=3, reported=5):
    ends = ({"value": v, "low": v - 1, "high": v + 1} for v in (4.0, 11.5))
    return {"series": series, "frame": frame, "reported": reported,
            **dict(zip(("before", "after"), ends, strict=True))}  # fmt: skip


def changed(*changes):
    return {**DATA, "changes": {"last": list(changes)}}


def fed(live, frames):
    for k in frames:
        live.take(overlay(k))
        live.take(defects(k))
        drawings = live.take(statistics(k, DATA))
    return drawings


def test_a_change_is_marked_where_it_began_and_logged_where_it_was_told():
    live = Live()
    fed(live, range(5))
    live.take(overlay(5))
    live.take(defects(5))
    _, told, mark = live.take(statistics(5, changed(change())))
    assert (told.frame, told.time_s, mark.frame, mark.time_s) == (5, 2.5, 3, 1.5)
    assert components(told, "alerts")["text"] == ["VS 4 → 11.5 [10.5, 12.5] from frame 3"]
    assert components(mark, "populations/changes")["scalars"] == [11.5]
    assert len(live.take(statistics(6, changed(change())))) == 1, "told twice"


@pytest.mark.parametrize(
    ("severity", "colour"),
    [("info", "#C8C8C8"), ("warning", "#E69F00"), ("critical", "#D55E00"), ("odd", "#E69F00")],
)
def test_lines_of_the_log_have_the_colour_of_their_level(severity, colour):
    name, content = alert_entry(Alert(rule="holes", text="0.06", severity=severity))
    drawn = components(Drawing(0, None, ((name, content),)), "alerts")["color"]
    assert [colour_of(value) for value in drawn] == [colour]


def test_fractions_are_marked_in_per_cent_and_series_that_are_not_drawn_are_only_logged():
    live = Live()
    fed(live, [0])
    found = live.take(
        statistics(1, changed(change("fractions.hole"), change("lattice.constant_px")))
    )[1:]
    assert [sorted(entities(drawing)) for drawing in found] == [
        ["alerts"], ["fractions/changes"], ["alerts"]
    ]  # fmt: skip
    assert components(found[1], "fractions/changes")["scalars"] == [1150.0]
    assert "constant 4 → 11.5 [10.5, 12.5] px" in components(found[2], "alerts")["text"][0]


def test_a_viewer_that_comes_late_draws_the_changes_of_before_it():
    _, told, mark = Live().take(
        statistics(900, changed(change(frame=70, reported=72)), snapshot=True)
    )
    assert (told.frame, told.time_s, mark.frame, mark.time_s) == (72, None, 70, None)


def test_the_dopants_are_drawn_when_there_are_new_looks():
    live = Live()
    (first,) = live.take(statistics(0, DATA))
    assert {"dopants/arrows/1-1", "dopants/arrows/1-3", "dopants/image/0"} <= entities(first)
    assert "dopants/arrows/0-1" not in entities(first), "too few looks for displacements"
    captions = components(first, "dopants/captions")["labels"]
    assert captions == [
        "MoW, 3 looks", "too few looks for displacements", "MoW+VS, 40 looks",
        "toward vacancy 0.2 ± 0.1 pm", "mode 1 4.0 ± 0.5 pm", "mode 2 2.0 ± 0.2 pm",
    ]  # fmt: skip
    (again,) = live.take(statistics(1, DATA))
    assert not any(entity.startswith("dopants") for entity in entities(again))


def test_the_mean_is_that_of_pure_states_where_it_is_known():
    pure = {**TOLD, "toward_pm": {"value": -0.04, "low": -1.0, "high": 1.0, "error": 0.5}}
    data = {"crystallography": {**CRYSTALLOGRAPHY, "believed": {"MoW": pure, "MoW+VS": None}}}
    alone, bound = read_surroundings(data)
    assert (alone.mean.size, bound.mean.size) == ((-0.04, 0.5), (0.25, 0.1))
    (drawing,) = Live().take(statistics(0, data))
    assert "mean, along y 0.0 ± 0.5 pm" in components(drawing, "dopants/captions")["labels"]


def test_arrows_and_their_errors_are_to_one_scale():
    (drawing,) = Live().take(statistics(0, DATA))
    vectors = np.array(components(drawing, "dopants/arrows/1-1")["vectors"])
    scale = vectors[0, 1] / FIELD[0][1]
    np.testing.assert_allclose(vectors, scale * np.array(FIELD), rtol=1e-5)
    errors = components(drawing, "dopants/errors/1-1")
    np.testing.assert_allclose(errors["half_sizes"], scale * np.array(ERROR), rtol=1e-5)
    origins = np.array(components(drawing, "dopants/arrows/1-1")["origins"])
    np.testing.assert_allclose(errors["centers"], origins + vectors, rtol=1e-5)
    (key,) = components(drawing, "dopants/scale")["vectors"]
    (label,) = components(drawing, "dopants/scale")["labels"]
    assert key[0] == pytest.approx(scale * float(label.split()[0]), rel=1e-5)


def test_neighbours_stand_at_one_distance_from_a1_on():
    places = dopants.places()
    assert places[0].tolist() == [0.0, 0.0]
    angles = np.degrees(np.arctan2(places[1:, 1], places[1:, 0])) % 360
    np.testing.assert_allclose(angles, np.arange(6) * 60, atol=1e-9)


def test_rates_per_second_and_per_dose():
    (drawing,) = Live().take(statistics(0, DATA))
    (table,) = components(drawing, "rates")["text"]
    assert "| D of VS, nm² | 0.25 [0.12, 0.5] | - |" in table
    assert "| hops of a VS | 0.25 [0.12, 0.5] | 0.25 [0.12, 0.5] |" in table
    assert "| leaving MoW+VS/0 | 4 [3, 5] | - |" in table
    names = components(drawing, "rosette/names")["labels"]
    assert names == ["a1 0.25/s", "a2 0.25/s", "a1+a2 0.25/s", "D fast over slow 1.5 [1, inf]",
                     "isotropic: p 0.5"]  # fmt: skip


@settings(deadline=None)
@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0, np.pi))
def test_the_ellipse_has_the_tensors_principal_values_along_its_axes(first, second, angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    tensor = turn @ np.diag([first, second]) @ turn.T
    ellipse, circle = (np.array(curve) for curve in outlines(tensor))
    radius = np.hypot(*ellipse.T)
    ratio = max(first, second) / min(first, second)
    assert radius.max() / radius.min() == pytest.approx(ratio, rel=1e-3)
    assert np.hypot(*circle.T).std() == pytest.approx(0.0, abs=1e-9)
    along = np.abs(ellipse[radius.argmax()] @ turn[:, 0 if first > second else 1]) / radius.max()
    assert along == pytest.approx(1.0, abs=1e-2) or first == pytest.approx(second, rel=0.02)


OUTER = ("crystallography", "changes", "diffusion", "transitions")
INNER = ("told", "images", "last", "free", "rates", "states", "directions", "lines", "modes")
ODD = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["crystallography", "changes", "diffusion", "transitions"]), ODD
    )
)
def test_odd_values_are_left_out(data):
    found = (read_turns(data), read_rates(data), read_directions(data), read_surroundings(data))
    assert len(found) == 4
    assert read_facts({**DATA, **data}) is not None


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1"), (-4.26, "-4.26"), (123.4, "123"), (99999.0, "99999"), (1e5, "1.00e5"),
     (9.41e-4, "9.41e-4"), (0.0010, "0.001"), (None, "-"), (math.nan, "-"), (math.inf, "inf")],
)  # fmt: skip
def test_numbers_are_brief(value, text):
    assert brief(value) == text


def test_an_interval_is_told_in_the_unit_of_its_value():
    facts = read_facts(DATA)
    assert banded(facts.diffusion, factor=100.0, digits=2) == "25 [12, 50]"
    assert banded(None) == "-"
