"""The processor that computes: what a user asks for, and what NVIDIA's driver says is there.

The driver is asked through its own library with ctypes, so that a machine without a GPU, or with a
broken installation of CUDA, can be told apart without CuPy or ONNX Runtime.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

#: The driver's library by platform; everywhere else it bears the Linux name.
_DRIVER_LIBRARIES = {"win32": "nvcuda.dll"}
#: Length of the buffer for a device's name; the driver cuts longer ones.
_NAME_BYTES = 128

_MISSING_DRIVER = "install NVIDIA's driver, or use --device cpu"


class DeviceError(ValueError):
    """A device that does not exist, or a text that names none."""


@dataclass(frozen=True)
class Device:
    """What a user asks for: ``auto``, ``cpu`` or a CUDA device by its number.

    ``auto`` takes the CUDA device of that number where it can, else the CPU.
    """

    kind: Literal["auto", "cpu", "cuda"] = "auto"
    index: int = 0

    @classmethod
    def parse(cls, text: str) -> Device:
        """Read ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; raises DeviceError for anything else."""
        if text in ("auto", "cpu"):
            return cls(text)  # type: ignore[arg-type]
        found = re.fullmatch(r"cuda(?::(\d{1,3}))?", text)
        if found is None:
            raise DeviceError(f"device {text!r} is not known: give auto, cpu, cuda or cuda:N")
        return cls("cuda", int(found[1] or 0))

    def __str__(self) -> str:
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind


def parse_devices(text: str) -> tuple[Device, ...]:
    """Read one device, or several CUDA devices with commas between; DeviceError for others."""
    devices = tuple(Device.parse(part.strip()) for part in text.split(","))
    if len(devices) > 1 and any(device.kind != "cuda" for device in devices):
        raise DeviceError(f"devices {text!r}: only CUDA devices go together: give cuda:0,cuda:1")
    if len(set(devices)) < len(devices):
        raise DeviceError(f"devices {text!r}: one is named twice: name each once")
    return devices


@dataclass(frozen=True)
class CudaDevice:
    """A GPU as its driver describes it; memory in bytes."""

    name: str
    memory: int


@dataclass(frozen=True)
class CudaReport:
    """The GPUs of this machine; where there are none, why, and what mends it.

    ``driver`` is the newest CUDA version that the driver serves, such as ``13.0``; empty without.
    """

    devices: tuple[CudaDevice, ...] = ()
    driver: str = ""
    reason: str = ""
    mend: str = ""

    def why_not(self, index: int) -> tuple[str, str] | None:
        """Reason and mend if CUDA device `index` is not to be had; None if it is."""
        if not self.devices:
            return self.reason, self.mend
        if index >= len(self.devices):
            there = len(self.devices)
            last = f"cuda:{there - 1}"
            reason = f"there is no cuda:{index}, this machine has {there} CUDA device"
            return reason + "s" * (there > 1), f"give cuda:0{f' to {last}' * (there > 1)}"
        return None


def cuda_report(load: Callable[[str], Any] = ctypes.CDLL) -> CudaReport:
    """Ask NVIDIA's driver which GPUs it serves.

    Parameters
    ----------
    load
        Opens a shared library by name and raises OSError where it cannot.
    """
    library = _DRIVER_LIBRARIES.get(sys.platform, "libcuda.so.1")
    try:
        driver = load(library)
    except OSError:
        reason = f"NVIDIA's driver is not installed ({library} is not found)"
        return CudaReport(reason=reason, mend=_MISSING_DRIVER)
    status = int(driver.cuInit(0))
    if status:
        reason = f"NVIDIA's driver does not start (cuInit gives error {status})"
        return CudaReport(reason=reason, mend=_mend_of(status))
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    served = f"{version.value // 1000}.{version.value % 1000 // 10}"
    count = ctypes.c_int()
    driver.cuDeviceGetCount(ctypes.byref(count))
    if not count.value:
        reason = "NVIDIA's driver sees no GPU"
        mend = "check CUDA_VISIBLE_DEVICES and nvidia-smi, or use --device cpu"
        return CudaReport(driver=served, reason=reason, mend=mend)
    return CudaReport(tuple(_described(driver, k) for k in range(count.value)), served)


def _mend_of(status: int) -> str:
    """Tell what helps against an error of cuInit (CUDA driver API, CUresult)."""
    return {
        3: "restart the program",
        100: "check that the GPU is plugged in and passed to the container (--gpus all), "
        "or use --device cpu",
        803: "driver and CUDA compatibility libraries differ: restart the machine after a driver "
        "update, or remove the compatibility package",
        804: "this GPU needs the CUDA version of its own driver: update the driver",
    }.get(status, "see nvidia-smi and the system's log, or use --device cpu")


def _described(driver: Any, index: int) -> CudaDevice:
    handle = ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(handle), index)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    driver.cuDeviceGetName(name, _NAME_BYTES, handle)
    memory = ctypes.c_size_t()
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    return CudaDevice(name.value.decode(errors="replace"), memory.value)
