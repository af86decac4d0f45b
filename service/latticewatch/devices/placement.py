"""Where frames are analysed: on a GPU as long as it works, else on the host."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from latticewatch.computed import HOST
from latticewatch.resident.recordings import Recordings
from latticewatch.together import Together
from latticewatch_kernels.arrays import (
    cupy_trouble,
    device,
    free_memory,
    of_device,
    out_of_memory,
)
from latticewatch_kernels.lattice import FrameFaultError
from latticewatch_models.devices import CudaReport, Device, cuda_report
from latticewatch_models.providers import ON_CUDA, TORCH_CUDA
from latticewatch_models.runtime import Fall, ProviderError

log = logging.getLogger(__name__)

F = TypeVar("F")
T = TypeVar("T")

#: Makes something of frames on the GPU of a number, or tells what is wrong with them.
Above: TypeAlias = Callable[[Sequence[F], int], Sequence[T | FrameFaultError]]

#: Frames in a row that a device has no memory for, even after CuPy has given back what it keeps,
#: until it is given up: others who share the device may take memory for a while.
MOST_SHORT = 3


@dataclass(frozen=True)
class _Job(Generic[F, T]):
    """A frame, what finds its defects with others on a GPU, and what finds them on the host."""

    frame: F
    above: Above[F, T]
    below: Callable[[F], T]


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
    most, wait_s
        Frames of a kind that are handed on together, at most, and how long the first of them waits
        for others, s (`together.Together`).
    """

    def __init__(
        self,
        gpu: int | None = None,
        told: Callable[[Fall], None] = lambda _: None,
        most: int = 1,
        wait_s: float = 0.0,
    ) -> None:
        self._device = HOST if gpu is None else f"cuda:{gpu}"
        self._gpu, self._told = gpu, told
        self._lock, self._short = threading.Lock(), 0
        #: Recorded work of the device, whatever stream its frames are of.
        self.recordings = Recordings()
        self._together: Together[_Job[Any, Any], Any] | None = None
        if most > 1 and gpu is not None:
            self._together = Together(
                most, wait_s, run_all=self._all, run_one=self._alone,
                fallen=lambda: self._gpu, told=told,
            )  # fmt: skip

    @property
    def gpu(self) -> int | None:
        """Number of the CUDA device in use now; None for the host."""
        return self._gpu

    def run(
        self, frame: F, above: Above[F, T], below: Callable[[F], T], kind: Hashable | None = None
    ) -> T:
        """Give what is made of a frame.

        Parameters
        ----------
        frame
            Handed on.
        above
            Makes it of frames on the GPU of a number, which is the current device then; for each
            what is wrong with it, where that is something.
        below
            Makes it of a frame on the host.
        kind
            Frames of the same may be handed on together; none: alone.

        Raises
        ------
        FrameFaultError
            Something is wrong with the frame itself.
        """
        job = _Job(frame, above, below)
        together = self._together if kind is not None and self._gpu is not None else None
        make: Callable[[_Job[F, T]], T | FrameFaultError]
        make = self._alone if together is None else partial(together.run, kind)
        made = make(job)
        if isinstance(made, FrameFaultError):
            raise made
        return made

    def _all(self, jobs: Sequence[_Job[F, T]]) -> Sequence[T | FrameFaultError]:
        gpu = self._gpu
        if gpu is None:
            return list(map(self._alone, jobs))
        with device(gpu):
            return jobs[0].above([job.frame for job in jobs], gpu)

    def _alone(self, job: _Job[F, T]) -> T | FrameFaultError:
        gpu = self._gpu
        if gpu is not None:
            try:
                made = self._above(gpu, job)
            except Exception as error:
                if not of_device(error):
                    raise
                if not (out_of_memory(error) and self._kept(error)):
                    self._fall(gpu, error)
            else:
                self._short = 0
                return made
        try:
            return job.below(job.frame)
        except FrameFaultError as fault:
            return fault

    def note(self, what: str, error: Exception) -> None:
        """Tell of something that the device cannot do, and goes on without."""
        fall = Fall.of(what, self._device, error)
        log.error(
            "%s cannot be had on %s (%s): it goes on without", what, self._device, fall.reason
        )
        self._told(fall)

    def _above(self, gpu: int, job: _Job[F, T]) -> T | FrameFaultError:
        """Analyse a frame on the GPU, once more where memory was short."""
        with device(gpu):
            try:
                return job.above([job.frame], gpu)[0]
            except Exception as error:
                if not out_of_memory(error):
                    raise
            # the exception and what it held are gone here, so that their memory is free, too
            free_memory()
            return job.above([job.frame], gpu)[0]

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
