"""An ONNX model that goes on running: on the next provider when the one in use fails.

A frame whose provider fails (out of memory, a lost device, an engine that cannot be built) is run
again on the next one; none is lost. Every such fall is logged and told.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from latticewatch_kernels.arrays import first_line
from latticewatch_kernels.lattice import Array
from latticewatch_models.halves import NoHalfError, half
from latticewatch_models.opened import Opened, Source
from latticewatch_models.processor import why_no_brain_floats
from latticewatch_models.providers import (
    MENDS,
    ON_CUDA,
    Choice,
    Machine,
    PassedOver,
    ProviderError,
)
from latticewatch_models.tuning import BRAINY, Site, Tuning

logger = logging.getLogger(__name__)

#: What CUDA's provider is given where it can be made (`rewritten`).
REWRITTEN = "the network rewritten for CUDA"


class UnreadableModelError(ValueError):
    """What no provider can read is no ONNX model."""


class BatchError(RuntimeError):
    """A run on several frames failed, for one of them or for their number: run each by itself."""


@dataclass(frozen=True)
class Fall:
    """A provider failed while it ran; when (seconds since 1970), and what goes on in its place."""

    before: str
    after: str
    reason: str
    time_s: float

    @classmethod
    def of(cls, before: str, after: str, error: Exception) -> Fall:
        """Tell of a failure that has just been met."""
        return cls(before, after, first_line(error), time.time())


class FallingSession:
    """A session on the first provider of a choice that starts; threads may share it.

    Parameters
    ----------
    model
        Content of the ONNX file.
    choice
        Providers, in order; the CPU is the last resort, named or not.
    threads
        CPU threads of one run; 0 leaves it to ONNX Runtime.
    machine
        Explains a provider that does not start.
    told
        Called with each fall, from the thread that met it.
    tuning
        Precision, and what a GPU is given beyond that.

    Attributes
    ----------
    passed_over
        Providers that cannot be had or did not start.
    falls
        Providers that failed since, and what one goes on without.

    Raises
    ------
    ProviderError
        A provider that was required did not start, or 16-bit floats that were cannot be had.
    UnreadableModelError
        The CPU cannot read the model either.
    """

    def __init__(
        self,
        model: bytes,
        choice: Choice,
        threads: int = 0,
        machine: Machine | None = None,
        told: Callable[[Fall], None] = lambda _: None,
        tuning: Tuning | None = None,
    ) -> None:
        self.passed_over = choice.passed_over
        self.falls: tuple[Fall, ...] = ()
        self._machine, self._told = machine or Machine(), told
        tuning = tuning or Tuning()
        small = self._half(model, choice, tuning)
        site = _site(choice, self._machine)
        self._source = Source(model, small, threads, site, tuning, self._goes_plain)
        self._lock = threading.RLock()
        self._session = self._first(choice)
        if tuning.precision == "bf16":
            self._check_brain_floats()

    @property
    def providers(self) -> tuple[str, ...]:
        """Short names of the providers in use, the one that counts first."""
        return self._session.used

    @property
    def precision(self) -> str:
        """``fp16``, ``bf16`` or ``fp32``: what the network is computed in now."""
        return self._session.precision

    @property
    def metadata(self) -> dict[str, str]:
        """The strings that are stored in the file."""
        return self._session.metadata

    @property
    def batches(self) -> bool:
        """Whether the file takes any number of frames at once."""
        return self._session.batches

    @property
    def recordable(self) -> bool:
        """Whether runs can be recorded with what is around them."""
        return self._session.recordable

    def lasting(
        self, number: int, sides: tuple[int, int], stream: int, outputs: Sequence[str] = ()
    ) -> Any | None:
        """Open a session for runs that are to be recorded; as `Opened.lasting`."""
        return self._session.lasting(number, sides, stream, outputs)

    def run(self, image: Array, outputs: Mapping[str, tuple[int, ...]]) -> list[Array]:
        """Run once; raises what the CPU raises, if that fails too.

        Parameters
        ----------
        image
            Frames (n, 1, H, W), float32, contiguous: the model's only input. On a GPU they are read
            where they lie.
        outputs
            Name and shape of each output that is wanted.

        Returns
        -------
        list of Array
            float32, on the device that the image lies on.

        Raises
        ------
        BatchError
            The provider failed on several frames. It is kept: each alone may be no trouble to it.
        """
        while True:
            session = self._session
            try:
                return session.run(image, outputs)
            except Exception as error:
                # ONNX Runtime's exceptions share no base class; what is wrong with the input
                # itself shows on the CPU again, and is raised from there
                if len(image) > 1:
                    raise BatchError(first_line(error)) from error
                self._fall(session, error)

    def _half(self, model: bytes, choice: Choice, tuning: Tuning) -> bytes | None:
        """Give the model in 16-bit floats, if any provider that may be used wants it so."""
        if not any(tuning.halves(name) and name != "tensorrt" for name in (*choice.names, "cpu")):
            return None
        try:
            return half(model)
        except NoHalfError as error:
            if tuning.precision == "fp16":
                raise ProviderError(f"precision {error}, or auto") from error
            self._pass_over(error.why, required=False)
            return None

    def _check_brain_floats(self) -> None:
        """Raise ProviderError where they were asked for and would not be computed in."""
        used = self._session.used[0]
        if used != BRAINY:
            raise ProviderError(
                f"precision bf16 is computed by provider {BRAINY} alone, and {used} is in use: "
                f"{MENDS[BRAINY]}, or use precision auto"
            )
        reason = why_no_brain_floats()
        if reason:
            raise ProviderError(f"precision bf16: {reason}: use precision auto")

    def _first(self, choice: Choice) -> Opened:
        """Session on the first provider that starts; ProviderError if a required one does not."""
        for k, name in enumerate(choice.names):
            session, error = self._try(choice.names[k:])
            used = () if session is None else session.used
            last = choice.required if choice.every else 0
            for wanted in choice.names[k : max(last, k + 1)]:
                if wanted not in used:
                    reason = self._machine.why_failed(wanted, error)
                    self._pass_over(reason, required=last > 0 or k + 1 == choice.required)
            if session is not None and used[0] == name:
                return session
        return self._on_cpu()

    def _try(self, names: Sequence[str]) -> tuple[Opened | None, str]:
        """Session on the first of these providers that ONNX Runtime starts, or why there is none.

        It tells by an exception that a provider started and failed, but nothing of one whose
        libraries are missing: that one is just not among those in use.
        """
        try:
            return Opened(self._source, names), ""
        except Exception as error:
            if tuple(names) == ("cpu",):
                raise UnreadableModelError(first_line(error)) from error
            self._on_cpu()  # what the CPU cannot read either is the model's fault
            return None, first_line(error)

    def _on_cpu(self) -> Opened:
        try:
            return Opened(self._source, ["cpu"])
        except Exception as error:
            raise UnreadableModelError(first_line(error)) from error

    def _pass_over(self, reason: PassedOver, *, required: bool) -> None:
        if required:
            raise ProviderError(f"provider {reason.name!r} {reason.reason}: {reason.mend}, or auto")
        logger.warning("provider passed over: %s", reason)
        self.passed_over += (reason,)

    def _fall(self, failed: Opened, error: Exception) -> None:
        """Replace a session that failed, unless another thread has done so already."""
        with self._lock:
            if self._session is not failed:
                return
            before = failed.used
            if before[0] == "cpu":
                raise error
            if failed.graphs:
                tuning = replace(self._source.tuning, cuda_graph=False)
                self._source = replace(self._source, tuning=tuning)
                self._session = self._next(before)
                fall = Fall.of(f"{before[0]} with CUDA graphs", self.providers[0], error)
            else:
                self._session = self._next([name for name in before[1:] if name != "cpu"])
                fall = Fall.of(before[0], self.providers[0], error)
            self.falls += (fall,)
        logger.error(
            "provider %s failed (%s): frames go on with %s; restart the service to go back",
            fall.before, fall.reason, fall.after,
        )  # fmt: skip
        self._told(fall)

    def _goes_plain(self, reason: str) -> None:
        """Tell, once, that the network runs on a GPU as its file has it, which is slower."""
        fall = Fall(REWRITTEN, "the network as its file has it", reason, time.time())
        with self._lock:
            if any(known.before == REWRITTEN for known in self.falls):
                return
            self.falls += (fall,)
        logger.warning("%s %s: %s is used, which is slower", REWRITTEN, reason, fall.after)
        self._told(fall)

    def _next(self, names: Sequence[str]) -> Opened:
        for k in range(len(names)):
            try:
                return Opened(self._source, [*(n for n in names[k:] if n != "cpu"), "cpu"])
            except Exception as error:  # noqa: BLE001  (they share no base class)
                self.passed_over += (self._machine.why_failed(names[k], first_line(error)),)
        return self._on_cpu()


def _site(choice: Choice, machine: Machine) -> Site:
    """Where sessions are opened; CuPy is asked for its stream only if one may run on a GPU."""
    if not any(name in ON_CUDA for name in choice.names):
        return Site()
    devices = machine.cuda().devices
    name = devices[choice.index].name if choice.index < len(devices) else ""
    return Site(choice.index, name, machine.stream(choice.index))
