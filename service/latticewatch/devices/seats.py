"""A stream's seat: its frames are analysed where its device is when their turn comes."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from latticewatch.analysis import Analyser
from latticewatch.detections import Detections
from latticewatch.devices.lane import Lane
from latticewatch.devices.lanes import Lanes
from latticewatch.devices.placement import Placement
from latticewatch.segmenters import Analysis, Model
from latticewatch_kernels.arrays import first_line
from latticewatch_models.runtime import Segmenter

log = logging.getLogger(__name__)

#: Models of a stream that are kept ready on a device that they were not made for: the one in use
#: and, while frames of it are in hand, the one before.
READY = 2


class Seat:
    """What one stream is analysed on; threads share it.

    Parameters
    ----------
    lanes
        All devices.
    stream
        Name of the stream.
    """

    def __init__(self, lanes: Lanes, stream: str) -> None:
        self._lanes, self._stream = lanes, stream
        self._ready: dict[str, tuple[Lane | None, tuple[Segmenter, Placement]]] = {}
        self._lock = threading.Lock()

    @property
    def model(self) -> Model:
        """The configured model, on the stream's device."""
        return replace(self._lanes.model, segmenter=self._lanes.lane(self._stream).segmenter)

    @property
    def placement(self) -> Placement:
        """Where the stream's arrays are."""
        return self._lanes.lane(self._stream).placement

    def load(self, path: Path) -> Segmenter:
        """Make a segmenter of a file, on the stream's device."""
        return self._lanes.lane(self._stream).load(path)

    def bound(self, analyser: Analyser) -> Analyser:
        """Give the analyser on the device that the stream is on now."""
        lane, wanted = self._lanes.lane(self._stream), analyser.segmenter
        if wanted.card.path == lane.segmenter.card.path:
            return replace(analyser, segmenter=lane.segmenter, placement=lane.placement)
        if wanted.device == lane.device:
            return replace(analyser, placement=lane.placement)
        segmenter, placement = self._moved(lane, wanted)
        return replace(analyser, segmenter=segmenter, placement=placement)

    def later(self, analyser: Analyser) -> Analysis:
        """Give the analysis as a function that looks where the stream is when it is called."""
        return _Later(self, analyser)

    def why(self) -> str:
        """Why the stream is analysed as it is."""
        return self._lanes.why(self._stream)

    def _moved(self, lane: Lane, model: Segmenter) -> tuple[Segmenter, Placement]:
        """Give the stream's own model on another device than it was made for.

        Where it cannot be had there, it goes on where it was, with frames from the host.
        """
        path = model.card.path
        with self._lock:
            there, ready = self._ready.pop(path, (None, (model, Placement())))
            if there is not lane:
                try:
                    ready = lane.load(Path(path)), lane.placement
                except Exception as error:  # noqa: BLE001  (CUDA's share no base)
                    ready = model, Placement()
                    log.error(  # noqa: TRY400
                        "stream %s: its own model cannot be had on %s (%s): it stays on %s",
                        self._stream, lane.device, first_line(error), model.device,
                    )  # fmt: skip
            self._ready[path] = lane, ready
            for old in list(self._ready)[:-READY]:
                del self._ready[old]
        return ready


@dataclass(frozen=True)
class _Later:
    seat: Seat
    analyser: Analyser

    def __call__(self, frame: np.ndarray) -> Detections:
        found = self.seat.bound(self.analyser)(frame)
        if found.computed is None:
            return found
        return replace(found, computed=replace(found.computed, reason=self.seat.why()))
