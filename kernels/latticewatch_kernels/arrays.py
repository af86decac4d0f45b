"""Which array library an input belongs to: NumPy on the host, CuPy on a GPU.

Beside it only `fourier`, `launch` and `recording` name CuPy. Every kernel asks the array it was
given, so that a frame that was uploaded once stays on the device until small results come back by
`to_host`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from typing import Any, cast

import numpy as np

from latticewatch_kernels.abreast import each, in_step
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.library import library

#: Arrays that share a buffer begin at multiples of this many bytes: CUDA's widest load.
ALIGNMENT = 16

#: Page-locked memory of each thread, to upload from and to download to.
_buffers = threading.local()

#: The stream of each CUDA device by its number, made when first asked for.
_streams: dict[int, Any] = {}
_opening = threading.Lock()


def on_device(array: Array) -> bool:
    """Whether the array lives on a GPU."""
    return type(array).__module__.partition(".")[0] == "cupy"


def array_module(array: Array) -> Any:
    """Return the module whose functions work on ``array``: ``numpy`` or ``cupy``."""
    return library("cupy") if on_device(array) else np


def to_host(array: Array) -> np.ndarray:
    """Return a NumPy array with the same content; copies only when it lives on a GPU."""
    return np.asarray(array.get()) if on_device(array) else np.asarray(array)


@contextmanager
def device(index: int) -> Iterator[None]:
    """Make CUDA device `index` the one that CuPy works on, and its stream, while inside.

    All work on a device goes through one stream of ours: the network can share that, whereas the
    default stream has no address to be known by, and would be waited for twice a frame.
    """
    cuda = library("cupy").cuda
    with cuda.Device(index):
        with _opening:
            if index not in _streams:
                _streams[index] = cuda.Stream()
        with _streams[index]:
            yield


def stream_address() -> int:
    """Address of the stream that CuPy works on in this thread; 0 for the default one."""
    return int(library("cupy").cuda.get_current_stream().ptr)


def device_number(array: Array) -> int:
    """Give the number of the CUDA device that an array lies on, -1 for the host."""
    return int(array.device.id) if on_device(array) else -1


def upload(array: np.ndarray, which: int = 0) -> Array:
    """Copy an array to the current device, through page-locked memory of this thread.

    A copy from pageable memory is staged by the driver at half the bandwidth and waits for it.
    Arrays that are on their way at the same time need memory of their own: ``which`` counts it.
    """
    locked = _kept(f"up {which}", array.nbytes)[: array.nbytes]
    locked = locked.view(array.dtype).reshape(array.shape)
    np.copyto(locked, array)
    return send(locked)


def send(locked: np.ndarray, above: Array | None = None) -> Array:
    """Ask for a copy of page-locked memory on the current device; nobody waits.

    It is made in ``above`` where that is given.
    """
    if above is None:
        above = library("cupy").empty(locked.shape, locked.dtype)
    _ask_for_copy(above, locked, "memcpyHostToDevice")
    return above


def download(arrays: Sequence[Array]) -> list[np.ndarray]:
    """Bring contiguous arrays of the current device to page-locked memory, and wait once.

    The wait ends when these are there, whatever other threads have asked of the stream since. What
    is given is this thread's own until it downloads again.
    """
    kinds = tuple((array.shape, array.dtype) for array in arrays)
    known, below = getattr(_buffers, "laid_out", (None, []))
    if known != kinds:
        starts, size = starts_of(kinds)
        below = laid_out(_kept("down", size), starts, kinds)
        _buffers.laid_out = kinds, below
    fetch(arrays, below)
    mark().synchronize()
    return list(below)


def fetch(arrays: Iterable[Array], below: Iterable[np.ndarray]) -> None:
    """Ask for contiguous arrays of the current device in page-locked memory; nobody waits."""
    for array, part in zip(arrays, below, strict=True):
        _ask_for_copy(part, array, "memcpyDeviceToHost")


def copy_within(to: Array, source: Array) -> None:
    """Ask for a copy of a contiguous array on the same device; nobody waits."""
    if to.nbytes != source.nbytes or to.dtype != source.dtype:
        raise ValueError(
            f"{source.shape} of {source.dtype} do not fill {to.shape} of {to.dtype}: "
            "report this as a fault"
        )
    _ask_for_copy(to, source, "memcpyDeviceToDevice")


def _ask_for_copy(to: Array, source: Array, way: str) -> None:
    """Ask the current stream for a copy between contiguous arrays; the host's are page-locked.

    ``cupy.ndarray.set`` and ``get`` refuse what is being recorded, which CUDA does not.
    """
    in_step(("copy", way), each, partial(_copy, (to, source, way)))


def _copy(copy: tuple[Array, Array, str]) -> None:
    to, source, way = copy
    runtime = library("cupy").cuda.runtime
    places = pointer(to), pointer(source)
    runtime.memcpyAsync(*places, source.nbytes, getattr(runtime, way), stream_address())


def blank(shape: tuple[int, ...]) -> Array:
    """Give float32 zeros on the current device."""
    return library("cupy").zeros(shape, np.float32)


def mark() -> Any:
    """Give an event that is there when all that the current stream was asked for is done.

    A thread that waits for it leaves its core to the others.
    """
    done = library("cupy").cuda.Event(block=True, disable_timing=True)
    done.record()
    return done


def page_locked(kinds: Sequence[tuple[tuple[int, ...], np.dtype]]) -> list[np.ndarray]:
    """Make arrays of given shapes and types in page-locked memory, one behind the other."""
    starts, size = starts_of(kinds)
    return laid_out(_locked(size), starts, kinds)


def starts_of(kinds: Iterable[tuple[tuple[int, ...], np.dtype]]) -> tuple[list[int], int]:
    """Place of each array in a buffer, aligned, and the buffer's size in bytes."""
    sizes = (math.prod(shape) * kind.itemsize for shape, kind in kinds)
    *starts, size = accumulate((-(-size // ALIGNMENT) * ALIGNMENT for size in sizes), initial=0)
    return starts, size


def laid_out(
    buffer: np.ndarray, starts: Iterable[int], kinds: Iterable[tuple[tuple[int, ...], np.dtype]]
) -> list[np.ndarray]:
    """Arrays of given shapes and types that are parts of a buffer of bytes."""
    memory = buffer.data
    return [
        np.ndarray(shape, kind, memory, start)
        for start, (shape, kind) in zip(starts, kinds, strict=True)
    ]


def _kept(way: str, size: int) -> np.ndarray:
    """Bytes of this thread's buffer of a name, kept from frame to frame.

    Those for the way up are free again when the results of their last frame came down.
    """
    buffer = getattr(_buffers, way, None)
    if buffer is None or len(buffer) < size:
        buffer = _locked(size)
        setattr(_buffers, way, buffer)
    return cast(np.ndarray, buffer)


def _locked(size: int) -> np.ndarray:
    return cast(np.ndarray, library("cupyx").empty_pinned(max(size, 1), np.uint8))


def pointer(array: Array) -> int:
    """Address of a contiguous array's first element, on the device or the host."""
    return int(array.data.ptr if on_device(array) else array.ctypes.data)


def wait(array: Array) -> None:
    """Wait until what was asked of the array's device is done; nothing for the host."""
    if on_device(array):
        library("cupy").cuda.get_current_stream().synchronize()


def of_device(error: BaseException) -> bool:
    """Whether an exception is CUDA's or CuPy's: out of memory, a lost device, a failed kernel."""
    return type(error).__module__.partition(".")[0] in ("cupy", "cupy_backends", "cupyx")


def out_of_memory(error: BaseException) -> bool:
    """Whether a device had too little memory, CuPy's pool included."""
    return of_device(error) and (
        type(error).__name__ == "OutOfMemoryError" or "cudaErrorMemoryAllocation" in str(error)
    )


def free_memory() -> None:
    """Give memory that CuPy keeps for later back to the current device."""
    cupy = library("cupy")
    cupy.get_default_memory_pool().free_all_blocks()


def first_line(error: BaseException) -> str:
    """Return an exception's message in one line; its name where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]


def cupy_trouble(index: int = 0) -> tuple[str, str]:
    """Reason and mend if CuPy cannot compute on CUDA device `index`; two empty strings if it can.

    A tiny kernel is compiled and run: CuPy imports on machines that it cannot compute on.
    """
    try:
        cupy = library("cupy")
    except ImportError as error:
        return f"CuPy is not installed or does not load ({error})", "install the cuda extra"
    try:
        with cupy.cuda.Device(index):
            total = int((cupy.arange(4) ** 2).sum())
    except Exception as error:  # noqa: BLE001  (CUDA's, NVRTC's and the loader's share no base)
        reason = f"CuPy {cupy.__version__} cannot compute ({first_line(error)})"
        return (
            reason,
            "install the cuda extra, which brings CUDA 13, or update the driver (580, 13.0)",
        )
    if total != sum(k * k for k in range(4)):
        return f"CuPy {cupy.__version__} computes wrongly", "check the GPU with nvidia-smi"
    return "", ""
