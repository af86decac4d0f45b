"""Waits are told from what is only asked for, by the names that CUDA's calls have."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from accelerated import trace


def test_calls_are_told_apart():
    calls = {
        "cuda_runtime": (
            ["cudaLaunchKernel"] * 6 + ["cudaGraphLaunch"] * 4 + ["cudaMemcpyAsync"] * 3
            + ["cudaEventSynchronize"] * 2 + ["cudaStreamWaitEvent"] * 5 + ["cudaMemcpy"]
        ),
        "cuda_driver": ["cuStreamSynchronize", "cuLaunchKernel", "cuMemcpyDtoH_v2"],
        "kernel": ["folded_image"] * 8,
        "gpu_memcpy": ["Memcpy HtoD (Pinned -> Device)"] * 3,
        "cpu_op": ["cudaStreamSynchronize"],
    }  # fmt: skip
    events = [
        {"cat": kind, "name": name, "ts": 10.0 * which, "dur": 15.0}
        for kind, names in calls.items() for which, name in enumerate(names)
    ]  # fmt: skip
    counts = trace.counted([*events, {"ph": "M"}], 2)
    assert counts.waits == {
        "cudaEventSynchronize": 1.0, "cudaMemcpy": 0.5, "cuStreamSynchronize": 0.5,
        "cuMemcpyDtoH_v2": 0.5,
    }  # fmt: skip
    assert (counts.graphs, counts.kernels, counts.moves) == (2.0, 4.0, 1.5)
    assert counts.text().startswith("  trace of a frame: waits cuMemcpyDtoH_v2 0.5, cuStream")
    # kernels are busy from 0 to 85, copies within that
    assert counts.busy == 42.5
    assert counts.shares == (
        trace.Share("folded_image", 4.0, 60.0),
        trace.Share("Memcpy HtoD (Pinned -> Device)", 1.5, 22.5),
    )
    assert "60.00 us      4 x folded_image" in counts.text()
    assert counts.calls[0] == trace.Share("cudaLaunchKernel", 3.0, 45.0)
