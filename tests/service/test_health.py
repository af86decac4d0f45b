"""What a service says of itself."""

from __future__ import annotations

import pytest

from latticewatch.agreement import Counts
from latticewatch.health import TOLD_FALLS, disagreeing, health
from latticewatch.receiving.ingest import IngestCounters
from latticewatch.standing import Check, Standing
from latticewatch_models.runtime import Fall

WELL = {"cuda:0": {"providers": ["cuda", "cpu"], "arrays": "cuda:0", "streams": ["a"], "lost": ""}}
LOST = {"cuda:0": {**WELL["cuda:0"], "lost": "unknown error"}}
QUIET = {"unavailable": {}, "disagreeing": {}, "self_training": {}}
FALL = Fall("cuda", "cpu", "out of memory", 0.0)


@pytest.mark.parametrize(
    ("devices", "falls", "found", "state"),
    [
        (WELL, [], QUIET, "ok"),
        (LOST, [], QUIET, "degraded"),
        (WELL, [FALL], QUIET, "degraded"),
        (WELL, [], {**QUIET, "unavailable": {"a": "the disk is full"}}, "degraded"),
        (WELL, [], {**QUIET, "disagreeing": {"a": "agree on 0.5"}}, "degraded"),
        (WELL, [], {**QUIET, "self_training": {"a": {"state": "training"}}}, "ok"),
    ],
)
def test_what_is_not_well_is_told(devices, falls, found, state):
    message = health({"a": 3}, IngestCounters(), devices, falls, **found)
    assert message.state == state
    assert message.values["devices"] == devices
    assert message.values["streams"] == {"a": 3}
    assert message.values["fallen"] == ["cuda to cpu: out of memory"] * len(falls)
    for name, value in found.items():
        assert message.values[name] == value


def test_the_newest_falls_are_told_and_no_more_than_fit():
    falls = [Fall("cuda", "cpu", str(k), 0.0) for k in range(TOLD_FALLS + 5)]
    told = health({}, IngestCounters(), WELL, falls, **QUIET).values["fallen"]
    assert (len(told), told[-1]) == (TOLD_FALLS, f"cuda to cpu: {TOLD_FALLS + 4}")


def test_streams_whose_agreement_is_low_are_named_with_numbers():
    checks = (Check(0, Counts(1, 9, 0)),)
    standings = {"well": Standing(checks), "bad": Standing(checks, 3, low=True)}
    assert list(disagreeing(standings, 0.85)) == ["bad"]
    assert "limit 0.85" in disagreeing(standings, 0.85)["bad"]
