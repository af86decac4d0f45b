"""The program as it is run: service, sender and subscribers in processes of their own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from latticewatch.processes import running, running_service
from latticewatch.storage.session import Session

COLLECTOR = Path(__file__).with_name("collector.py")
FRAMES = 500
JOIN_AT = 250


@contextlib.contextmanager
def collector(endpoint: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(COLLECTOR), endpoint, "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def rows_until(process: subprocess.Popen[str], wanted) -> list[dict]:
    rows = []
    for line in process.stdout:
        rows.append(json.loads(line))
        if wanted(rows[-1]):
            return rows
    raise AssertionError(f"the subscriber ended after {len(rows)} messages")


def of_kind(rows: list[dict], kind: str) -> list[dict]:
    return [row for row in rows if row["kind"] == kind]


@pytest.mark.timeout(180)
def test_500_frames_through_four_processes(tmp_path):
    data = tmp_path / "data"
    with (
        running_service(data) as (_, ports),
        collector(ports["results"]) as first,
    ):
        rows = rows_until(first, lambda row: row["kind"] == "health")
        source = ("send", "--simulate", "--frames", str(FRAMES), "--size", "128", "--seed", "5")
        with running(*source, "--stream", "run", "--to", ports["frames"], pipe=True) as sender:
            rows += rows_until(
                first, lambda row: row["kind"] == "defects" and row["frame"] >= JOIN_AT
            )
            with collector(ports["results"]) as second:
                rows += rows_until(first, lambda row: row.get("data", {}).get("ended"))
                late = rows_until(second, lambda row: row.get("data", {}).get("ended"))
            summary = sender.stdout.read()
            assert sender.wait(30) == 0, summary
    assert f"sent {FRAMES} frames: {FRAMES} acknowledged, 0 refused, 0 unanswered" in summary

    published = of_kind(rows, "defects")
    assert [row["frame"] for row in published] == list(range(FRAMES))
    assert all(row["missed"] == 0 for row in rows)
    assert sum(row["defects"] for row in published) > FRAMES

    joined = of_kind(late, "defects")
    assert joined[0]["snapshot"]
    assert joined[0]["frame"] >= JOIN_AT
    frames = [row["frame"] for row in joined]
    assert frames == list(range(frames[0], FRAMES))
    assert of_kind(late, "statistics")[0]["snapshot"]

    assert late[-1]["data"] == rows[-1]["data"]
    assert rows[-1]["data"]["frames"] == FRAMES
    assert json.loads((data / "run" / "statistics.json").read_text()) == rows[-1]["data"]
    with Session.open_read(data / "run") as session:
        stored = session.frames()
        assert [row["frame"] for row in stored] == list(range(FRAMES))
        assert {row["status"] for row in stored} == {"ok"}
        assert len(session.defects()) == sum(row["defects"] for row in published)


@pytest.mark.timeout(120)
def test_the_headless_demo_reports_what_it_found(tmp_path):
    with running("demo", "--headless", "--frames", "24", "--rate", "12", pipe=True) as demo:
        text = demo.stdout.read()
        assert demo.wait(60) == 0, text
    table = {
        words[0]: words[1:]
        for words in (line.split() for line in text.splitlines())
        if len(words) == 6
    }
    for species in ("MoW", "VW"):
        _, _, _, precision, recall = table[species]
        assert float(precision) >= 0.9
        assert float(recall) >= 0.9
    for piece in ("found against true", "classes", "transitions", "from send to subscriber"):
        assert piece in text
