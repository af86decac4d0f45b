"""What this machine computes with, why not with something faster, and what would mend that."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from latticewatch import __version__
from latticewatch.computed import HOST
from latticewatch.devices.lane import candidates, is_gpu
from latticewatch.devices.placement import gpu_for
from latticewatch_kernels.arrays import cupy_trouble
from latticewatch_models.devices import CudaReport, Device, DeviceError, cuda_report
from latticewatch_models.runtime import ModelError, PassedOver, ProviderError, Segmenter
from latticewatch_models.tuning import Tuning

#: Distributions whose versions are named, where installed.
DISTRIBUTIONS = (
    "numpy", "scipy", "pyzmq", "msgpack", "onnx", "onnxruntime", "onnxruntime-gpu",
    "onnxruntime-openvino", "cupy-cuda12x", "cupy-cuda13x", "torch", "rerun-sdk",
)  # fmt: skip


@dataclass(frozen=True)
class Use:
    """A device tried.

    Attributes
    ----------
    device
        Its name; ``auto`` where that found no GPU.
    arrays
        Why CuPy does not compute on it, and the mend; empty where it does.
    providers
        ONNX Runtime's in use, the one that counts first.
    passed_over
        Faster ones that are not.
    precision
        What the segmenter computes in: ``fp32`` or ``fp16``.
    placement
        Where the rest of the analysis works: ``host`` or ``cuda:N``.
    trouble
        Why the device, the providers or the model cannot be used.
    used
        Whether a service would take it.
    """

    device: str
    arrays: tuple[str, str]
    providers: tuple[str, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    precision: str = ""
    placement: str = HOST
    trouble: str = ""
    used: bool = True


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
    uses
        Every device that was asked for; of ``auto`` every GPU.
    trouble
        Why what was asked for cannot be used.
    """

    device: str
    software: dict[str, str]
    gpus: CudaReport
    uses: tuple[Use, ...] = ()
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
    tuning: Tuning | None = None,
) -> Findings:
    """Try what a service with these settings would use.

    Parameters
    ----------
    device, providers, model, backend
        As in the settings (`config.AnalysisSettings`).
    probes
        How the machine is looked at.
    tuning
        What the settings ask of the segmenter (`segmenter_options.SegmenterSettings`).
    """
    probes = probes or Probes()
    gpus = probes.gpus()
    try:
        devices = candidates(device, gpus)
    except DeviceError as error:
        return Findings(device, probes.software(), gpus, trouble=str(error))

    def opened(device: Device) -> Segmenter:
        return probes.segmenter(model, providers, 1, device, backend=backend, tuning=tuning)

    uses = tuple(_tried(device, gpus, probes, opened) for device in devices)
    if devices[0].kind == "auto":
        uses = _taken(uses)
    trouble = next((use.trouble for use in uses if use.trouble and use.used), "")
    return Findings(device, probes.software(), gpus, uses, trouble)


def _tried(
    device: Device, gpus: CudaReport, probes: Probes, opened: Callable[[Device], Segmenter]
) -> Use:
    """Try one device."""
    without = gpus.why_not(device.index)
    arrays = probes.cupy(device.index) if without is None else without
    name = f"cuda:{device.index}" if device.kind == "auto" and gpus.devices else str(device)
    use = Use(name, arrays)
    try:
        segmenter = opened(device)
        gpu = gpu_for(device, segmenter.providers, lambda: gpus, lambda _: arrays)
    except (ModelError, ProviderError) as error:
        return replace(use, trouble=str(error))
    return replace(
        use,
        providers=segmenter.providers,
        passed_over=segmenter.passed_over,
        precision=segmenter.precision,
        placement=HOST if gpu is None else f"cuda:{gpu}",
    )


def _taken(uses: tuple[Use, ...]) -> tuple[Use, ...]:
    """Mark what ``auto`` takes: every GPU that computes, or the host where none does."""
    found = [use for use in uses if use.providers and is_gpu(use.providers[0])]
    if not found:
        return replace(uses[0], device="auto"), *(replace(u, used=False) for u in uses[1:])
    return tuple(replace(use, used=use in found) for use in uses)


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
    if not found.uses:
        return "\n".join([*lines, _line(f"device {found.device}", f"NOT USABLE: {found.trouble}")])
    # what holds of all devices is said once
    for told in dict.fromkeys(_passed(found, use) for use in found.uses):
        lines += told
    return "\n".join([*lines, *map(_verdict, found.uses)])


def _passed(found: Findings, use: Use) -> tuple[str, ...]:
    """Say what is not used on a device."""
    lines: list[str] = []
    reason, mend = use.arrays
    if found.gpus.devices and reason:
        lines += [_line("CuPy", reason), _mend(mend)]
    for passed in use.passed_over:
        if passed.reason != found.gpus.reason:  # said above
            text = f"{passed.name}: {passed.reason}"
            lines += [_line("passed over", text), _mend(passed.mend)]
    return tuple(lines)


def _verdict(use: Use) -> str:
    name = f"device {use.device}"
    if use.trouble:
        return _line(name, f"NOT USABLE: {use.trouble}")
    text = f"segmenter on {use.providers[0]} in {use.precision}, the rest on {use.placement}"
    return _line(name, text if use.used else f"passed over: it would be {text}")


def _line(name: str, text: str) -> str:
    return f"  {name:<14}{text}"


def _mend(text: str) -> str:
    return _line("", f"mend: {text}")
