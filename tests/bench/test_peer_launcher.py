"""What the bench sees of its peer: one line of JSON, or one line that says why not."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).resolve().parents[2] / "bench/peers/run_atomai.py"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")


def launch(folder: Path, frames: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(LAUNCHER), "--venv", str(folder), "--frames", str(frames)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    path = tmp_path / "frames.npy"
    path.touch()
    return path


def complete_environment(folder: Path, script: str) -> Path:
    """An environment that says it is filled, whose interpreter is a shell script."""
    python = folder / "bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    requirements = LAUNCHER.with_name("requirements-atomai.txt").read_bytes()
    wanted = hashlib.sha256(requirements + b"atomai==0.8.1").hexdigest()
    (folder / "atomai-installed").write_text(wanted)
    return folder


def test_prints_the_last_line_alone(tmp_path: Path, frames: Path) -> None:
    folder = complete_environment(tmp_path / "venv", """echo noise; echo '{"frames": 3}'""")
    done = launch(folder, frames)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"frames": 3})


def test_a_failure_is_one_line_at_the_end_of_standard_error(tmp_path: Path, frames: Path) -> None:
    folder = complete_environment(
        tmp_path / "venv", "echo start >&2; echo 'ERROR: no such wheel' >&2; echo bye >&2; exit 3"
    )
    done = launch(folder, frames)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "timing AtomAI failed: ERROR: no such wheel"


def test_leaves_a_folder_alone_that_is_no_environment(tmp_path: Path, frames: Path) -> None:
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "data").touch()
    done = launch(folder, frames)
    assert done.returncode == 1
    assert "is no virtual environment" in done.stderr.splitlines()[-1]
    assert [path.name for path in folder.iterdir()] == ["data"]


def test_an_interpreter_that_is_given_is_asked_for_the_gpu(tmp_path: Path, frames: Path) -> None:
    python = tmp_path / "python"
    python.write_text("""#!/bin/sh\necho "{\\"asked\\": \\"$*\\"}"\n""")
    python.chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(LAUNCHER), "--python", str(python), "--frames", str(frames), "--gpu"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["asked"].endswith("--limit 40 --gpu")


def test_missing_frames_are_misuse(tmp_path: Path) -> None:
    done = launch(tmp_path / "venv", tmp_path / "none.npy")
    assert done.returncode == 2
    assert not (tmp_path / "venv").exists()
