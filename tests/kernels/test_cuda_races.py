"""Threads of a block do not get into each other's way: kernels on several threads of the host.

One thread after the other cannot show that a barrier is missing (`cuda_on_host.py`). Here four run
at the same time, and in the long form ThreadSanitizer looks on (Serebryany & Iskhodzhanov, WBIA
2009): it reports two accesses to one place, one of them a write, that no barrier orders. Blocks of
kernels whose threads work together follow each other, so that races between two such blocks do not
show; of all other kernels any two threads may meet.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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


#: Kernels that list what they find in any order.
ANY_ORDER = frozenset(["strong_sites"])

#: Those whose results hang on sums that are rounded part by part. On five frames they differed by
#: 3e-12 of their size at most, evidence far from a threshold, and by 2e-15 but for that.
ROUNDED = frozenset(
    [
        "columns_weighed",
        "mean_and_spread",
        "part_sums",
        "phase_missing",
        "phase_order",
        "phase_texture",
        "prepared",
        "row_shifts",
        "row_sums",
    ]
)
ROUNDING = 1e-10


def assert_alike(name: str, several: list[np.ndarray], one: list[np.ndarray]) -> None:
    """Hold what a kernel left in its arrays against what it leaves by one thread: the same bits."""
    for found, expected in zip(several, one, strict=True):
        if name in ANY_ORDER:
            np.testing.assert_array_equal(np.sort(found, None), np.sort(expected, None), name)
        elif name in ROUNDED:
            np.testing.assert_allclose(found, expected, ROUNDING, err_msg=name)
        else:
            assert found.tobytes() == expected.tobytes(), name


def test_several_threads_compute_what_one_does(device_double, monkeypatch):
    host = device_double.beside("cuda_on_host")
    alone, compared = host.Source.run, set()

    def both(self, name, blocks, threads, arguments):
        arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
        before, found = [array.copy() for array in arrays], []
        for crew in (THREADS, 1) if name in self.together else (1,):
            for array, values in zip(arrays, before, strict=True):
                array[...] = values
            with host.crew_of(crew):
                alone(self, name, blocks, threads, arguments)
            found.append([array.copy() for array in arrays])
        assert_alike(name, found[0], found[-1])
        compared.update([name] if len(found) > 1 else [])

    monkeypatch.setattr(host.Source, "run", both)
    analyser = Analyser(Segmenter(providers="cpu", threads=1), crystal=CRYSTALS["WS2"], check=True)
    # blocks of background are 35 x 39: neighbours in a row or a column are not of one thread
    frame = Microscope("WS2", (140, 156), seed=1).acquire().image
    y, x = np.ogrid[: frame.shape[0], : frame.shape[1]]
    frame = np.where((x - 30) ** 2 + (y - 40) ** 2 < 16**2, frame.min(), frame)
    replace(analyser, placement=Placement(0))(frame)
    assert compared >= together(host, [path.stem for path in launch.SOURCES.glob("*.cu")])


#: A block that adds, adds again, counts twice, and asks for a median and a rank.
PROBE = """
extern "C" __global__ void __launch_bounds__(TOGETHER) probe(
    const double *values, int number, double *results)
{
    double part = 0.0;
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        part += values[k];
    double total = summed(part);
    double twice = summed(2.0 * part);
    int all, others, before = found_before(1, &all) + found_before(2, &others);
    auto at = [&](int k) { return values[k]; };
    double middle = median(at, number), fourth = ranked(at, number, 3);
    if (threadIdx.x == 0) {
        results[0] = total;
        results[1] = twice;
        results[2] = middle;
        results[3] = fourth;
        results[4] = before + all + others;
    }
}
"""

#: Runs the probe without a barrier of `selection.cuh`, one after the other; of each tells how many
#: there are, whether leaving it out brought a report, and what was computed.
LEFT_OUT = """
import contextlib, pathlib, re, sys
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
    results = np.zeros(5)
    source = cuda_on_host.Source(text[:start] + ";" + text[end:] + probe if end else text + probe)
    # threads that do not see the same may part, which is a fault besides
    with contextlib.suppress(AssertionError) if end else contextlib.nullcontext():
        source.run("probe", 1, 1, [np.arange(32.0), np.int32(32), results])
    reports = len(reports_in(folder))
    print(len(barriers), reports > before, *results)
    before = reports
"""

#: Barriers of `selection.cuh`.
BARRIERS = 8


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
    assert whole == f"{BARRIERS} False 496.0 992.0 15.5 3.0 12.0"
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
    assert ran >= together(device_double.beside("cuda_on_host"), sources)
