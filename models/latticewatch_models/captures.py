"""CUDA graphs of a session: the work of a shape recorded once, then started at one stroke.

A graph reads and writes where the recorded run did, so that each shape keeps its buffers. ONNX
Runtime records by itself; the run option ``gpu_graph_id`` says which graph, and -1 that none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from latticewatch_kernels.arrays import array_module, pointer
from latticewatch_kernels.lattice import Array

#: Graphs of a session at most: with and without atomic columns. Each has buffers on the GPU that
#: are never given back. Runs beyond are not recorded.
MOST_GRAPHS = 2

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class _Capture:
    """Buffers of one graph."""

    frames: Array
    results: tuple[Array, ...]
    binding: Any
    number: int


class Captures:
    """The graphs of one session, whose frames all have the same sides; for one thread at a time.

    Parameters
    ----------
    session
        Opened with graphs enabled.
    index
        Number of its CUDA device.
    """

    def __init__(self, session: Any, index: int) -> None:
        self._session, self._index = session, index
        self._known: dict[tuple[Any, ...], _Capture] = {}

    def run(self, frames: Array, outputs: Shapes, shared: bool) -> list[Array]:
        """Run frames (n, 1, H, W) that lie on the device; as `opened.run_bound`."""
        kind = (frames.shape, tuple(outputs.items()))
        known = self._known.get(kind)
        if known is None and len(self._known) >= MOST_GRAPHS:
            return run_bound(self._session, frames, outputs, self._index, shared, graph=-1)
        if known is None:
            known = self._known[kind] = self._made(frames, outputs)
        known.frames[...] = frames
        self._session.run_with_iobinding(known.binding, run_options(shared, known.number))
        return [result.copy() for result in known.results]

    def _made(self, frames: Array, outputs: Shapes) -> _Capture:
        xp = array_module(frames)
        held = xp.empty(frames.shape, np.float32)
        results = {name: xp.empty(shape, np.float32) for name, shape in outputs.items()}
        binding = bind(self._session, held, results, self._index)
        # 0 is ONNX Runtime's own
        return _Capture(held, tuple(results.values()), binding, len(self._known) + 1)


def bind(session: Any, frames: Array, results: Mapping[str, Array], index: int) -> Any:
    """Binding of a session to arrays of CUDA device `index`."""
    (source,) = (known.name for known in session.get_inputs())
    binding = session.io_binding()
    binding.bind_input(source, "cuda", index, np.float32, frames.shape, pointer(frames))
    for name, result in results.items():
        binding.bind_output(name, "cuda", index, np.float32, result.shape, pointer(result))
    return binding


def run_options(shared: bool, graph: int | None = None) -> Any:
    """Options of a run: nobody waits for a shared stream; which graph, where there are any."""
    options = onnxruntime.RunOptions()
    if shared:
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    if graph is not None:
        options.add_run_config_entry("gpu_graph_id", str(graph))
    return options


def run_bound(
    session: Any,
    frames: Array,
    outputs: Shapes,
    index: int,
    shared: bool = False,
    graph: int | None = None,
) -> list[Array]:
    """Run a session on arrays of CUDA device `index`, which it reads and writes where they lie.

    Parameters
    ----------
    session
        On a CUDA provider.
    frames
        (n, 1, H, W), float32, contiguous.
    outputs
        Name and shape of each output that is wanted.
    index
        Number of the device.
    shared
        Whether on the stream that the arrays were made on; then nobody waits for it here.
    graph
        Number of the graph to record or start, -1 for none; None where graphs are not enabled.
    """
    xp = array_module(frames)
    results = {name: xp.empty(shape, np.float32) for name, shape in outputs.items()}
    binding = bind(session, frames, results, index)
    session.run_with_iobinding(binding, run_options(shared, graph))
    return list(results.values())
