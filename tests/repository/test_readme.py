"""What README promises is what CI runs and what the command line offers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from latticewatch.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def shell_blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)


def test_ci_calls_the_second_command():
    command = shell_blocks()[1].strip()
    assert command.endswith("-m pytest -n 2 --dist loadfile")
    assert "\n" not in command
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_first_command_is_one_line_and_runs_the_demo():
    command = shell_blocks()[0].strip()
    assert command.endswith("latticewatch demo")
    assert "\n" not in command


def test_every_linked_file_is_there():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+?)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(command):
    if command == "train":
        pytest.importorskip("torch", reason="training needs torch")
    done = subprocess.run(
        [sys.executable, "-m", "latticewatch", command, "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"latticewatch {command}" in done.stdout.split("For example::")[1]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nonsense"], 2, "nonsense"),
        (["send"], 2, "--simulate"),
        (["send", "nowhere.npy"], 1, "no such file"),
        (["serve", "--config", "nowhere.toml"], 1, "nowhere.toml"),
        (["serve", "--frames", "tcp://0.0.0.0:7701", "--metrics", ""], 1, "loopback"),
        (["serve", "--model", "nowhere.onnx"], 1, "nowhere.onnx"),
    ],
)
def test_errors_are_one_line_with_their_status(tmp_path, arguments, status, words):
    done = subprocess.run(
        [sys.executable, "-m", "latticewatch", *arguments],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    if status == 1:
        assert done.stderr.count("\n") == 1


def test_a_missing_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "scipy", None)  # what import finds where it is not installed
    for module in [m for m in sys.modules if m.startswith(("latticewatch_models", "scipy."))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "latticewatch.sources.simulated", raising=False)
    assert main(["send", "--simulate", "--to", "tcp://127.0.0.1:9"]) == 1
    assert "pip install 'latticewatch[cpu]'" in capsys.readouterr().err
