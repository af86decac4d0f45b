"""Where frames are analysed: on a GPU as long as it works, else on the host."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from latticewatch.devices.computed import HOST
from latticewatch_kernels.arrays import cupy_trouble, device, of_device, on_device, upload
from latticewatch_kernels.lattice import Array
from latticewatch_models.devices import CudaReport, Device, cuda_report
from latticewatch_models.providers import ON_CUDA, TORCH_CUDA
from latticewatch_models.runtime import Fall, ProviderError

log = logging.getLogger(__name__)

T = TypeVar("T")


class Placement:
    """Hands frames to an analysis on one GPU; after the first failure there, on the host.

    Threads share it.

    Parameters
    ----------
    gpu
        Number of the CUDA device; None for the host.
    told
        Called with the fall, from the thread whose frame met it; that frame is analysed again.
    """

    def __init__(
        self, gpu: int | None = None, told: Callable[[Fall], None] = lambda _: None
    ) -> None:
        self._device = HOST if gpu is None else f"cuda:{gpu}"
        self._gpu, self._told = gpu, told
        self._lock = threading.Lock()

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
            with device(gpu):
                return analyse(upload(frame))
        except Exception as error:
            if not of_device(error):
                raise
            self._fall(gpu, error)
        return analyse(frame)

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
