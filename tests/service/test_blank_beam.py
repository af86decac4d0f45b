"""What the example script does with each kind of word, or with none; `test_alerts` runs it live."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import pytest

from latticewatch.client import Alert, Health

SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "blank_beam.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("blank_beam", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Words:
    """Stands for a Subscriber: these messages, then silence."""

    def __init__(self, *messages) -> None:
        self._messages = list(messages)

    def receive(self, timeout):
        if not self._messages:
            raise TimeoutError(timeout)
        return self._messages.pop(0)


def alert(**fields) -> Alert:
    return Alert(**{"stream": "s", "frame": 3, "rule": "holes", "text": "5 %", **fields})


@pytest.mark.parametrize(
    ("message", "severity", "blanks"),
    [
        (alert(values={"committed_s": 1.0}), "warning", True),
        (alert(severity="critical"), "critical", True),
        (alert(severity="info"), "warning", False),
        (alert(active=False), "info", False),
        (alert(snapshot=True), "warning", True),
        (alert(snapshot=True, active=False, values={"active_rules": ["dose"]}), "warning", True),
        (alert(snapshot=True, active=False, values={"active_rules": []}), "warning", False),
        (Health(), "info", False),
    ],
)
def test_the_beam_is_blanked_for_what_is_raised_and_grave_enough(script, message, severity, blanks):
    beam, before = script.SimulatedBeam(), []
    words = Words(Health(), message)
    receive = words.receive
    words.receive = lambda timeout: (before.append(beam.blanked), receive(timeout))[1]
    options = argparse.Namespace(severity=severity, alerts=1 if blanks else None)
    status = script.watch(words, beam, options)
    # the one alert ends the watch; without one it goes on into the silence
    assert (status, beam.blanked) == ((0, True) if blanks else (1, True))
    assert before == [False] * (2 if blanks else 3)


def test_a_silent_service_blanks_the_beam(script, capsys):
    beam = script.SimulatedBeam()
    status = script.watch(Words(Health()), beam, argparse.Namespace(severity="info", alerts=None))
    assert (status, beam.blanked) == (1, True)
    assert "no word" in capsys.readouterr().err


def test_a_reaction_is_timed_from_the_commit(script):
    told = script.reaction(alert(values={"committed_s": 100.0}), 100.0125)
    assert told == "frame 3: 5 %: beam blanked 12.5 ms after the frame's result"
    assert "there already" in script.reaction(alert(snapshot=True), 100.0)
