"""What this machine computes with, why not with something faster, and what would mend that."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from latticewatch import __version__
from latticewatch.placement import gpu_for
from latticewatch_kernels.arrays import cupy_trouble
from latticewatch_models.devices import CudaReport, Device, DeviceError, cuda_report
from latticewatch_models.runtime import ModelError, PassedOver, ProviderError, Segmenter

#: Distributions whose versions are named, where installed.
DISTRIBUTIONS = (
    "numpy", "scipy", "pyzmq", "msgpack", "onnxruntime", "onnxruntime-gpu",
    "onnxruntime-openvino", "cupy-cuda12x", "cupy-cuda13x", "torch", "rerun-sdk",
)  # fmt: skip


@dataclass(frozen=True)
class Findings:
    """What `examine` found; `trouble` is empty where what was asked for can be used.

    Attributes
    ----------
    device
        As asked for.
    software
        Versions by name, of what is installed.
    gpus
        What NVIDIA's driver says.
    arrays
        Whether CuPy computes, and if not, reason and mend.
    providers
        ONNX Runtime's in use, the one that counts first.
    passed_over
        Faster ones that are not.
    placement
        Where the rest of the analysis works: ``host`` or ``cuda:N``.
    trouble
        Why the device, the providers or the model cannot be used.
    """

    device: str
    software: dict[str, str]
    gpus: CudaReport
    arrays: tuple[str, str]
    providers: tuple[str, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    placement: str = "host"
    trouble: str = ""

    def as_plain(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def software() -> dict[str, str]:
    """Versions by name: Python, this package and what it computes and talks with."""
    found = {"latticewatch": __version__, "python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Probes:
    """How a machine is looked at; tests give another one."""

    gpus: Callable[[], CudaReport] = cuda_report
    cupy: Callable[[int], tuple[str, str]] = cupy_trouble
    segmenter: Callable[..., Segmenter] = Segmenter
    software: Callable[[], dict[str, str]] = software


def examine(
    device: str = "auto",
    providers: str = "auto",
    model: Path | None = None,
    backend: str = "onnxruntime",
    probes: Probes | None = None,
) -> Findings:
    """Try what a service with these settings would use.

    Parameters
    ----------
    device, providers, model, backend
        As in the settings (`config.AnalysisSettings`).
    probes
        How the machine is looked at.
    """
    probes = probes or Probes()
    gpus = probes.gpus()
    try:
        index = Device.parse(device).index
        without = gpus.why_not(index)
        arrays = probes.cupy(index) if without is None else without
        base = Findings(device, probes.software(), gpus, arrays)
        segmenter = probes.segmenter(model, providers, 1, device, backend=backend)
        gpu = gpu_for(device, segmenter.providers, lambda: gpus, lambda _: arrays)
    except DeviceError as error:
        return Findings(device, probes.software(), gpus, ("", ""), trouble=str(error))
    except (ModelError, ProviderError) as error:
        return replace(base, trouble=str(error))
    return replace(
        base,
        providers=segmenter.providers,
        passed_over=segmenter.passed_over,
        placement="host" if gpu is None else f"cuda:{gpu}",
    )


def as_text(found: Findings) -> str:
    """Lines for a terminal."""
    versions = dict(found.software)
    head = f"latticewatch {versions.pop('latticewatch')}, Python {versions.pop('python')}"
    lines = [
        f"{head}, {platform.system()} {platform.machine()}",
        _line("libraries", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    for k, gpu in enumerate(found.gpus.devices):
        lines.append(_line(f"cuda:{k}", f"{gpu.name}, {gpu.memory / 2**30:.0f} GiB"))
    if found.gpus.driver:
        lines.append(_line("driver", f"serves CUDA {found.gpus.driver}"))
    if not found.gpus.devices:
        lines += [_line("GPU", found.gpus.reason), _mend(found.gpus.mend)]
    reason, mend = found.arrays
    if found.gpus.devices and reason:
        lines += [_line("CuPy", reason), _mend(mend)]
    for passed in found.passed_over:
        if passed.reason == found.gpus.reason:
            continue  # said above
        lines += [_line("passed over", f"{passed.name}: {passed.reason}"), _mend(passed.mend)]
    if found.trouble:
        return "\n".join([*lines, _line(f"device {found.device}", f"NOT USABLE: {found.trouble}")])
    used = f"segmenter on {found.providers[0]}, the rest on {found.placement}"
    return "\n".join([*lines, _line(f"device {found.device}", used)])


def _line(name: str, text: str) -> str:
    return f"  {name:<14}{text}"


def _mend(text: str) -> str:
    return _line("", f"mend: {text}")
