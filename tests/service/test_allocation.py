"""Freed memory is kept, in a process of its own since the setting is the process's."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from latticewatch.allocation import CHOSEN

GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's own setting")

#: Pages that are handed out anew while a thread makes and drops arrays as a frame's analysis does.
SCRIPT = """
import resource, sys, threading
import numpy as np
from latticewatch.allocation import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()

def frames(number):
    for _ in range(number):
        arrays = [np.ones((512, 512), np.float32) for _ in range(8)]

def work():
    frames(3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    frames(20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def pages(choice: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name not in CHOSEN}
    command = [sys.executable, "-c", SCRIPT, choice]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@GLIBC
def test_a_frame_finds_the_memory_of_the_one_before():
    assert pages("keep") < 0.1 * pages("leave")


@GLIBC
def test_the_environment_comes_first(monkeypatch):
    from latticewatch.allocation import keep_freed_memory

    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not keep_freed_memory()


def test_without_such_a_library_nothing_is_done(monkeypatch):
    from latticewatch import allocation

    for name in CHOSEN:
        monkeypatch.delenv(name, raising=False)

    def absent(_):
        raise OSError("no such library")

    monkeypatch.setattr(allocation.ctypes, "CDLL", absent)
    assert not allocation.keep_freed_memory()
