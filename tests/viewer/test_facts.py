from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.viewer.facts import Facts, read_facts
from latticewatch_models.crystal import CRYSTALS

STATES = ["MoW", "MoW+VS/0"]
LABELS = {
    "states": STATES,
    "probabilities": [[0.9, 0.1], [0.4, 0.6]],
    "low": [[0.8, 0.05], [0.3, 0.5]],
    "high": [[0.95, 0.2], [0.5, 0.7]],
}


def test_what_an_empty_tracker_says_is_read():
    said = Tracker(TrackerSettings(), CRYSTALS["WS2"]).statistics()
    facts = read_facts(said)
    assert facts.frames == 0
    assert facts.credible == said["credible"]
    assert facts.chain is None
    assert facts.diffusion is None
    assert facts.classes == ()


def test_nothing_is_known_of_nothing():
    assert read_facts({}) == Facts()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
KEYS = (
    "frames", "populations", "states", "fractions", "fusion", "diffusion", "transitions", "classes",
    "lattice", "calibration", "credible", "ended",
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), PLAIN))
def test_odd_values_are_left_out(data):
    facts = read_facts(data)
    numbers = (facts.expected_vacancies, facts.density, facts.constant_px)
    assert all(value is None or np.isfinite(value) for value in numbers)


def test_the_states_behind_the_labels_are_preferred():
    hidden = {**LABELS, "probabilities": [[0.99, 0.01], [0.02, 0.98]]}
    chain = read_facts({"transitions": {**LABELS, "hidden": hidden}}).chain
    assert chain.hidden
    assert chain.probabilities[1, 1] == pytest.approx(0.98)


@pytest.mark.parametrize("hidden", [None, {}, {**LABELS, "probabilities": [[None] * 2] * 2}])
def test_labels_are_taken_where_nothing_is_told_behind_them(hidden):
    chain = read_facts({"transitions": {**LABELS, "hidden": hidden}}).chain
    assert not chain.hidden
    assert chain.probabilities[1, 0] == pytest.approx(0.4)
    assert chain.states == ("MoW", "MoW+VS/0")


def test_a_row_that_was_never_left_is_unknown():
    rows = {**LABELS, "probabilities": [[0.9, 0.1], [None, None]]}
    chain = read_facts({"transitions": rows}).chain
    assert np.isnan(chain.probabilities[1]).all()
