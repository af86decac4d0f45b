"""The two floors under a frame's time: moving its bytes, and doing its operations."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from latticewatch_kernels.arrays import array_module, fetch, send, upload, wait

#: Side of the matrices whose product is timed: large enough to keep any GPU busy.
SIDE_GPU, SIDE_HOST = 8192, 1024
#: Bytes that are copied, beyond any cache.
COPIED = 1 << 28
REPEATS = 10


@dataclass(frozen=True)
class Floors:
    """Bandwidths in bytes a second, rates in operations a second; NaN where there is none."""

    up: float
    down: float
    inside: float
    float32: float
    float16: float

    def text(self) -> str:
        """Return one line."""
        gigabytes = ", ".join(
            f"{name} {value / 1e9:.1f}" for name, value in
            (("up", self.up), ("down", self.down), ("inside", self.inside))
        )  # fmt: skip
        return (
            f"copies, GB/s: {gigabytes}; matrix products, Tflop/s: float32 "
            f"{self.float32 / 1e12:.2f}, float16 {self.float16 / 1e12:.2f}"
        )


def measure(gpu: int | None) -> Floors:
    """Measure the floors of a CUDA device, or of one core of the host."""
    nan = float("nan")
    if gpu is None:
        a = np.ones(COPIED // 8, np.uint64)
        b = np.empty_like(a)
        inside = COPIED / _least(lambda: np.copyto(b, a), a)
        return Floors(nan, nan, inside, _products(np.ones(1), SIDE_HOST, "float32"), nan)
    import cupy

    locked = _locked(COPIED)
    above = upload(locked)
    other = cupy.empty_like(above)
    return Floors(
        COPIED / _least(lambda: send(locked), above),
        COPIED / _least(lambda: fetch([above], [locked]), above),
        COPIED / _least(lambda: cupy.copyto(other, above), above),
        _products(above, SIDE_GPU, "float32"),
        _products(above, SIDE_GPU, "float16"),
    )


def _locked(size: int) -> np.ndarray:
    import cupyx

    return np.asarray(cupyx.empty_pinned(size, np.uint8))


def _products(like: Any, side: int, kind: str) -> float:
    """Operations a second of a product; of random numbers, since few bits change with others."""
    xp = array_module(like)
    a = xp.asarray(np.random.default_rng(0).standard_normal((side, side), np.float32).astype(kind))
    return 2.0 * side**3 / _least(lambda: xp.matmul(a, a), like)


def _least(do: Callable[[], Any], like: Any) -> float:
    """Least seconds of some runs, the device's work included."""
    times = []
    for _ in range(REPEATS):
        wait(like)
        start = time.perf_counter()
        do()
        wait(like)
        times.append(time.perf_counter() - start)
    return min(times)


def network_operations(path: str, rows: int, columns: int) -> int:
    """Multiplications and additions of the segmenter's convolutions on one frame."""
    model = onnx.load(path)
    for dimension, size in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], (rows, columns),
                               strict=True):  # fmt: skip
        dimension.dim_value = size
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output, *graph.input)
    }
    weights = {i.name: list(i.dims) for i in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            total += (
                2 * int(np.prod(weights[node.input[1]])) * int(np.prod(shapes[node.output[0]][2:]))
            )
    return total
