"""The devices that frames are analysed on, one lane each: segmenter and arrays of one device.

A lane is made when the first stream comes to it. One whose device fails goes on on the host by
itself (`placement`, `latticewatch_models.sessions`), so that no frame is lost; its streams go to
the other devices.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latticewatch.computed import HOST
from latticewatch.config import AnalysisSettings
from latticewatch.placement import Placement, gpu_for
from latticewatch.segmenters import Model
from latticewatch.spread import Spread
from latticewatch_kernels.arrays import cupy_trouble, first_line
from latticewatch_models.devices import CudaReport, Device, cuda_report, parse_devices
from latticewatch_models.providers import ON_CUDA, TORCH_CUDA
from latticewatch_models.runtime import Fall, ModelError, ProviderError, Segmenter

log = logging.getLogger(__name__)

#: What a service says of the model that it was started with.
STARTED = "the service was started with it"


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
        on_gpu = self.placement.gpu is not None or _is_gpu(self.segmenter.providers[0])
        return f"cuda:{self.device.index}" if on_gpu else HOST

    def status(self) -> dict[str, Any]:
        """Return plain values: what segmenter and arrays are on now."""
        gpu = self.placement.gpu
        arrays = HOST if gpu is None else f"cuda:{gpu}"
        return {"providers": list(self.segmenter.providers), "arrays": arrays}


def open_lane(device: Device, options: AnalysisSettings, told: Callable[[Fall], None]) -> Lane:
    """Take a device into use.

    Raises
    ------
    ModelError, ProviderError
        The segmenter cannot be had there.
    """

    def load(path: Path | None) -> Segmenter:
        return Segmenter(path, options.providers, options.threads, device, told, options.backend)

    segmenter = load(options.model)
    return Lane(device, segmenter, Placement(gpu_for(device, segmenter.providers), told), load)


@dataclass(frozen=True)
class Machine:
    """How devices are looked at and taken into use; tests give another one."""

    gpus: Callable[[], CudaReport] = cuda_report
    cupy: Callable[[int], tuple[str, str]] = cupy_trouble
    open: Callable[[Device, AnalysisSettings, Callable[[Fall], None]], Lane] = open_lane


@dataclass(frozen=True)
class Told:
    """Who hears of failures, from the thread that met one.

    Attributes
    ----------
    fall
        Called with each provider or device that failed.
    move
        Called with stream, device before and device after.
    """

    fall: Callable[[Fall], None] = lambda _: None
    move: Callable[[str, str, str], None] = lambda *_: None


class Lanes:
    """Gives every stream the lane of its device; threads share it.

    Parameters
    ----------
    options
        Which devices (`device`), and what runs there.
    told
        Who hears of failures.
    machine
        This one.

    Raises
    ------
    ModelError, ProviderError
        The segmenter, or a device that was named, cannot be had.
    """

    def __init__(
        self,
        options: AnalysisSettings,
        told: Told | None = None,
        machine: Machine | None = None,
    ) -> None:
        self._options, self._told = options, told or Told()
        self._machine = machine or Machine()
        self._lock, self._opening = threading.Lock(), threading.Lock()
        self._why: dict[str, str] = {}
        self._spread, self._devices = Spread(()), dict[str, Device]()
        self._first, rest = self._open_first(self._candidates())
        self._lanes = {self._first.name: self._first}
        self._devices = {_cuda(device): device for device in rest}
        self._spread = Spread((self._first.name, *self._devices))
        self.model = Model.of(self._first.segmenter, reason=STARTED)

    def device_of(self, stream: str) -> str:
        """Name of the stream's device; a stream that has none gets one."""
        with self._lock:
            self._spread = self._spread.placed(stream)
            return self._spread.places[stream]

    def lane(self, stream: str) -> Lane:
        """Lane of the stream's device, which is taken into use if it is not yet."""
        while True:
            name = self.device_of(stream)
            lane = self._lane(name)
            if lane is not None:
                return lane

    def why(self, stream: str) -> str:
        """Why the stream is analysed as it is."""
        return self._why.get(stream, STARTED)

    def release(self, stream: str) -> None:
        """Forget a stream."""
        with self._lock:
            self._spread = self._spread.released(stream)
            self._why.pop(stream, None)

    def status(self) -> dict[str, Any]:
        """Return plain values by device: what runs there, its streams, and why it was lost."""
        spread = self._spread
        found: dict[str, Any] = {}
        for name in dict.fromkeys((*spread.devices, *spread.sound)):
            lane = self._first if name == HOST else self._lanes.get(name)
            found[name] = {
                **({} if lane is None else lane.status()),
                "streams": sorted(spread.streams_on(name)),
                "lost": spread.lost.get(name, ""),
            }
        return found

    def _candidates(self) -> tuple[Device, ...]:
        """Devices that may be used, in order; those that were named are looked at."""
        devices = parse_devices(self._options.device)
        if devices == (Device("auto"),):
            there = len(self._machine.gpus().devices)
            return tuple(Device("auto", k) for k in range(max(1, there)))
        if len(devices) == 1:
            return devices  # looked at when it is opened, which is at once
        report = self._machine.gpus()
        for device in devices:
            reason, mend = report.why_not(device.index) or self._machine.cupy(device.index)
            if reason:
                raise ProviderError(f"device {device} cannot be used: {reason}: {mend}")
        return devices

    def _open_first(self, devices: tuple[Device, ...]) -> tuple[Lane, tuple[Device, ...]]:
        """Open the first that is a GPU, else the first; gives the devices after it, too."""
        lanes = []
        for k, device in enumerate(devices):
            lanes.append(self._open(device))
            if device.kind != "auto" or lanes[-1].name != HOST:
                return lanes[-1], devices[k + 1 :]
        return lanes[0], ()

    def _open(self, device: Device) -> Lane:
        return self._machine.open(device, self._options, lambda fall: self._fell(device, fall))

    def _lane(self, name: str) -> Lane | None:
        """Lane of a device; None where it cannot be had, which loses the device."""
        found = self._first if name == HOST else self._lanes.get(name)
        if found is not None:
            return found
        with self._opening:
            if name in self._lanes:
                return self._lanes[name]
            try:
                lane = self._checked(self._open(self._devices[name]))
            except Exception as error:  # noqa: BLE001  (CUDA's and ONNX Runtime's share no base)
                reason = first_line(error)
            else:
                self._lanes[name] = lane
                return lane
        log.error("%s cannot be taken into use (%s): its streams go elsewhere", name, reason)
        self._lose(name, reason)
        return None

    def _checked(self, lane: Lane) -> Lane:
        if lane.name == HOST:
            passed = "; ".join(map(str, lane.segmenter.passed_over))
            raise ProviderError(f"nothing runs there: {passed or 'see the log'}")
        if Model.of(lane.segmenter).record.digest != self.model.record.digest:
            path = lane.segmenter.card.path
            raise ModelError(f"{path} is not the model that the service was started with")
        return lane

    def _fell(self, device: Device, fall: Fall) -> None:
        """Take note of what failed on a device; one that lost its part of the work is lost."""
        name = _cuda(device)
        with self._lock:
            streams = self._spread.streams_on(name)
            if name not in self._devices:  # the first, which takes the streams of all that fail
                streams += self._spread.streams_on(HOST)
            self._why.update(dict.fromkeys(streams, f"{fall.before} failed ({fall.reason})"))
        self._told.fall(fall)
        if _is_gpu(fall.before) and not _is_gpu(fall.after):
            self._lose(name, fall.reason)

    def _lose(self, name: str, reason: str) -> None:
        with self._lock:
            before = self._spread
            if name not in before.sound:
                return
            self._spread = before.without(name, reason)
            moves = self._spread.moved(before)
            self._why.update(dict.fromkeys(moves, f"{name} failed ({reason})"))
        for stream, (was, now) in moves.items():
            log.warning("stream %s goes from %s to %s (%s)", stream, was, now, reason)
            self._told.move(stream, was, now)


def _cuda(device: Device) -> str:
    return f"cuda:{device.index}"


def _is_gpu(name: str) -> bool:
    """Whether a provider or a place of arrays, by its name in a fall, is a GPU's."""
    return name in (*ON_CUDA, TORCH_CUDA) or name.startswith("cuda:")
