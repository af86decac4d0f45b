"""What threads of one block find out together: ranks and medians to the last bit."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch_kernels import launch

from .guarded import drawn, seeds

#: One block that asks for everything, one after the other, of values in either precision.
PROBE = """
extern "C" __global__ void __launch_bounds__(TOGETHER) probe(
    const {number} *values, int number, int known, int rank, double *results)
{
    auto at = [=](int k) { return values[k]; };
    int further = rank + 1 < number;
    double median_of_all = median(at, number), found = ranked(at, number, rank);
    Two two = two_ranked(at, number, rank, further);
    auto known_at = [=](int k) { return k < known ? at(k) : ({number})BEYOND; };
    double partly = median_of(known_at, number, known);
    if (threadIdx.x == 0) {
        results[0] = median_of_all;
        results[1] = found;
        results[2] = two.first;
        results[3] = two.second;
        results[4] = partly;
    }
}
"""

#: Values that differ in their last bits, only in their first, not at all, and by their sign.
KINDS = {
    "normal": lambda rng, n: rng.normal(0.0, 3.0, n),
    "close": lambda rng, n: 1.0 + rng.integers(0, 90, n) * 2.0**-52,
    "few": lambda rng, n: rng.choice([-2.5, -1e-300, 0.0, 5e-324, 7.0, np.inf], n),
    "wide": lambda rng, n: rng.choice([-1.0, 1.0], n) * 10.0 ** rng.uniform(-300, 300, n),
    "equal": lambda rng, n: np.full(n, rng.normal()),
}


@pytest.fixture(scope="module")
def probe():
    text = (launch.SOURCES / "selection.cuh").read_text("ascii")
    probes = {
        kind: text + PROBE.replace("{number}", name)
        for kind, name in ((np.float32, "float"), (np.float64, "double"))
    }

    def asked(host, values: np.ndarray, known: int, rank: int) -> np.ndarray:
        results = np.zeros(5)
        plain = (np.int32(number) for number in (len(values), known, rank))
        source = host.compiled(probes[values.dtype.type])
        source.run("probe", 1, 1, [values, *plain, results])
        return results

    return asked


@drawn
@given(
    st.sampled_from(sorted(KINDS)), st.integers(1, 200), seeds, st.booleans(),
    st.sampled_from([1, 4]),
)  # fmt: skip
def test_ranks_and_medians(device_double, probe, kind, number, seed, of_single, threads):
    rng = np.random.default_rng(seed)
    values = KINDS[kind](rng, number)
    if of_single:
        values = np.clip(values, -3e38, 3e38).astype(np.float32)
    rank, known = int(rng.integers(0, number)), int(rng.integers(1, number + 1))
    host = device_double.beside("cuda_on_host")
    with host.crew_of(threads):
        found = probe(host, values, known, rank)
    values = values.astype(float)
    rising = np.sort(values)
    following = rising[min(rank + 1, number - 1)]
    expected = [np.median(values), rising[rank], rising[rank], following, np.median(values[:known])]
    np.testing.assert_array_equal(found, expected)


def test_nothing_and_ranks_that_are_none_come_to_an_end(device_double, probe):
    host = device_double.beside("cuda_on_host")
    for threads, kind in product((1, 4), (np.float32, np.float64)):
        with host.crew_of(threads):
            probe(host, np.zeros(0, kind), 0, 0)
            probe(host, np.arange(9, dtype=kind), 0, 40)
            assert probe(host, np.full(9, np.inf, kind), 9, 3)[0] == np.inf
