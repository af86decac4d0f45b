"""Threads of a block do not get into each other's way: kernels on several threads of the host.

One thread after the other cannot show that a barrier is missing (`cuda_on_host.py`). Here four run
at the same time, and in the long form ThreadSanitizer looks on (Serebryany & Iskhodzhanov, WBIA
2009): it reports two accesses to one place, one of them a write, that no barrier orders. Blocks of
kernels whose threads work together follow each other, so that races between two such blocks do not
show; of all other kernels any two threads may meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latticewatch.analysis import Analyser
from latticewatch.devices.placement import Placement
from latticewatch_kernels import launch
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import Microscope
from latticewatch_models.runtime import Segmenter

from .watched import THREADS, watched

HERE = Path(__file__).parent

#: Long-form runs: the tests of the kernels take half a minute to a source when watched.
WATCHED_S = 1200.0


def together(host, sources: list[str]) -> set[str]:
    """Names of the kernels of sources whose threads work together."""
    return {name for source in sources for name in host.compiled(launch.code(source)).together}


def test_several_threads_compute_what_one_does(device_double, monkeypatch):
    """A whole frame: sums are in another order then, and nothing else may differ."""
    host = device_double.beside("cuda_on_host")
    segmenter = Segmenter(providers="cpu", threads=1)
    analyser = Analyser(segmenter, crystal=CRYSTALS["WS2"], placement=Placement(0))
    frame = Microscope("WS2", (128, 128), seed=1).acquire().image
    y, x = np.ogrid[:128, :128]
    frame = np.where((x - 30) ** 2 + (y - 40) ** 2 < 16**2, frame.min(), frame)
    alone = analyser(frame)
    host.ran.clear()
    with host.crew_of(THREADS):
        several = analyser(frame)
    for name, (ours, theirs) in numbers(several, alone):
        size = np.nanmax(np.abs(theirs), initial=0.0)
        np.testing.assert_allclose(ours, theirs, 0.0, 1e-9 * size, err_msg=name)
    sources = [path.stem for path in launch.SOURCES.glob("*.cu")]
    assert host.ran <= together(host, sources)
    assert len(host.ran) > 20, "a frame goes through most of them"


def numbers(found: Any, expected: Any, name: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Pairs of arrays and numbers of nested dataclasses, by name."""
    if is_dataclass(found):
        for part in fields(found):
            if part.name not in ("timings_ms", "computed"):
                both = getattr(found, part.name), getattr(expected, part.name)
                yield from numbers(*both, f"{name}.{part.name}")
    elif found is not None:
        yield name, (np.asarray(found), np.asarray(expected))


#: A block that adds, adds again, and asks for a rank.
PROBE = """
extern "C" __global__ void __launch_bounds__(TOGETHER) probe(
    const double *values, int number, double *results)
{
    double part = 0.0;
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        part += values[k];
    double total = summed(part);
    double twice = summed(2.0 * part);
    double middle = median([&](int k) { return values[k]; }, number, 0);
    if (threadIdx.x == 0) {
        results[0] = total;
        results[1] = twice;
        results[2] = middle;
    }
}
"""

#: Runs the probe without a barrier of `selection.cuh`, one after the other; of each tells how many
#: there are, whether leaving it out brought a report, and what was computed.
LEFT_OUT = """
import pathlib, re, sys
import numpy as np
import cuda_on_host
from kernels.watched import reports_in
from latticewatch_kernels import launch
folder, probe, *left_out = pathlib.Path(sys.argv[1]), *sys.argv[2:]
text = (launch.SOURCES / "selection.cuh").read_text("ascii")
barriers = [found.span() for found in re.finditer(r"__syncthreads\\(\\);", text)]
before = 0
for which in map(int, left_out):
    start, end = barriers[which] if which < len(barriers) else (0, 0)
    results = np.zeros(3)
    source = cuda_on_host.Source(text[:start] + ";" + text[end:] + probe if end else text + probe)
    source.run("probe", 1, 1, [np.arange(32.0), np.int32(32), results])
    reports = len(reports_in(folder))
    print(len(barriers), reports > before, *results)
    before = reports
"""

#: Barriers of `selection.cuh`.
BARRIERS = 7


@pytest.mark.parametrize(
    "left_out",
    [[BARRIERS, 1], pytest.param([BARRIERS, *range(BARRIERS)], marks=pytest.mark.long)],
    ids=["one", "each"],
)
def test_a_barrier_that_is_missing_is_reported(tmp_path, left_out):
    arguments = ["-c", LEFT_OUT, str(tmp_path), PROBE, *map(str, left_out)]
    done = watched(arguments, tmp_path, 100.0)
    assert done.status == 0, done.output
    whole, *lacking = done.output.splitlines()
    assert whole == f"{BARRIERS} False 496.0 992.0 15.5"
    for line in lacking:
        assert line.startswith(f"{BARRIERS} True"), done.output


#: Kernels that are wrong whatever the scheduling, by what is said of them.
FAULTY = {
    "others wait": """
extern "C" __global__ void __launch_bounds__(8) faulty(int *out)
{
    if (threadIdx.x == 1)
        return;
    __syncthreads();
    *out = 1;
}
""",
    "different barriers": """
extern "C" __global__ void __launch_bounds__(8) faulty(int *out)
{
    if (threadIdx.x == 1)
        __syncthreads();
    else
        *out = __syncthreads_count(1);
}
""",
    "does not say": """
extern "C" __global__ void faulty(int *out)
{
    *out = 1;
    __syncthreads();
}
""",
}


@pytest.mark.parametrize("said", FAULTY)
def test_barriers_that_not_all_reach(device_double, said):
    host = device_double.beside("cuda_on_host")
    source = host.Source(FAULTY[said])
    source.run("faulty", 1, 2, [np.zeros(1, np.int32)])
    with host.crew_of(2), pytest.raises(AssertionError, match=said):
        source.run("faulty", 1, 2, [np.zeros(1, np.int32)])


#: Runs tests, then tells which kernels several threads have run.
RUN_TESTS = """
import sys
import pytest
import cuda_on_host
status = pytest.main(sys.argv[1:])
print("ran", *sorted(cuda_on_host.ran))
sys.exit(status)
"""


@pytest.mark.long
@pytest.mark.timeout(WATCHED_S + 60.0)
def test_no_kernel_races(device_double, tmp_path):
    """Tests of all kernels, and a frame through them, while ThreadSanitizer looks on."""
    tests = sorted(
        str(path)
        for path in HERE.glob("test_*.py")
        if "device_double" in path.read_text() and path != Path(__file__)
    )
    tests.append(f"{__file__}::{test_several_threads_compute_what_one_does.__name__}")
    options = ["-q", "-p", "no:cacheprovider", "-o", "timeout=600", "-k", "not compiles"]
    done = watched(["-c", RUN_TESTS, *options, *tests], tmp_path, WATCHED_S)
    assert done.status == 0, done.output
    assert not done.reports, "".join(done.reports)
    ran = set(done.output.splitlines()[-1].split()[1:])
    sources = [path.stem for path in launch.SOURCES.glob("*.cu")]
    assert ran == together(device_double.beside("cuda_on_host"), sources)
