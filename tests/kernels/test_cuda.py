"""Every CUDA C source compiles for the GPUs that are served."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from latticewatch_kernels import launch

SOURCES = sorted(launch.SOURCES.glob("*.cu"))

#: Compute capabilities of the GPUs that CUDA 13 serves. Those between the first and the last run
#: what is compiled for the first; all are the long form, for each takes a second or two.
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 103, 110, 120, 121)

#: Bytes of registers that a kernel may spill: the most was 40, of the one that registers a frame,
#: and 72 where it is of several, whose arguments take registers.
MOST_SPILLED, MOST_SPILLED_OF_SEVERAL = 64, 96


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
@pytest.mark.parametrize(
    "architectures",
    [ARCHITECTURES[:: len(ARCHITECTURES) - 1], pytest.param(ARCHITECTURES, marks=pytest.mark.long)],
    ids=["oldest and newest", "all"],
)
def test_every_source_compiles(source, architectures, tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on the PATH")
    known = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True)
    if f"compute_{ARCHITECTURES[-1]}" not in known.stdout:
        pytest.skip("nvcc is older than CUDA 13, which the gpu extra is for")
    targets = [f"-gencode=arch=compute_{a},code=compute_{a}" for a in architectures]
    # the assembler tells of memory that a block may not share; one architecture stands for all
    targets.append(f"-gencode=arch=compute_{architectures[0]},code=sm_{architectures[0]}")
    done = subprocess.run(
        [nvcc, "-fatbin", "-Werror=all-warnings", "-fmad=false", *targets,
         "-o", tmp_path / "kernels.fatbin", source],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "kernels.fatbin").stat().st_size > 0


@pytest.mark.long
@pytest.mark.parametrize("several", [False, True], ids=["of a frame", "of several"])
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_registers_suffice(source, several, tmp_path):
    """What does not fit into registers goes to memory and back; a kernel says how much."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on the PATH")
    if several:
        whole = launch.code_abreast(source.stem)
        source = tmp_path / source.name
        source.write_text(whole, "ascii")
    done = subprocess.run(
        # where all is one text, not every function of it is called
        [nvcc, "-cubin", "-arch=sm_90", "-fmad=false", "-Xptxas", "-v", "-Werror=all-warnings",
         "-diag-suppress=177", "-o", tmp_path / "kernels.cubin", source],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    spills = [int(number) for number in re.findall(r"(\d+) bytes spill stores", done.stderr)]
    assert spills, done.stderr
    assert max(spills) <= (MOST_SPILLED_OF_SEVERAL if several else MOST_SPILLED)


def test_there_are_sources():
    named = [path.stem for path in SOURCES]
    assert len(named) == len(set(named)) > 0
    assert "search" in named
