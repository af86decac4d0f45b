"""Alerts from frame to script: live, replayed and resumed sessions raise the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from latticewatch.alerting import Watch, parse_rule
from latticewatch.alerting.quantities import Names
from latticewatch.cli import main
from latticewatch.client import Alert, QueryClient, Statistics, Subscriber
from latticewatch.client.publisher import Publisher
from latticewatch.metrics import Metrics
from latticewatch.processes import running_service, until_subscribed
from latticewatch.storage.session import Session
from latticewatch_models.microscope import Microscope

FRAMES, EMPTY = 14, 6
WAIT_S = 60.0

#: Counts go up and down over a movie, so that most of these are raised and ended.
RULES = (
    "population of VS > 3", "population of VS > 6 for 2 frames", "population of MoW < 9",
    "diffusion > 0.0001", "missing_in_a_row > 0", "hole_fraction > 0.9", "segmenter_disagreement",
)  # fmt: skip
GIVEN = [part for rule in RULES for part in ("--alert", rule)]

SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "blank_beam.py"


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """Frames of which one shows nothing."""
    path = tmp_path_factory.mktemp("movie") / "movie.npy"
    images = [frame.image for frame in Microscope("WS2", (160, 160), seed=9).frames(FRAMES)]
    images[EMPTY] = np.full_like(images[EMPTY], 7)
    np.save(path, np.stack(images))
    return path


@pytest.fixture(scope="module")
def replayed(movie, tmp_path_factory):
    out = tmp_path_factory.mktemp("replay") / "out"
    config = out.with_suffix(".toml")
    config.write_text(f"[alerts]\nrules = {list(RULES)}\n")
    calibration = ["--pixel-size", "0.03", "--frame-time", "2.25", "--config", str(config)]
    assert main(["analyze", str(movie), "--out", str(out), *calibration]) == 0
    return out


def alerts(folder) -> list[dict]:
    with Session.open_read(folder) as session:
        return session.alerts()


def send(publisher: Publisher, movie) -> None:
    for number, image in enumerate(np.load(movie)):
        publisher.send(image, time_s=2.25 * number, pixel_size_nm=0.03, frame_time_s=2.25)


def crossings(holds: list[bool | None]) -> list[tuple[int, bool]]:
    """Frames at which a condition comes true and ceases; None: nothing is known."""
    told, state = [], False
    for frame, now in enumerate(holds):
        if now is not None and now != state:
            told.append((frame, state := now))
    return told


def test_alerts_are_what_the_defect_table_says(replayed):
    with Session.open_read(replayed) as session:
        table, rows, said = session.defects(), session.frames(), session.alerts()
        summary = session.statistics()["alerts"]
    assert [row["status"] for row in rows].index("rejected") == EMPTY
    used = [frame != EMPTY for frame in range(FRAMES)]

    def raised(rule):
        return [(row["frame"], row["active"]) for row in said if row["rule"] == rule]

    def counted(species):
        at = [
            int((table.species[table.frame == frame] == species).sum()) for frame in range(FRAMES)
        ]
        return [count if use else None for count, use in zip(at, used, strict=True)]

    vacancies, dopants = counted("VS"), counted("MoW")
    above = [None if count is None else count > 3 for count in vacancies]
    few = [None if count is None else count < 9 for count in dopants]
    assert raised(RULES[0]) == crossings(above) != []
    assert raised(RULES[2]) == crossings(few)
    assert raised("missing_in_a_row > 0") == [(EMPTY, True), (EMPTY + 1, False)]
    assert raised("hole_fraction > 0.9") == []
    for row in said:
        if row["rule"] == RULES[0]:
            assert row["values"]["value"] == vacancies[row["frame"]]
    assert summary["raised"] == {rule: sum(on for _, on in raised(rule)) for rule in RULES}
    last = {rule: raised(rule)[-1][1] for rule in RULES if raised(rule)}
    assert [one["rule"] for one in summary["active"]] == [rule for rule in last if last[rule]]


def test_a_live_session_tells_subscribers_and_a_script_what_its_replay_does(
    movie, replayed, tmp_path
):
    expected = alerts(replayed)
    count = sum(row["active"] for row in expected)
    with running_service(tmp_path, *GIVEN) as (_, ports):
        command = [sys.executable, str(SCRIPT), ports["results"], "--alerts", str(count)]
        topics = ("alert", "defects", "statistics", "health")
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as script,
            Subscriber(ports["results"], "live", topics) as results,
            Publisher(ports["frames"], "live") as publisher,
        ):
            assert script.stdout.readline() == "watching\n"
            until_subscribed(results, WAIT_S)
            send(publisher, movie)
            publisher.end()
            assert publisher.flush(WAIT_S)
            messages = [results.receive(WAIT_S)]
            while not (isinstance(messages[-1], Statistics) and messages[-1].data["ended"]):
                messages.append(results.receive(WAIT_S))
            said, _ = script.communicate(timeout=WAIT_S)
        # whoever comes late learns of all that is raised from the last alert alone
        with Subscriber(ports["results"], "live", ("alert",)) as late:
            snapshot = late.receive(WAIT_S)
        asked = QueryClient(ports["queries"], WAIT_S).ask("alerts", stream="live", first=2)
    told = [message for message in messages if isinstance(message, Alert)]
    assert alerts(tmp_path / "live") == expected
    assert asked["alerts"] == [row for row in expected if row["frame"] >= 2]
    for message, row in zip(told, expected, strict=True):
        assert message.values["committed_s"] <= message.published_s
        own = {**message.values}
        del own["committed_s"]
        assert (message.frame, message.rule, message.active) == (
            row["frame"], row["rule"], row["active"],
        )  # fmt: skip
        assert (message.text, own) == (row["text"], row["values"])
    places = [(m.frame, m.kind != "alert") for m in messages if m.kind in ("alert", "defects")]
    assert places == sorted(places)  # a frame's alerts go before its defects
    assert snapshot.snapshot
    active = [one["rule"] for one in messages[-1].data["alerts"]["active"]]
    assert snapshot.values["active_rules"] == active
    assert script.returncode == 0
    blanked = re.findall(r"frame (\d+): .*: beam blanked [\d.]+ ms after", said)
    assert [int(frame) for frame in blanked] == [row["frame"] for row in expected if row["active"]]


def test_a_killed_service_goes_on_and_raises_what_its_replay_does(movie, replayed, tmp_path):
    with running_service(tmp_path, *GIVEN) as (service, ports):
        publisher = Publisher(ports["frames"], "live", ack_timeout_s=1.0)
        with publisher:
            with Subscriber(ports["results"], "live", ("defects",)) as results:
                send(publisher, movie)
                while results.receive(WAIT_S).frame < FRAMES // 3:
                    pass
            service.kill()
            service.wait(10)
            with running_service(tmp_path, *GIVEN, "--frames", ports["frames"]) as (_, again):
                publisher.end()
                assert publisher.flush(WAIT_S)
                with Subscriber(again["results"], "live", ("alert",)) as late:
                    assert late.receive(WAIT_S).values["active_rules"]
    assert alerts(tmp_path / "live") == alerts(replayed)


def test_a_bad_rule_is_refused_before_anything_listens(capsys):
    assert main(["serve", "--alert", "hole_fracton > 0.05"]) == 1
    error = capsys.readouterr().err
    assert "write hole_fraction" in error
    assert error.count("\n") == 1


def test_metrics_count_alerts_by_rule():
    metrics = Metrics()
    rule = parse_rule("dose > 1", Names(), severity="critical")
    metrics.observe_alerts("s", Watch((rule,)))
    labels = {"stream": "s", "rule": "dose > 1", "severity": "critical"}

    def values():
        read = metrics.registry.get_sample_value
        return [read(f"latticewatch_{name}", labels) for name in ("alerts_total", "alert_active")]

    assert values() == [0, 0]
    alert = {"stream": "s", "rule": "dose > 1", "text": "", "severity": "critical"}
    for active, expected in ((True, [1, 1]), (False, [1, 0]), (True, [2, 1])):
        metrics.count_alert(Alert(**alert, active=active))
        assert values() == expected
