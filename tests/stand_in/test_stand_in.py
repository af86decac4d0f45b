"""CuPy itself runs what is for a GPU, on a CUDA runtime that is played on the host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from latticewatch_models.microscope import Microscope

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]

#: Tests that are for a GPU, and the stages one by one.
ON_A_GPU = (
    ("tests/gpu", "-m", "gpu"),
    ("tests/kernels", "--on-gpu", "-k", "resident or selection or packing"),
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


@pytest.fixture(scope="module")
def analyse(run, tmp_path_factory):
    """Analyses a movie on a device that is lost when asked so often; gives its defects and log."""
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path_factory.mktemp("movie")
    movie, config = folder / "movie.npy", folder / "recorded.toml"
    np.save(movie, np.stack([f.image for f in Microscope("WS2", (128, 128), 3).frames(10)]))
    config.write_text("[analysis]\nrecord = true\n")

    def analysed(name: str, **setting: str):
        out = folder / name
        command = [run, sys.executable, "-m", "latticewatch", "analyze", movie, "--out", out]
        command += ["--device", "cuda:0", "--config", config, "--pixel-size", "0.03"]
        done = subprocess.run(
            command, env={**os.environ, **setting}, stderr=subprocess.PIPE, text=True, check=True
        )
        return parquet.read_table(out / "defects.parquet").to_pydict(), done.stderr

    return analysed


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("asked", [50, 400, 800, 1000])
def test_a_device_that_is_lost_loses_no_frame(analyse, asked):
    """Whatever it was at: the first frame, one that is recorded, one that starts what was."""
    expected, _ = analyse(f"whole {asked}")
    found, log = analyse(f"lost {asked}", STAND_IN_LOST=f"0:{asked}")
    assert "goes from cuda:0 to host" in log
    assert "not used" not in log
    for name in ("frame", "track", "species", "site_i", "site_j"):
        assert found[name] == expected[name], name
    np.testing.assert_allclose(found["x_px"], expected["x_px"], atol=1e-3)
