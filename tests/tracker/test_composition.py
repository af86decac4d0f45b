"""What a class is made of, and whether that is one thing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import View, detect, info, make_specimen

from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.tracker.composition import PURE, as_one, composition
from latticewatch.tracker.species import UNKNOWN, class_posterior, host_heights, readings
from latticewatch_models.crystal import crystal_named

WS2 = crystal_named("WS2")
TABLE = readings(WS2, host_heights(WS2, 0.148), 0.1)


@given(
    st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).filter(lambda v: sum(v) > 0.1),
    st.lists(st.floats(-0.5, 3.0), min_size=3, max_size=3),
    st.floats(0.0, 1.0),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_parts_add_up_to_one_and_follow_the_looks(weight, mean, part, read):
    shares, error = np.array(weight) / sum(weight), np.full((1, 3), 0.02)
    posterior = class_posterior(TABLE, shares[None], np.array([mean]), error, error)[0]
    looks = [{"MoW": part, "VW": (1 - part) / 2} if read else None, None, None]
    found = composition(TABLE, posterior, shares, looks)
    assert sum(found.values()) == pytest.approx(1.0)
    assert [*found.values()] == sorted(found.values(), reverse=True)
    if read:
        assert found["MoW"] == pytest.approx(shares[0] * part)
        assert found["VW"] == pytest.approx(shares[0] * (1 - part) / 2)
    for site in range(1 if read else 0, 3):
        # all members there are taken for one thing: the likeliest, by Bayes' rule
        odds = dict.fromkeys(TABLE.names, 0.0)
        for entry in np.flatnonzero(TABLE.sublattice == site):
            odds[TABLE.names[TABLE.code[entry]]] += posterior[1 + entry]
        odds[UNKNOWN] += shares[site] - sum(odds.values())
        likeliest = max(odds, key=odds.get)
        assert found.get(likeliest, 0.0) >= shares[site] - 1e-9


def test_what_is_mostly_one_thing_is_that_and_nothing_else_is():
    told = {"VW": 0.8, "MoW": 0.2}
    assert as_one(told, {"VW": PURE, "MoW": 1 - PURE}) == told
    assert as_one(told, {"VW": PURE - 0.01, "MoW": 1.01 - PURE}) == {UNKNOWN: 1.0}
    # named after the lesser part
    assert as_one(told, {"MoW": 0.9, "VW": 0.1}) == {UNKNOWN: 1.0}
    assert as_one({}, {UNKNOWN: 1.0}) == {UNKNOWN: 1.0}
    odd = {UNKNOWN: 0.6, "MoW": 0.4}
    assert as_one(odd, {"MoW": 0.9}) == odd


@pytest.mark.parametrize("classes", [2, 3])
def test_dopants_and_vacancies_in_one_class_are_unknown_and_apart_they_are_named(classes):
    specimen, rng = make_specimen(5, counts=(16, 12, 8, 0)), np.random.default_rng(3)
    tracker = Tracker(TrackerSettings(classes=classes, warm_up=200), WS2)
    for frame in range(14):
        tracker.apply(info(frame), detect(specimen, View(noise=0.01), rng))
    told = tracker.statistics()["classes"]
    assert {c["species"] for c in told} == (
        {UNKNOWN, "VS"} if classes == 2 else {"VW", "MoW", "VS"}
    )
    if classes == 2:
        both = next(c for c in told if c["species"] == UNKNOWN)
        metal = [*specimen.metal.values()]
        assert both["posterior"] == {UNKNOWN: 1.0}
        assert both["composition"]["MoW"] == pytest.approx(
            metal.count("MoW") / len(metal), abs=0.05
        )
        assert both["composition"]["VW"] == pytest.approx(metal.count("VW") / len(metal), abs=0.05)
        assert both["held"]["MoW"] == both["composition"]["MoW"]
