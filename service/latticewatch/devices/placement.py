"""Where frames are analysed: on a GPU as long as it works, else on the host."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from latticewatch.devices.computed import HOST
from latticewatch_kernels.arrays import (
    cupy_trouble,
    device,
    free_memory,
    of_device,
    on_device,
    out_of_memory,
    upload,
)
from latticewatch_kernels.lattice import Array
from latticewatch_models.devices import CudaReport, Device, cuda_report
from latticewatch_models.providers import ON_CUDA, TORCH_CUDA
from latticewatch_models.runtime import Fall, ProviderError

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Frames in a row that a device has no memory for, even after CuPy has given back what it keeps,
#: until it is given up: others who share the device may take memory for a while.
MOST_SHORT = 3


class Placement:
    """Hands frames to an analysis on one GPU; after the first failure there, on the host.

    A frame that the GPU has no memory for is tried there once more and then analysed on the host;
    only `MOST_SHORT` such frames in a row count as a failure. Threads share it.

    Parameters
    ----------
    gpu
        Number of the CUDA device; None for the host.
    told
        Called with the fall, from the thread whose frame met it; that frame is analysed again. A
        device that is kept in spite of it is what is fallen to.
    """

    def __init__(
        self, gpu: int | None = None, told: Callable[[Fall], None] = lambda _: None
    ) -> None:
        self._device = HOST if gpu is None else f"cuda:{gpu}"
        self._gpu, self._told = gpu, told
        self._lock, self._short = threading.Lock(), 0

    @property
    def gpu(self) -> int | None:
        """Number of the CUDA device in use now; None for the host."""
        return self._gpu

    def of(self, frame: Array) -> str:
        """Where a frame that `run` handed on lies: ``cuda:N``, or ``host``."""
        return self._device if on_device(frame) else HOST

    def run(self, analyse: Callable[[Array], T], frame: np.ndarray) -> T:
        """Give what `analyse` makes of a frame; what is wrong with the frame itself is raised."""
        gpu = self._gpu
        if gpu is None:
            return analyse(frame)
        try:
            done = self._above(gpu, analyse, frame)
        except Exception as error:
            if not of_device(error):
                raise
            if not (out_of_memory(error) and self._kept(error)):
                self._fall(gpu, error)
        else:
            self._short = 0
            return done
        return analyse(frame)

    def note(self, what: str, error: Exception) -> None:
        """Tell of something that the device cannot do, and goes on without."""
        fall = Fall.of(what, self._device, error)
        log.error(
            "%s cannot be had on %s (%s): it goes on without", what, self._device, fall.reason
        )
        self._told(fall)

    def _above(self, gpu: int, analyse: Callable[[Array], T], frame: np.ndarray) -> T:
        """Analyse a frame on the GPU, once more where memory was short."""
        with device(gpu):
            try:
                return analyse(upload(frame))
            except Exception as error:
                if not out_of_memory(error):
                    raise
            # the exception and what it held are gone here, so that their memory is free, too
            free_memory()
            return analyse(upload(frame))

    def _kept(self, error: Exception) -> bool:
        """Whether a device is kept that had no memory for a frame; says so once in a row."""
        with self._lock:
            self._short += 1
            short = self._short
        if short >= MOST_SHORT:
            return False
        if short == 1:
            fall = Fall.of(self._device, f"{self._device} but for single frames", error)
            log.error(
                "%s has no memory for a frame (%s), which goes to the host: lower the frame size "
                "or analysis.workers, or end what else uses the device",
                self._device, fall.reason,
            )  # fmt: skip
            self._told(fall)
        return True

    def _fall(self, gpu: int, error: Exception) -> None:
        with self._lock:
            if self._gpu is None:
                return
            self._gpu = None
        fall = Fall.of(self._device, HOST, error)
        log.error(
            "cuda:%d failed (%s): frames go on on the host; restart the service to go back",
            gpu, fall.reason,
        )  # fmt: skip
        self._told(fall)


def gpu_for(
    wanted: str | Device,
    providers: tuple[str, ...],
    report: Callable[[], CudaReport] = cuda_report,
    trouble: Callable[[int], tuple[str, str]] = cupy_trouble,
) -> int | None:
    """Choose the GPU whose arrays the analysis works on; None for the host.

    Parameters
    ----------
    wanted
        One device, as in the settings. ``auto`` takes a GPU only where the segmenter runs on one,
        since the frame would go up and down for nothing.
    providers
        What the segmenter runs on.
    report, trouble
        How the machine is looked at.

    Raises
    ------
    ProviderError
        A CUDA device was asked for and CuPy cannot compute on it.
    """
    asked = Device.parse(wanted) if isinstance(wanted, str) else wanted
    on_gpu = bool(providers) and providers[0] in (*ON_CUDA, TORCH_CUDA)
    if asked.kind == "cpu" or (asked.kind == "auto" and not on_gpu):
        return None
    reason, mend = report().why_not(asked.index) or trouble(asked.index)
    if not reason:
        return asked.index
    if asked.kind == "cuda":
        raise ProviderError(
            f"device {asked} cannot be used: {reason}: {mend}, or use --device auto"
        )
    log.warning("arrays stay on the host: %s: %s", reason, mend)
    return None
