"""Which array library an input belongs to: NumPy on the host, CuPy on a GPU.

This is the only module that names CuPy. Every kernel asks the array it was given, so that a frame
that was uploaded once stays on the device until small results are brought back by `to_host`.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from latticewatch_kernels.lattice import Array

#: Threads of one FFT. One worker thread analyses one frame, so more than two only get in the way.
FFT_WORKERS = max(1, int(os.environ.get("LATTICEWATCH_FFT_WORKERS", "1")))


def on_device(array: Array) -> bool:
    """Whether the array lives on a GPU."""
    return type(array).__module__.partition(".")[0] == "cupy"


def array_module(array: Array) -> Any:
    """Return the module whose functions work on ``array``: ``numpy`` or ``cupy``."""
    return importlib.import_module("cupy") if on_device(array) else np


def ndimage_module(array: Array) -> Any:
    """``scipy.ndimage`` or ``cupyx.scipy.ndimage``."""
    return importlib.import_module(
        "cupyx.scipy.ndimage" if on_device(array) else "scipy.ndimage",
    )


def fft_module(array: Array) -> Any:
    """``scipy.fft`` or ``cupyx.scipy.fft``."""
    return importlib.import_module("cupyx.scipy.fft" if on_device(array) else "scipy.fft")


def rfft2(array: Array) -> Array:
    """Real two-dimensional FFT in the precision of the input."""
    if on_device(array):
        return fft_module(array).rfft2(array)
    return fft_module(array).rfft2(array, workers=FFT_WORKERS)


def irfft2(spectrum: Array, shape: tuple[int, int]) -> Array:
    """Inverse of `rfft2` for an image of ``shape``; the spectrum may be overwritten."""
    if on_device(spectrum):
        return fft_module(spectrum).irfft2(spectrum, s=shape)
    return fft_module(spectrum).irfft2(spectrum, s=shape, workers=FFT_WORKERS, overwrite_x=True)


def to_host(array: Array) -> np.ndarray:
    """Return a NumPy array with the same content; copies only when it lives on a GPU."""
    return np.asarray(array.get()) if on_device(array) else np.asarray(array)


def cupy_trouble(index: int = 0) -> tuple[str, str]:
    """Reason and mend if CuPy cannot compute on CUDA device `index`; two empty strings if it can.

    A tiny kernel is compiled and run: CuPy imports on machines that it cannot compute on.
    """
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        return f"CuPy is not installed or does not load ({error})", "install the gpu extra"
    try:
        with cupy.cuda.Device(index):
            total = int((cupy.arange(4) ** 2).sum())
    except Exception as error:  # noqa: BLE001  (CUDA's, NVRTC's and the loader's share no base)
        reason = f"CuPy {cupy.__version__} cannot compute ({str(error).splitlines()[0]})"
        return reason, "match driver, CUDA libraries and cupy-cuda13x of the gpu extra"
    if total != sum(k * k for k in range(4)):
        return f"CuPy {cupy.__version__} computes wrongly", "check the GPU with nvidia-smi"
    return "", ""
