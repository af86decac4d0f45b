"""Work of a device that is recorded once and then started at one stroke: CUDA graphs.

A graph reads and writes where the recorded work did. What it needs must therefore stay where it is:
arrays, which come from a pool of their own, tables, and the plans of Fourier transforms.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from latticewatch_kernels.abreast import abreast, each, in_step
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.library import library

T = TypeVar("T")

#: What this thread is recording, if it is.
_now = threading.local()

#: Held by a thread that records, and by one that does what spoils another's recording: opens
#: sessions, plans convolutions. Two at once spoilt each other's on an H200
#: (cudaErrorStreamCaptureInvalidated).
_undisturbed = threading.RLock()


@dataclass
class Recording:
    """Recorded work of one device, for one thread at a time.

    Attributes
    ----------
    plans
        Of Fourier transforms, by kind and shape.
    held
        What else must stay: tables.
    capturing
        Whether its work is being captured.
    allocator
        Of the pool that all arrays of the work are from, which must stay.
    """

    plans: dict[tuple[str, tuple[int, ...]], Any] = field(default_factory=dict)
    held: list[Any] = field(default_factory=list)
    capturing: bool = False
    graph: Any = None
    allocator: Any = None

    def start(self) -> None:
        """Ask the current stream for the work once more, with what its inputs hold by then."""
        self.graph.launch()


def own_stream() -> Any:
    """Give a stream of the current device beside that which all share."""
    return library("cupy").cuda.Stream(non_blocking=True)


def shared_stream() -> Any:
    """Give the stream that this thread works on now."""
    return library("cupy").cuda.get_current_stream()


def follow(stream: Any, other: Any) -> None:
    """Let a stream go on only when what another was asked for until now is done; nobody waits."""
    done = library("cupy").cuda.Event(disable_timing=True)
    done.record(other)
    stream.wait_event(done)


def in_company(works: Sequence[Callable[[], T]]) -> list[T]:
    """Ask for works that are the same but for their arrays, in step (`abreast`)."""
    cuda, stream = library("cupy").cuda, shared_stream()
    recording, index = getattr(_now, "recording", None), cuda.Device().id

    @contextmanager
    def here() -> Iterator[None]:
        with cuda.Device(index), stream, ExitStack() as stack:
            if recording is not None:
                stack.enter_context(cuda.using_allocator(recording.allocator))
                _now.recording = recording
            yield

    return abreast(works, here)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Do what cannot be done while another thread records, whose recording would be spoilt."""
    with _undisturbed:
        yield


def one_at_a_time(make: Callable[[], T]) -> T | None:
    """Make recorded work; None, at once, while another thread makes some."""
    if not _undisturbed.acquire(blocking=False):
        return None
    try:
        return make()
    finally:
        _undisturbed.release()


def record(work: Callable[[], T], stream: Any) -> tuple[Recording, T]:
    """Record work on the current device, which must not wait for anything.

    What crosses does so by page-locked memory, each time from and to the same place. The work is
    done twice: what is made at the first time (kernels, plans, tables) cannot be recorded.

    Parameters
    ----------
    work
        Reads its inputs where they will always be, and gives arrays that are filled anew whenever
        the recording is started.
    stream
        `own_stream`: what other threads ask of a shared one would get into the recording.
    """
    cuda = library("cupy").cuda
    made = Recording(allocator=cuda.MemoryPool().malloc)
    cuda.get_current_stream().synchronize()
    _now.recording = made
    try:
        with stream, cuda.using_allocator(made.allocator):
            work()
            stream.synchronize()
            made.capturing = True
            stream.begin_capture()
            try:
                result = work()
            finally:
                made.graph = stream.end_capture()
    finally:
        del _now.recording
    return made, result


def held(array: Array) -> Array:
    """Keep an array for as long as what this thread is recording, if it is."""
    recording = getattr(_now, "recording", None)
    if recording is not None:
        recording.held.append(array)
    return array


def once(do: Callable[[], object]) -> None:
    """Do what is the same at every start of what this thread is recording, if it is.

    While work is captured it is asked of another stream, and so no part of the recording.
    """
    in_step("once", each, partial(_once, do))


def _once(do: Callable[[], object]) -> None:
    recording = getattr(_now, "recording", None)
    if recording is None or not recording.capturing:
        do()
        return
    beside = own_stream()
    with beside:
        do()
        beside.synchronize()


def planned(array: Array, shape: tuple[int, ...], kind: str) -> dict[str, Any]:
    """Plan of a transform for what this thread is recording; elsewhere CuPy keeps its own.

    Parameters
    ----------
    array, shape
        What is transformed along its last two axes, and the shape of the real side.
    kind
        ``R2C`` or ``C2R``.
    """
    recording = getattr(_now, "recording", None)
    if recording is None:
        return {}
    key = (kind, tuple(shape))
    if key not in recording.plans:
        fft = library("cupyx.scipy.fft")
        recording.plans[key] = fft.get_fft_plan(array, shape[-2:], (-2, -1), kind)
    return {"plan": recording.plans[key]}
