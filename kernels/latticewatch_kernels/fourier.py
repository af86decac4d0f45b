"""Real two-dimensional Fourier transforms on either side, of several frames at once where asked."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from latticewatch_kernels.abreast import in_step
from latticewatch_kernels.arrays import array_module, on_device
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import copies
from latticewatch_kernels.library import library
from latticewatch_kernels.recording import planned

#: Threads of one FFT. One worker thread analyses one frame, so more than two only get in the way.
FFT_WORKERS = max(1, int(os.environ.get("LATTICEWATCH_FFT_WORKERS", "1")))


def fft_module(array: Array) -> Any:
    """``scipy.fft`` or ``cupyx.scipy.fft``."""
    return library("cupyx.scipy.fft" if on_device(array) else "scipy.fft")


def rfft2(array: Array) -> Array:
    """Real two-dimensional FFT in the precision of the input."""
    if on_device(array):
        return in_step(("rfft2", array.shape, array.dtype), _spectra, array)
    return fft_module(array).rfft2(array, workers=FFT_WORKERS)


def irfft2(spectrum: Array, shape: tuple[int, int]) -> Array:
    """Inverse of `rfft2` for an image of ``shape``; the spectrum may be overwritten."""
    if on_device(spectrum):
        kind = "irfft2", spectrum.shape, spectrum.dtype, shape
        return in_step(kind, partial(_images, shape), spectrum)
    return fft_module(spectrum).irfft2(spectrum, s=shape, workers=FFT_WORKERS, overwrite_x=True)


def _spectra(arrays: list[Array]) -> list[Array]:
    """Transform images of a device: several by one transform."""
    fft = fft_module(arrays[0])
    if len(arrays) == 1:
        (array,) = arrays
        return [fft.rfft2(array, **planned(array, array.shape, "R2C"))]
    several = _stacked(arrays)
    return list(fft.rfft2(several, **planned(several, several.shape, "R2C")))


def _images(shape: tuple[int, int], spectra: list[Array]) -> list[Array]:
    """Transform spectra of a device back, and spoil them: several by one transform."""
    fft, given = fft_module(spectra[0]), {"s": shape, "overwrite_x": True}
    if len(spectra) == 1:
        (spectrum,) = spectra
        return [fft.irfft2(spectrum, **given, **planned(spectrum, shape, "C2R"))]
    several = _stacked(spectra)
    return list(fft.irfft2(several, **given, **planned(several, (len(spectra), *shape), "C2R")))


def _stacked(arrays: list[Array]) -> Array:
    """Copy arrays of a device behind one another, so that one transform does for all."""
    first = arrays[0]
    several = array_module(first).empty((len(arrays), *first.shape), first.dtype)
    copies(list(several), arrays)
    return several
