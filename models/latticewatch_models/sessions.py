"""An ONNX model that goes on running: on the next provider when the one in use fails.

A frame whose provider fails (out of memory, a lost device, an engine that cannot be built) is run
again on the next one; none is lost. Every such fall is logged and told.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from latticewatch_kernels.arrays import array_module, first_line, on_device, pointer, to_host, wait
from latticewatch_kernels.lattice import Array
from latticewatch_models.providers import (
    ON_CUDA,
    PROVIDERS,
    Choice,
    Machine,
    PassedOver,
    ProviderError,
    with_options,
)

logger = logging.getLogger(__name__)


class UnreadableModelError(ValueError):
    """What no provider can read is no ONNX model."""


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

    Attributes
    ----------
    passed_over
        Providers that cannot be had or did not start.
    falls
        Providers that failed since.

    Raises
    ------
    ProviderError
        A provider that was required did not start.
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
    ) -> None:
        self.passed_over = choice.passed_over
        self.falls: tuple[Fall, ...] = ()
        self._model, self._index, self._threads = model, choice.index, threads
        self._machine, self._told = machine or Machine(), told
        self._lock = threading.Lock()
        self._session = self._first(choice)

    @property
    def providers(self) -> tuple[str, ...]:
        """Short names of the providers in use, the one that counts first."""
        return _used(self._session)

    @property
    def metadata(self) -> dict[str, str]:
        """The strings that are stored in the file."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, image: Array, outputs: Mapping[str, tuple[int, ...]]) -> list[Array]:
        """Run once; raises what the CPU raises, if that fails too.

        Parameters
        ----------
        image
            float32, contiguous: the model's only input. On a GPU it is read where it lies.
        outputs
            Name and shape of each output that is wanted.

        Returns
        -------
        list of Array
            float32, on the device that the image lies on.
        """
        while True:
            session = self._session
            try:
                return _run(session, image, outputs, self._index)
            except Exception as error:  # noqa: BLE001
                # ONNX Runtime's exceptions share no base class; what is wrong with the input
                # itself shows on the CPU again, and is raised from there
                self._fall(session, error)

    def _first(self, choice: Choice) -> Any:
        """Session on the first provider that starts; ProviderError if a required one does not."""
        for k, name in enumerate(choice.names):
            session, error = self._try(choice.names[k:])
            used = () if session is None else _used(session)
            last = choice.required if choice.every else 0
            for wanted in choice.names[k : max(last, k + 1)]:
                if wanted not in used:
                    reason = self._machine.why_failed(wanted, error)
                    self._pass_over(reason, required=last > 0 or k + 1 == choice.required)
            if used and used[0] == name:
                return session
        return self._on_cpu()

    def _try(self, names: Sequence[str]) -> tuple[Any, str]:
        """Session on the first of these providers that ONNX Runtime starts, or why there is none.

        It tells by an exception that a provider started and failed, but nothing of one whose
        libraries are missing: that one is just not among those in use.
        """
        try:
            return self._open(names), ""
        except Exception as error:
            if tuple(names) == ("cpu",):
                raise UnreadableModelError(first_line(error)) from error
            self._on_cpu()  # what the CPU cannot read either is the model's fault
            return None, first_line(error)

    def _on_cpu(self) -> Any:
        try:
            return self._open(["cpu"])
        except Exception as error:
            raise UnreadableModelError(first_line(error)) from error

    def _open(self, names: Sequence[str]) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        wanted = [with_options(name, self._index) for name in names]
        return onnxruntime.InferenceSession(self._model, options, providers=wanted)

    def _pass_over(self, reason: PassedOver, *, required: bool) -> None:
        if required:
            raise ProviderError(f"provider {reason.name!r} {reason.reason}: {reason.mend}, or auto")
        logger.warning("provider passed over: %s", reason)
        self.passed_over += (reason,)

    def _fall(self, failed: Any, error: Exception) -> None:
        """Replace a session that failed, unless another thread has done so already."""
        with self._lock:
            if self._session is not failed:
                return
            before = _used(failed)
            if before[0] == "cpu":
                raise error
            rest = [name for name in before[1:] if name != "cpu"]
            self._session = self._next(rest)
            fall = Fall.of(before[0], self.providers[0], error)
            self.falls += (fall,)
        logger.error(
            "provider %s failed (%s): frames go on with %s; restart the service to go back",
            fall.before, fall.reason, fall.after,
        )  # fmt: skip
        self._told(fall)

    def _next(self, names: Sequence[str]) -> Any:
        for k in range(len(names)):
            try:
                return self._open([*names[k:], "cpu"])
            except Exception as error:  # noqa: BLE001  (they share no base class)
                self.passed_over += (self._machine.why_failed(names[k], first_line(error)),)
        return self._on_cpu()


def _run(
    session: Any, image: Array, outputs: Mapping[str, tuple[int, ...]], index: int
) -> list[Array]:
    """Run a session on the side where the image lies, or on the host if it cannot."""
    (source,) = (known.name for known in session.get_inputs())
    if not on_device(image):
        return list(session.run(list(outputs), {source: image}))
    xp = array_module(image)
    if _used(session)[0] not in ON_CUDA:
        return [xp.asarray(a) for a in session.run(list(outputs), {source: to_host(image)})]
    results = [xp.empty(shape, np.float32) for shape in outputs.values()]
    binding = session.io_binding()
    binding.bind_input(source, "cuda", index, np.float32, image.shape, pointer(image))
    for name, result in zip(outputs, results, strict=True):
        binding.bind_output(name, "cuda", index, np.float32, result.shape, pointer(result))
    # ONNX Runtime works on a stream of its own, and is done with it when it returns
    wait(image)
    session.run_with_iobinding(binding)
    return results


def _used(session: Any) -> tuple[str, ...]:
    short = {full: name for name, full in PROVIDERS.items()}
    return tuple(short[full] for full in session.get_providers() if full in short)
