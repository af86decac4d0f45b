"""One device that frames are analysed on: its segmenter and its arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latticewatch.batched import load_segmenter
from latticewatch.computed import HOST
from latticewatch.config import Settings
from latticewatch.devices.placement import Placement, gpu_for
from latticewatch_kernels.arrays import cupy_trouble
from latticewatch_models.devices import CudaReport, Device, cuda_report, parse_devices
from latticewatch_models.providers import ON_CUDA, TORCH_CUDA
from latticewatch_models.runtime import Fall, Segmenter


@dataclass(frozen=True)
class Lane:
    """A device in use.

    Attributes
    ----------
    device
        As asked for.
    segmenter
        The configured one.
    placement
        Where the arrays are.
    load
        Makes another segmenter there of a file.
    """

    device: Device
    segmenter: Segmenter
    placement: Placement
    load: Callable[[Path | None], Segmenter]

    @property
    def name(self) -> str:
        """``cuda:N`` where anything runs on that device now, else ``host``."""
        on_gpu = self.placement.gpu is not None or is_gpu(self.segmenter.providers[0])
        return f"cuda:{self.device.index}" if on_gpu else HOST

    def status(self) -> dict[str, Any]:
        """Return plain values: what segmenter and arrays are on now."""
        gpu = self.placement.gpu
        arrays = HOST if gpu is None else f"cuda:{gpu}"
        return {"providers": list(self.segmenter.providers), "arrays": arrays}


def open_lane(device: Device, settings: Settings, told: Callable[[Fall], None]) -> Lane:
    """Take a device into use.

    Raises
    ------
    ModelError, ProviderError
        The segmenter cannot be had there.
    """

    def load(path: Path | None) -> Segmenter:
        return load_segmenter(settings, path, told, device)

    segmenter = load(settings.analysis.model)
    gpu = gpu_for(device, segmenter.providers)
    return Lane(device, segmenter, placed(gpu, settings, told), load)


def placed(gpu: int | None, settings: Settings, told: Callable[[Fall], None]) -> Placement:
    """Make what hands frames to a GPU, or none, as the settings ask."""
    batches = settings.segmenter
    return Placement(gpu, told, batches.max_batch, batches.max_wait_ms / 1000)


@dataclass(frozen=True)
class Machine:
    """How devices are looked at and taken into use; tests give another one."""

    gpus: Callable[[], CudaReport] = cuda_report
    cupy: Callable[[int], tuple[str, str]] = cupy_trouble
    open: Callable[[Device, Settings, Callable[[Fall], None]], Lane] = open_lane


def candidates(text: str, report: CudaReport) -> tuple[Device, ...]:
    """Devices that a setting may mean, in order: for ``auto`` every GPU, or one that is none.

    Raises
    ------
    DeviceError
        It means no device.
    """
    devices = parse_devices(text)
    if devices != (Device("auto"),):
        return devices
    return tuple(Device("auto", k) for k in range(max(1, len(report.devices))))


def is_gpu(name: str) -> bool:
    """Whether a provider or a place of arrays, by its name in a fall, is a GPU's."""
    return name in (*ON_CUDA, TORCH_CUDA) or name.startswith("cuda:")
