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
from typing import Any

from latticewatch.computed import HOST
from latticewatch.config import Settings
from latticewatch.devices.lane import Lane, Machine, candidates, is_gpu
from latticewatch.devices.spread import Spread
from latticewatch.segmenters import Model
from latticewatch_kernels.arrays import first_line
from latticewatch_models.devices import Device
from latticewatch_models.runtime import Fall, ModelError, ProviderError

log = logging.getLogger(__name__)

#: What a service says of what it was started with.
STARTED = "the service was started with it"


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
    settings
        Which devices (``analysis.device``), and what runs there.
    told
        Who hears of failures.
    machine
        This one.
    reason
        Why a stream that nothing has moved is analysed as it is.

    Raises
    ------
    ModelError, ProviderError
        The segmenter, or a device that was named, cannot be had.
    """

    def __init__(
        self,
        settings: Settings,
        told: Told | None = None,
        machine: Machine | None = None,
        reason: str = STARTED,
    ) -> None:
        self._settings, self._told = settings, told or Told()
        self._machine = machine or Machine()
        self._lock, self._opening = threading.Lock(), threading.Lock()
        self._why, self._reason = dict[str, str](), reason
        self._spread, self._devices = Spread(()), dict[str, Device]()
        self._first, rest = self._open_first(self._candidates())
        self._lanes = {self._first.name: self._first}
        self._devices = {_cuda(device): device for device in rest}
        self._spread = Spread((self._first.name, *self._devices))
        self.model = Model.of(self._first.segmenter, reason=reason)

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
        return self._why.get(stream, self._reason)

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
        report = self._machine.gpus()
        devices = candidates(self._settings.analysis.device, report)
        # the first is opened at once
        for device in devices[1:] if devices[0].kind == "cuda" else ():
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
        return self._machine.open(device, self._settings, lambda fall: self._fell(device, fall))

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
        if is_gpu(fall.before) and not is_gpu(fall.after):
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
