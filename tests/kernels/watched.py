"""Child processes in which ThreadSanitizer watches the CUDA C kernels on several threads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

#: Threads that run a kernel: a power of two, and enough to be two on either side of a barrier.
THREADS = 4

TESTS = Path(__file__).parents[1]


class Watched(NamedTuple):
    """How a child ended, what it said, and what ThreadSanitizer reported of kernels."""

    status: int
    output: str
    reports: list[str]


def reports_in(folder: Path) -> list[str]:
    """Reports of accesses by kernels; libraries that are not watched bring others."""
    text = "".join(path.read_text() for path in sorted(folder.glob("race.*")))
    return [report for report in text.split("=" * 18) if _by_kernels(report)]


def _by_kernels(report: str) -> bool:
    accesses, _, _ = report.partition("\n  Thread T")
    # a thread's own memory, freed by the one that got its stack
    return "(kernels_" in accesses and "dl_deallocate_tls" not in accesses


def watched(arguments: list[str], folder: Path, timeout_s: float) -> Watched:
    """Run Python with arguments, and reports in a folder; skip where nothing can be watched.

    The child may look at them, too (`reports_in`).
    """
    settings = {
        "LD_PRELOAD": _sanitizer(),
        # a race is told by its report, not by the status
        "TSAN_OPTIONS": f"exitcode=0 log_path={folder / 'race'}",
        "CUDA_ON_HOST_THREADS": str(THREADS),
        "CUDA_ON_HOST_WATCHED": "",
        "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
    }
    environment = os.environ | settings
    done = subprocess.run(
        [*_prefix(environment), sys.executable, *arguments], env=environment, cwd=TESTS.parent,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    return Watched(done.returncode, done.stdout, reports_in(folder))


def _sanitizer() -> str:
    """Path of ThreadSanitizer's library, which has to be there before Python is."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not on the PATH")
    asked = [compiler, "-print-file-name=libtsan.so"]
    path = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(path).is_absolute():
        pytest.skip("the compiler comes without ThreadSanitizer")
    return path


def _prefix(environment: dict[str, str]) -> list[str]:
    """What the sanitizer needs to start: some kernels lay memory out too much at random for it."""
    for prefix in ([], ["setarch", "-R"]):
        if not prefix or shutil.which(prefix[0]):
            done = subprocess.run(
                [*prefix, "true"], env=environment, capture_output=True, check=False
            )
            if done.returncode == 0:
                return prefix
    pytest.skip("ThreadSanitizer does not start here")
