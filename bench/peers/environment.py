"""An environment of its own for AtomAI (and scikit-image, which it needs): made once, then kept.

Nothing is shared with latticewatch's own environment. This file needs the standard library only.
"""

from __future__ import annotations

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


class PeerError(RuntimeError):
    """AtomAI could not be installed or did not run; the message is one line."""


def run(command: list[str | Path], purpose: str, timeout_s: float) -> str:
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
    if f"{pinned[1]}+cpu" not in run(look, "asking for the builds of torch", INSTALL_TIMEOUT_S):
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
    run([*pip, "-r", REQUIREMENTS], "installing AtomAI's requirements", INSTALL_TIMEOUT_S)
    run([*pip, "--no-deps", ATOMAI], "installing AtomAI", INSTALL_TIMEOUT_S)
    complete.write_text(wanted, encoding="ascii")
    return python
