from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from published import (
    ROWS,
    SHAPE,
    colour_of,
    common,
    components,
    defects,
    entities,
    overlay,
    statistics,
    table,
    through_the_wire,
)  # fmt: skip

from latticewatch.client.messages import Alert, Health
from latticewatch.palette import style_of
from latticewatch.viewer.live import BEHIND_S, Live, left_to_draw
from latticewatch.viewer.pace import LEAST_FOR_RATE

DATA = {
    "frames": 4,
    "missing": 1,
    "credible": 0.95,
    "pixel_size_nm": 0.03,
    "lattice": {"constant_px": {"mean": 10.5}},
    "populations": {"MoW": {"now": 2.0}, "VS": {"now": 1.0}, "V@Mo": {"now": 0.0}},
    "states": {"MoW": {"now": 1.0}, "MoW+VS/0": {"now": 0.0}, "MoW+VS/1": {"now": 1.0}},
    "fractions": {"hole": {"now": 0.05}, "disordered": {"now": 0.125}, "crystalline": {"now": 0.8}},
    "fusion": {"expected_vacancies": {"now": 1.75}},
    "diffusion": {
        "free": {
            "D_nm2_s": {"value": 1e-3, "low": 5e-4, "high": 2e-3},
            "hop_rate_per_s": {"value": 0.02, "low": 0.01, "high": 0.05},
        }
    },
    "transitions": {
        "states": ["MoW", "MoW+VS/0", "MoW+VS/1"],
        "probabilities": [[0.9, 0.1, 0.0], [0.25, 0.74, 0.01], [None, None, None]],
        "low": np.zeros((3, 3)).tolist(),
        "high": np.ones((3, 3)).tolist(),
    },
    "classes": [
        {"class_id": k, "species": "VS", "weight": 0.5, "mean_image": np.eye(8).tolist()}
        for k in range(2)
    ],
}


def whole(live: Live, frame: int, of=None, **fields):
    assert live.take(overlay(frame, of, **fields)) == []
    (drawing,) = live.take(defects(frame, of, **fields))
    return drawing


def test_a_frame_is_drawn_once_it_is_whole():
    drawing = whole(Live(), 3)
    assert (drawing.frame, drawing.time_s, drawing.sent_s) == (3, 1.5, 1003.0)
    assert {"frame/image", "frame/defects", "frame/outlines", "frame/legend/names"} <= entities(
        drawing
    )


def test_defects_have_their_places_and_their_species_colours():
    drawn = components(whole(Live(), 0), "frame/defects")
    # Rerun's pixels have their centres at a half, ours at whole numbers
    expected = [[x + 0.5, y + 0.5] for _, x, y, _, _ in ROWS]
    assert np.array(drawn["positions"]) == pytest.approx(np.array(expected))
    colours = [style_of(species, state)[0] for *_, species, state in ROWS]
    assert [colour_of(value)[:7] for value in drawn["colors"]] == [f"{c}FF"[:7] for c in colours]


def test_a_reduced_preview_takes_the_places_along():
    live = Live()
    live.take(overlay(0, block=4))
    (drawing,) = live.take(defects(0))
    drawn = components(drawing, "frame/defects")
    expected = [[(x + 0.5) / 4, (y + 0.5) / 4] for _, x, y, _, _ in ROWS]
    assert np.array(drawn["positions"]) == pytest.approx(np.array(expected))


def test_hovering_tells_state_probability_class_track_and_age():
    live = Live()
    for frame in (4, 5):
        drawing = whole(live, frame)
    late = table(6, (*ROWS, (11, 60.0, 8.0, "VW", "")))
    whole(live, 6, late)
    drawing = whole(live, 7, table(7, (*ROWS, (11, 60.0, 8.0, "VW", ""))))
    labels = components(drawing, "frame/defects")["labels"]
    assert labels[1] == "MoW+VS/1 p0.97 c2 #8 ≥4f (class 0.88)"
    assert labels[3] == "VW p0.97 c2 #11 2f (class 0.88)"


def test_the_legend_counts_every_kind():
    drawn = components(whole(Live(), 0), "frame/legend/names")
    assert drawn["labels"] == ["MoW  1", "MoW + vac.  1", "VS  1"]
    assert all(SHAPE[0] < y < 1.1 * SHAPE[0] for _, y in drawn["positions"])


def test_paths_and_scale_bar_wait_for_the_pixel_size():
    live = Live()
    assert not {"frame/paths", "frame/scale"} & entities(whole(live, 0))
    live.take(statistics(0, DATA))
    drawing = whole(live, 1)
    assert {"frame/paths", "frame/scale"} <= entities(drawing)
    assert len(components(drawing, "frame/paths")["strips"]) == len(ROWS)


def test_a_frame_without_defects_wipes_those_of_the_last():
    live = Live()
    whole(live, 0)
    drawing = whole(live, 1, table(1, ()))
    assert components(drawing, "frame/defects")["positions"] == []
    assert components(drawing, "frame/outlines")["strips"] == []


def test_latency_and_rate_are_told():
    live = Live()
    first = whole(live, 0)
    assert components(first, "latency/published")["scalars"] == pytest.approx([50.0])
    for frame in range(1, LEAST_FOR_RATE - 1):
        assert "rate/frames" not in entities(whole(live, frame))
    told = components(whole(live, LEAST_FOR_RATE - 1), "rate/frames")
    assert told["scalars"] == pytest.approx([1.0])
    (drawn,) = live.drawn(first, 1000.12)
    assert drawn.frame == 0
    assert components(drawn, "latency/drawn")["scalars"] == pytest.approx([120.0])


def test_a_snapshot_has_no_latency():
    live = Live()
    drawing = whole(live, 0, snapshot=True)
    assert not {"latency/published", "rate/frames"} & entities(drawing)
    (after,) = live.drawn(drawing, 2000.0)
    assert "latency/drawn" not in entities(after)


def test_statistics_become_series():
    (drawing,) = Live().take(statistics(3, DATA))
    values = {
        entity: components(drawing, entity)["scalars"][0]
        for entity in entities(drawing)
        if "scalars" in components(drawing, entity)
    }
    assert values == pytest.approx(
        {
            "populations/MoW": 2.0,
            "populations/VS": 1.0,
            "populations/V\\@Mo": 0.0,
            "populations/bound": 1.0,
            "populations/expected_vacancies": 1.75,
            "fractions/hole": 5.0,
            "fractions/disordered": 12.5,
            "diffusion/D": 1e-3,
            "diffusion/low": 5e-4,
            "diffusion/high": 2e-3,
            "hops/rate": 0.02,
            "hops/low": 0.01,
            "hops/high": 0.05,
        }
    )


def test_a_species_line_has_its_colour_once():
    live = Live()
    (first,) = live.take(statistics(0, DATA))
    (second,) = live.take(statistics(1, DATA))
    (colour,) = components(first, "populations/VS")["colors"]
    assert colour_of(colour)[:7] == style_of("VS")[0]
    assert second.static == ()


def test_the_matrix_shows_every_probability_in_its_place():
    (drawing,) = Live().take(statistics(3, DATA))
    assert components(drawing, "transitions/numbers")["labels"] == [
        "90", "10", "0", "25", "74", "1", "-", "-", "-"
    ]  # fmt: skip
    assert components(drawing, "transitions/names")["labels"] == ["MoW", "VS/0", "VS/1"] * 2


def test_the_graph_has_the_states_and_their_likelier_steps():
    (drawing,) = Live().take(statistics(3, DATA))
    graph = components(drawing, "states")
    assert graph["node_ids"] == ["MoW", "MoW+VS/0", "MoW+VS/1"]
    edges = [(edge["first"], edge["second"]) for edge in graph["edges"]]
    assert edges == [("MoW", "MoW+VS/0"), ("MoW+VS/0", "MoW")]


def test_every_class_has_its_image():
    (drawing,) = Live().take(statistics(3, DATA))
    assert components(drawing, "classes/names")["labels"] == ["0  VS  50%", "1  VS  50%"]
    assert "classes/images" in entities(drawing)


def test_statistics_that_tell_nothing_draw_nothing_but_the_numbers():
    (drawing,) = Live().take(statistics(3, {}))
    assert entities(drawing) == {"status"}


def test_the_end_of_a_stream_is_told_at_the_last_frame():
    live = Live()
    whole(live, 5)
    (drawing,) = live.take(statistics(6, {**DATA, "ended": True}, time_s=0.0))
    assert (drawing.frame, drawing.time_s) == (5, 2.5)
    assert "frame 5: 4 counted, 1 missing; ended" in components(drawing, "status")["text"][0]


def test_alerts_and_changes_of_health_are_logged():
    live = Live()
    alert = Alert(rule="hole_fraction > 0.05", text="0.07", severity="critical", **common(4))
    (drawing,) = live.take(through_the_wire(alert))
    logged = components(drawing, "alerts")
    assert (drawing.frame, logged["text"], logged["level"]) == (
        4, ["hole_fraction > 0.05: 0.07"], ["CRITICAL"]
    )  # fmt: skip
    assert live.take(Health(state="ok")) == []
    sick = Health(state="degraded", values={"disagreeing": {"s": "labels say no"}})
    (drawing,) = live.take(sick)
    assert "labels say no" in components(drawing, "alerts")["text"][0]
    assert live.take(sick) == []


def test_what_the_memory_test_says_is_logged_when_it_changes():
    live = Live()

    def told(frame, verdict):
        data = {**DATA, "transitions": {**DATA["transitions"], "memory": {"verdict": verdict}}}
        (drawing,) = live.take(statistics(frame, data))
        return components(drawing, "alerts").get("text")

    assert told(0, "too few steps") == ["transitions: too few steps"]
    assert told(1, "too few steps") is None
    assert told(2, "it depends") == ["transitions: it depends"]


def test_the_first_stream_heard_is_shown_and_the_others_are_counted():
    live = Live()
    whole(live, 0)
    assert live.take(defects(1, stream="other")) == []
    assert live.stream == "s"
    assert live.losses.other_streams == 1


def test_what_is_not_drawn_is_told_on_the_screen():
    live = Live()
    live.take(overlay(0))
    live.take(replace(overlay(1), missed=3))
    live.take(replace(defects(1), missed=3))
    (drawing,) = live.take(statistics(1, DATA))
    assert live.losses.unpaired == 1
    assert "6 missed, 1 unpaired" in components(drawing, "status")["text"][0]


def test_a_service_with_other_data_begins_a_new_session():
    live = Live()
    whole(live, 9)
    assert not live.begins_anew(overlay(10, run=6))  # the same session, resumed
    assert live.begins_anew(overlay(0, run=6))
    assert not live.begins_anew(overlay(0, run=6, stream="other"))


def test_the_fourier_plane_is_drawn_once_a_second():
    live = Live()
    frames = [whole(live, k, published_s=1000.0 + 0.3 * k) for k in range(8)]
    after = [live.drawn(frame, 1100.0)[0] for frame in frames]
    assert ["spectrum/image" in entities(drawing) for drawing in after] == [
        True, False, False, False, True, False, False, False
    ]  # fmt: skip


def test_a_viewer_that_keeps_up_leaves_nothing_out():
    batch = [make(k) for k in range(4) for make in (overlay, defects)]
    assert left_to_draw(batch, batch[0].published_s + 0.9 * BEHIND_S) == (batch, 0)


def test_a_viewer_that_was_stopped_draws_the_newest_and_every_alert():
    alert = through_the_wire(Alert(rule="r", text="t", **common(2)))
    batch = [make(k) for k in range(20) for make in (overlay, defects)] + [alert, overlay(20)]
    kept, skipped = left_to_draw(batch, batch[0].published_s + 30.0)
    assert [message.frame for message in kept] == [19, 19, 2, 20]
    assert skipped == 19
