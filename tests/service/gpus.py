"""A machine with GPUs that are doubles: arrays in `device_double`, the network on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from latticewatch.config import Settings
from latticewatch.devices.lane import Lane, Machine, placed
from latticewatch_kernels.arrays import array_module, on_device, to_host
from latticewatch_models.devices import CudaDevice, CudaReport, Device
from latticewatch_models.runtime import Fall, Segmenter
from latticewatch_models.segmentation import RanOn

WORKS = ("", "")


def report(number: int) -> CudaReport:
    """So many GPUs."""
    if number == 0:
        return CudaReport(reason="NVIDIA's driver is not installed", mend="install it")
    return CudaReport((CudaDevice("NVIDIA H100", 80 << 30),) * number, "13.0")


class OnCuda(Segmenter):
    """A real segmenter on the CPU that takes itself for one on CUDA until it is told to fall."""

    def __init__(self, path, device: Device, told: Callable[[Fall], None]) -> None:
        super().__init__(path, "cpu", 1, "cpu")
        self.device, self._tell, self.broken, self._fallen = device, told, False, False

    @property
    def providers(self) -> tuple[str, ...]:
        return ("cpu",) if self._fallen else ("cuda", "cpu")

    def segment(self, image, *, columns=False):
        if self.broken and not self._fallen:
            self._fallen = True
            self._tell(Fall.of("cuda", "cpu", RuntimeError("CUDNN_STATUS_EXECUTION_FAILED")))
        seen = super().segment(to_host(image), columns=columns)
        if on_device(image):
            xp = array_module(image)
            seen = replace(seen, heat=xp.asarray(seen.heat), offset=xp.asarray(seen.offset))
        device = "host" if self._fallen else f"cuda:{self.device.index}"
        return replace(seen, ran_on=RanOn(self.providers[0], device, "float32"))


class Gpus:
    """Opens lanes on doubles and keeps them by number.

    `refused` are devices that cannot be taken into use, with what is raised; `blind` are those on
    which neither network nor CuPy runs.
    """

    def __init__(self, number: int = 2, refused=None, blind=()) -> None:
        self.lanes: dict[int, Lane] = {}
        self.refused, self.blind = refused or {}, blind
        self.machine = Machine(lambda: report(number), lambda _: WORKS, self.open)

    def open(self, device: Device, settings: Settings, told: Callable[[Fall], None]) -> Lane:
        if device.index in self.refused:
            raise self.refused[device.index]

        def load(path):
            if device.kind == "cpu" or device.index in self.blind:
                return Segmenter(path, "cpu", 1, "cpu")
            return OnCuda(path, device, told)

        segmenter = load(settings.analysis.model)
        on_gpu = segmenter.providers[0] == "cuda"
        placement = placed(device.index if on_gpu else None, settings, told)
        lane = Lane(device, segmenter, placement, load)
        self.lanes[device.index] = lane
        return lane
