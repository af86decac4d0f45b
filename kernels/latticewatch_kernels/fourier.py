"""Real two-dimensional Fourier transforms on either side, of several frames at once where asked."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np

from latticewatch_kernels.abreast import in_step
from latticewatch_kernels.arrays import array_module, device_number, on_device, pointer
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


def irfft2(spectrum: Array, shape: tuple[int, int], norm: str = "backward") -> Array:
    """Inverse of `rfft2` for an image of ``shape``; the spectrum may be overwritten.

    With ``"forward"`` for ``norm`` it is not divided by the number of pixels, for which a device
    takes a pass of its own: `per_pixel` is the factor to put elsewhere.
    """
    if on_device(spectrum):
        kind = "irfft2", spectrum.shape, spectrum.dtype, shape, norm
        return in_step(kind, partial(_images, shape, norm), spectrum)
    given = {"s": shape, "norm": norm, "workers": FFT_WORKERS}
    return fft_module(spectrum).irfft2(spectrum, **given, overwrite_x=True)


def per_pixel(shape: tuple[int, int]) -> np.float32:
    """Give what `irfft2` multiplies an image of a shape by, if it does."""
    return np.float32(1.0 / (shape[0] * shape[1]))


def room(like: Array, shape: tuple[int, ...], kind: type) -> Array:
    """Give an array to fill and then to transform, on the side of ``like``.

    Those of frames in step are places of one array, which is transformed as it is.
    """
    xp = array_module(like)
    if not on_device(like):
        return xp.empty(shape, kind)
    asked = "room", shape, kind, device_number(like)
    return in_step(asked, partial(_rooms, shape, kind), like)


def _rooms(shape: tuple[int, ...], kind: type, like: list[Array]) -> list[Array]:
    xp = array_module(like[0])
    if len(like) == 1:
        return [xp.empty(shape, kind)]
    return list(xp.empty((len(like), *shape), kind))


def _spectra(arrays: list[Array]) -> list[Array]:
    """Transform images of a device: several by one transform."""
    fft = fft_module(arrays[0])
    if len(arrays) == 1:
        (array,) = arrays
        return [fft.rfft2(array, **planned(array, array.shape, "R2C"))]
    several = _joined(arrays)
    return list(fft.rfft2(several, **planned(several, several.shape, "R2C")))


def _images(shape: tuple[int, int], norm: str, spectra: list[Array]) -> list[Array]:
    """Transform spectra of a device back, and spoil them: several by one transform."""
    fft, given = fft_module(spectra[0]), {"s": shape, "norm": norm, "overwrite_x": True}
    if len(spectra) == 1:
        (spectrum,) = spectra
        return [fft.irfft2(spectrum, **given, **planned(spectrum, shape, "C2R"))]
    several = _joined(spectra)
    return list(fft.irfft2(several, **given, **planned(several, (len(spectra), *shape), "C2R")))


def _joined(arrays: list[Array]) -> Array:
    """Give arrays of a device behind one another, so that one transform does for all.

    They are copied unless they are places of one array, in order.
    """
    first = arrays[0]
    shape, whole = (len(arrays), *first.shape), first.base
    if whole is not None and (whole.shape, whole.dtype) == (shape, first.dtype):
        starts = [pointer(whole) + k * first.nbytes for k in range(len(arrays))]
        if whole.flags.c_contiguous and [pointer(one) for one in arrays] == starts:
            return whole
    several = array_module(first).empty(shape, first.dtype)
    copies(list(several), arrays)
    return several
