"""Frames of several workers in one run of the network, with a bound on what a frame waits.

The worker whose frame completes a batch runs it, or the one that opened it when its time is over;
the others wait for their part of the result. There is no thread beside the workers.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latticewatch.config import Settings
from latticewatch.gathering import Gathering
from latticewatch_kernels.arrays import device_number
from latticewatch_kernels.lattice import Array
from latticewatch_models.devices import Device
from latticewatch_models.runtime import Fall, Segmenter
from latticewatch_models.segmentation import Segmentation

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A frame of one worker, and what becomes of it."""

    image: Array
    seen: Future[Segmentation] = field(default_factory=Future)


class BatchedSegmenter(Segmenter):
    """A segmenter that runs frames of the same shape together; threads share it.

    A batch that fails is run again frame by frame, so that each frame has its own result or its own
    error. If none of them fails so, and no provider fell, it was their number that failed: from
    then on each frame runs by itself, and the fall is told.

    Parameters
    ----------
    path, told, **named
        Of `Segmenter`; falls of batches are told like those of providers.
    most
        Frames of a batch at most; 2 and more. More than there are callers never come together.
    wait_s
        How long the first frame of a batch waits for others, s.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        most: int,
        wait_s: float,
        told: Callable[[Fall], None] = lambda _: None,
        **named: Any,
    ) -> None:
        super().__init__(path, told=told, **named)
        self._together, self._wait_s, self._tell = True, wait_s, told
        self._gathering: Gathering[_Waiting] = Gathering(most)
        self._gate = threading.Lock()

    def segment(self, image: Array, *, columns: bool = False) -> Segmentation:
        """Run the network on a frame, with others that come in time; as `Segmenter.segment`."""
        if not self._together:
            return super().segment(image, columns=columns)
        own = _Waiting(image)
        kind = (image.shape, columns, device_number(image))
        with self._gate:
            added = self._gathering.add(kind, own)
        group = added.group
        if added.first:
            self._pause(own)
            with self._gate:
                group = self._gathering.take(kind, own)
        self._run_group(group, columns)
        return own.seen.result()

    def _pause(self, first: _Waiting) -> None:
        """Wait for others, or until one of them has run the whole batch."""
        wait([first.seen], self._wait_s)

    def _run_group(self, group: tuple[_Waiting, ...], columns: bool) -> None:
        if not group:
            return
        try:
            together = self.segment_all([one.image for one in group], columns=columns)
        except Exception as error:  # noqa: BLE001  (each frame is to have its own)
            self._run_each(group, columns, error)
            return
        for one, seen in zip(group, together, strict=True):
            one.seen.set_result(seen)

    def _run_each(self, group: tuple[_Waiting, ...], columns: bool, error: Exception) -> None:
        """Run frames by themselves after all together failed."""
        falls, failed = len(self.falls), 0
        for one in group:
            try:
                one.seen.set_result(super().segment(one.image, columns=columns))
            except Exception as own:  # noqa: BLE001  (raised where its frame waits)
                failed += 1
                one.seen.set_exception(own)
        if not failed and len(group) > 1 and len(self.falls) == falls:
            self._part(len(group), error)

    def _part(self, number: int, error: Exception) -> None:
        """Run frames by themselves from now on, unless another worker has said so already."""
        with self._gate:
            told, self._together = not self._together, False
        if told:
            return
        fall = Fall.of(f"batches of {number}", "single frames", error)
        log.error(
            "%s failed (%s) and each frame alone did not: frames go on one by one; lower "
            "segmenter.max_batch and restart the service",
            fall.before, fall.reason,
        )  # fmt: skip
        self._tell(fall)


def load_segmenter(
    settings: Settings,
    path: Path | None,
    told: Callable[[Fall], None] = lambda _: None,
    device: str | Device | None = None,
) -> Segmenter:
    """Make the segmenter that the settings ask for, of a file; none takes the shipped model.

    Parameters
    ----------
    settings
        The service's.
    path, told
        Of `Segmenter`.
    device
        Where; none takes the settings'.

    Raises
    ------
    ModelError, ProviderError
        It cannot be had.
    """
    options, batches = settings.analysis, settings.segmenter
    given: dict[str, Any] = {
        "providers": options.providers,
        "threads": options.threads,
        "device": options.device if device is None else device,
        "backend": options.backend,
        "tuning": batches.tuning,
    }
    if batches.max_batch == 1:
        return Segmenter(path, told=told, **given)
    wait_s = batches.max_wait_ms / 1000
    return BatchedSegmenter(path, most=batches.max_batch, wait_s=wait_s, told=told, **given)
