"""Time AtomAI's SegPredictor and Locator on given frames, in an environment of its own.

``python bench/peers/run_atomai.py --venv DIR --frames FRAMES.npy`` prints one line of JSON on
standard output. DIR is created and filled when it is missing (about 1.6 GB with a CPU build of
torch; nothing is shared with latticewatch's own environment). When AtomAI cannot be had, the last
line on standard error is the reason and the exit status is 1, so that the caller can print
'not measured: reason'. This file needs the standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import re
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements-atomai.txt"
ATOMAI = "atomai==0.8.1"
#: Long enough for 1.6 GB over a slow line; a pip that hangs must not hang the benchmark.
INSTALL_TIMEOUT_S = 1800
#: 60 frames of 512 x 512 take about a minute on two cores, both ways; ten times that is a hang.
MEASURE_TIMEOUT_S = 900


class PeerError(RuntimeError):
    """AtomAI could not be installed or did not run; the message is one line."""


def _run(command: list[str | Path], purpose: str, timeout_s: float) -> str:
    """Run a command and return its standard output; its log goes to standard error."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PeerError(f"{purpose} took longer than {timeout_s:.0f} s") from None
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.upper().startswith("ERROR")] or lines
        raise PeerError(f"{purpose} failed: {errors[-1] if errors else 'no message'}")
    return done.stdout


def _python(folder: Path) -> Path:
    windows = folder / "Scripts" / "python.exe"
    return windows if sys.platform == "win32" else folder / "bin" / "python"


def _refuse_cuda_build(python: Path) -> None:
    """Stop before pip downloads gigabytes of CUDA.

    On x86-64 Linux the plain build of torch on the public registry is the CUDA one; a CPU build is
    told by ``+cpu`` in its version, and pip prefers it where both are within its reach.

    Raises
    ------
    PeerError
        Only a CUDA build of the pinned torch is within pip's reach.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return
    pinned = re.search(r"^torch==(\S+)$", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)
    if pinned is None:
        raise PeerError(f"{REQUIREMENTS.name} pins no torch")
    # A dry run of the installation would tell the same, but pip downloads the wheels for it.
    look = [python, "-m", "pip", "index", "versions", "torch"]
    if f"{pinned[1]}+cpu" not in _run(look, "asking for the builds of torch", INSTALL_TIMEOUT_S):
        raise PeerError(
            f"pip finds only a CUDA build of torch {pinned[1]} (gigabytes): name a folder that "
            f"holds a CPU wheel of it in PIP_FIND_LINKS, or pass --allow-cuda"
        )


def prepare(folder: Path, *, allow_cuda: bool) -> Path:
    """Create and fill the environment unless it is complete, and return its interpreter.

    Parameters
    ----------
    folder
        Where the environment lies or is to lie.
    allow_cuda
        Install a CUDA build of torch where pip finds no other.

    Raises
    ------
    PeerError
        pip failed, or would have installed a CUDA build that was not allowed.
    """
    python = _python(folder)
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + ATOMAI.encode()).hexdigest()
    complete = folder / "atomai-installed"
    if complete.is_file() and complete.read_text(encoding="ascii") == wanted and python.exists():
        return python
    # A folder that holds something but no environment is not ours to fill.
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file():
        raise PeerError(f"{folder} is not empty and is no virtual environment: name another folder")
    print(f"installing {ATOMAI} in {folder} (once, some minutes)", file=sys.stderr)
    venv.create(folder, with_pip=True)
    pip = [python, "-m", "pip", "install", "--quiet"]
    if not allow_cuda:
        _refuse_cuda_build(python)
    _run([*pip, "-r", REQUIREMENTS], "installing AtomAI's requirements", INSTALL_TIMEOUT_S)
    _run([*pip, "--no-deps", ATOMAI], "installing AtomAI", INSTALL_TIMEOUT_S)
    complete.write_text(wanted, encoding="ascii")
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, required=True, help="environment, made if missing")
    parser.add_argument(
        "--frames", type=Path, required=True, help=".npy of shape (n, rows, columns)"
    )
    parser.add_argument("--limit", type=int, default=40, help="frames to time (default 40)")
    parser.add_argument(
        "--peaks", type=float, help="peaks a frame to aim at (see atomai_timing.py)"
    )
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's own choice)")
    parser.add_argument("--allow-cuda", action="store_true", help="accept a CUDA build of torch")
    given = parser.parse_args()
    command: list[str | Path] = [HERE / "atomai_timing.py", given.frames.resolve()]
    for name in ("limit", "peaks", "threads"):
        if getattr(given, name) is not None:
            command += [f"--{name}", str(getattr(given, name))]
    if not given.frames.is_file():
        parser.error(f"{given.frames} is no file: give an .npy of shape (n, rows, columns)")
    try:
        python = prepare(given.venv.resolve(), allow_cuda=given.allow_cuda)
        result = _run([python, *command], "timing AtomAI", MEASURE_TIMEOUT_S)
    except (PeerError, OSError) as error:
        print(str(error).replace("\n", " "), file=sys.stderr)
        return 1
    print(result.strip().splitlines()[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
