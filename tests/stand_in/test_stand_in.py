"""CuPy itself runs what is for a GPU, on a CUDA runtime that is played on the host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]

#: Tests that are for a GPU, and the stages one by one.
ON_A_GPU = (
    ("tests/gpu", "-m", "gpu"),
    ("tests/kernels", "--on-gpu", "-k", "resident or selection"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What puts CuPy on the stand-in before a command."""
    folder = tmp_path_factory.mktemp("stand_in")
    subprocess.run([sys.executable, HERE / "build.py", folder], check=True)
    return folder / "run"


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("chosen", ON_A_GPU, ids=lambda chosen: chosen[0])
def test_all_that_is_for_a_gpu_passes(run, chosen):
    command = [run, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    command += ["--timeout", "900"]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
