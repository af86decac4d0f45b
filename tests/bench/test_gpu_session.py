"""The session on a GPU: every step's command is one that can be given, and time is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import gpu
import gpu_session
import gpu_soak
from gpu_session import Step, main, run, steps

BENCHES = {"bench/gpu.py": gpu, "bench/gpu_soak.py": gpu_soak}
STEPS = steps(Path("out"), Path("python"))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_command_can_be_given(step):
    script, *arguments = step.arguments
    if script in BENCHES:
        BENCHES[script].parser().parse_args(arguments)
        return
    assert (script, arguments[0]) == ("-m", "pytest")
    collect = [sys.executable, *step.arguments, "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        collect, cwd=gpu_session.REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_time_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_session, "LEAST_S", 0.01)
    assert run(Step("late", "", ("-c", "pass"), 9.0), tmp_path, 0.0) == "left out: no time left"
    endless = Step("endless", "", ("-c", "print('begun'); import time; time.sleep(99)"), 0.5)
    assert run(endless, tmp_path, 99.0) == "cut off after 0 s"
    assert run(Step("bad", "", ("-c", "raise SystemExit(3)"), 9.0), tmp_path, 9.0) == (
        "failed (3) in 0 s"
    )


def test_the_steps_are_told_at_the_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_session, "cupy_trouble", lambda: ("", ""))
    made = [Step("one", "a thing", ("-c", "print('said')"), 60.0), Step("two", "", ("-c", ""), 9.0)]
    monkeypatch.setattr(gpu_session, "steps", lambda out, peer: made)
    assert main(["--out", str(tmp_path), "--only", "one"]) == 0
    assert (tmp_path / "one.txt").read_text() == "said\n"
    assert "| one | a thing | done in 0 s |" in (tmp_path / "steps.md").read_text()
    assert "two" not in capsys.readouterr().out


def test_without_a_gpu_nothing_is_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_session, "cupy_trouble", lambda: ("no CuPy", "install the cuda extra"))
    assert main(["--out", str(tmp_path / "new")]) == 1
    assert "no CuPy: install the cuda extra" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
