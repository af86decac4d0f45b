"""ONNX Runtime's execution providers: which can be had here, which not, and why.

ONNX Runtime says neither: a provider whose libraries do not load is left out with a line in its own
log, and the session runs on the CPU. So reasons are looked for beforehand, a session is asked which
providers it really has, and what one lacks is found out by loading its library.
"""

from __future__ import annotations

import ctypes
import io
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime

from latticewatch_kernels.arrays import cupy_trouble, device, stream_address
from latticewatch_models.devices import CudaReport, Device, cuda_report
from latticewatch_models.tuning import GPU_PROVIDERS

logger = logging.getLogger(__name__)

#: Providers by the name a user gives, fastest first.
PROVIDERS: dict[str, str] = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
}

MENDS = {
    "tensorrt": "install the cuda extra and TensorRT's libraries",
    "cuda": "install the cuda extra in place of the cpu extra (onnxruntime-gpu, CUDA 13, cuDNN 9)",
    "openvino": "install the openvino extra in place of the cpu extra",
    "cpu": "reinstall onnxruntime: every build of it has the CPU provider",
}

#: Those that need a GPU.
ON_CUDA = GPU_PROVIDERS
#: The torch backend on a GPU, by the name that it goes by among the providers.
TORCH_CUDA = "torch-cuda"


class ProviderError(RuntimeError):
    """A provider or device that was asked for cannot be used on this machine."""


@dataclass(frozen=True)
class PassedOver:
    """A provider that is not used, why not, and what would mend it."""

    name: str
    reason: str
    mend: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}: {self.mend}"


@dataclass(frozen=True)
class Choice:
    """Providers to be tried, in order, on a CUDA device; and those that cannot be had.

    `required` of them, the first, must start, every one or any; the rest are where a frame goes
    whose provider fails while it runs.
    """

    names: tuple[str, ...]
    passed_over: tuple[PassedOver, ...] = ()
    index: int = 0
    required: int = 0
    every: bool = True


def _available() -> Sequence[str]:
    return list(onnxruntime.get_available_providers())


def _loaded(path: str) -> Any:
    bring_libraries()
    # a provider's library takes symbols from the shared one, which must be seen by all
    return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


def _stream(index: int) -> int:
    if cupy_trouble(index)[0]:
        return 0
    with device(index):
        return stream_address()


@cache
def bring_libraries() -> None:
    """Load the libraries of CUDA and cuDNN that the cuda extra brings, where there are any.

    They lie where ONNX Runtime's own would not be looked for; once loaded, its providers find them.
    """
    load = getattr(onnxruntime, "preload_dlls", None)  # since 1.21
    if load is None:
        return
    said = io.StringIO()
    with redirect_stdout(said):
        load()
    for line in said.getvalue().splitlines():
        logger.info("onnxruntime: %s", line)


def _library_of(name: str) -> str:
    """Path of the shared library that holds a provider, in ONNX Runtime's package."""
    stem = f"onnxruntime_providers_{name}"
    file = f"{stem}.dll" if sys.platform == "win32" else f"lib{stem}.so"
    return str(Path(onnxruntime.__file__).parent / "capi" / file)


@dataclass(frozen=True)
class Machine:
    """What can be found out of a machine; made of functions so that tests can be another one.

    Attributes
    ----------
    available
        Full names of the providers in the installed ONNX Runtime.
    cuda
        What NVIDIA's driver says.
    load
        Opens a shared library by path, OSError where that fails.
    stream
        Address of the CUDA stream that CuPy works on; 0 where CuPy cannot compute.
    """

    available: Callable[[], Sequence[str]] = _available
    cuda: Callable[[], CudaReport] = cuda_report
    load: Callable[[str], Any] = _loaded
    stream: Callable[[int], int] = _stream

    def why_not(self, name: str, index: int = 0) -> PassedOver | None:
        """Why a provider cannot be used on CUDA device `index`; None where nothing speaks against.

        Raises
        ------
        ProviderError
            For a name that is none of `PROVIDERS`.
        """
        if name not in PROVIDERS:
            raise ProviderError(
                f"provider {name!r} is not known: use auto or one of {', '.join(PROVIDERS)}"
            )
        without = self.cuda().why_not(index) if name in ON_CUDA else None
        if without is not None:
            return PassedOver(name, *without)
        if PROVIDERS[name] not in self.available():
            return PassedOver(name, "is not in the installed onnxruntime", MENDS[name])
        if name == "tensorrt":
            # every package for GPUs names it and none brings its libraries; without them ONNX
            # Runtime tells of an error on some twenty lines, at each session
            missing = self._missing(name)
            return PassedOver(name, f"did not start ({missing})", MENDS[name]) if missing else None
        return None

    def _missing(self, name: str) -> str:
        """Tell why a provider's libraries do not load; nothing where they do."""
        try:
            self.load(_library_of("shared"))
            self.load(_library_of(name))
        except OSError as missing:
            return f"its libraries do not load: {missing}"
        return ""

    def why_failed(self, name: str, error: str = "") -> PassedOver:
        """Why a provider that nothing spoke against did not start; `error` is what was raised."""
        if name in ON_CUDA and not error:
            error = self._missing(name)
        reason = f"did not start ({error or 'the log of ONNX Runtime says why'})"
        return PassedOver(name, reason, MENDS[name])


def choose(device: Device, providers: str | Sequence[str], machine: Machine) -> Choice:
    """Decide which providers are tried.

    Parameters
    ----------
    device
        ``auto`` takes what is fastest here; ``cuda:N`` is used or is an error.
    providers
        ``"auto"``, or names in order of preference, each of which must be there.
    machine
        This one.

    Raises
    ------
    ProviderError
        What was asked for is not to be had; the message says why, and what mends it.
    """
    if isinstance(providers, str):
        providers = (providers,)
    if not providers:
        raise ProviderError("no provider was named: use auto or cpu")
    if tuple(providers) != ("auto",):
        return _named(device, providers, machine)
    fit = [name for name in PROVIDERS if device.kind != "cpu" or name not in ON_CUDA]
    reasons = {name: machine.why_not(name, device.index) for name in fit}
    usable = tuple(name for name in fit if reasons[name] is None)
    passed = tuple(reason for reason in reasons.values() if reason is not None)
    if device.kind != "cuda":
        return Choice(usable, passed, device.index)
    if not any(name in ON_CUDA for name in usable):
        told = reasons["cuda"]
        raise ProviderError(
            f"device {device} cannot be used: {told and told.reason}: "
            f"{told and told.mend}, or use --device auto"
        )
    on_gpu = sum(name in ON_CUDA for name in usable)
    return Choice(usable, passed, device.index, required=on_gpu, every=False)


def _named(device: Device, providers: Sequence[str], machine: Machine) -> Choice:
    """Take the providers that a user named, all of which must be there."""
    for name in providers:
        reason = machine.why_not(name, device.index)
        if reason is not None:
            raise ProviderError(f"provider {name!r} {_as_predicate(reason)}, or use auto")
        if device.kind == "cpu" and name in ON_CUDA:
            raise ProviderError(f"provider {name!r} needs a GPU: leave --device cpu out")
    if device.kind == "cuda" and providers[0] not in ON_CUDA:
        raise ProviderError(
            f"provider {providers[0]!r} does not run on {device}: name cuda or tensorrt first"
        )
    return Choice(tuple(providers), (), device.index, required=len(providers))


def _as_predicate(reason: PassedOver) -> str:
    """Give the reason as what follows the provider's name in a sentence."""
    text = reason.reason
    return f"{text if text.startswith('is ') else f'cannot be used ({text})'}: {reason.mend}"
