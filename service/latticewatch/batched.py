"""Frames of several workers in one run of the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from latticewatch.config import Settings
from latticewatch.together import Together
from latticewatch_kernels.arrays import device_number
from latticewatch_kernels.lattice import Array
from latticewatch_models.devices import Device
from latticewatch_models.runtime import Fall, Segmenter
from latticewatch_models.segmentation import Segmentation


class _Frame(NamedTuple):
    image: Array
    columns: bool


class BatchedSegmenter(Segmenter):
    """A segmenter that runs frames of the same shape together; threads share it.

    Parameters
    ----------
    path, told, **named
        Of `Segmenter`; falls of batches are told like those of providers.
    most, wait_s
        Of `together.Together`.
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
        self._together: Together[_Frame, Segmentation] = Together(
            most, wait_s, run_all=self._all, run_one=self._one,
            fallen=lambda: len(self.falls), told=told,
        )  # fmt: skip

    def segment(self, image: Array, *, columns: bool = False) -> Segmentation:
        """Run the network on a frame, with others that come in time; as `Segmenter.segment`."""
        kind = image.shape, columns, device_number(image)
        return self._together.run(kind, _Frame(image, columns))

    def _all(self, frames: Sequence[_Frame]) -> Sequence[Segmentation]:
        return self.segment_all([frame.image for frame in frames], columns=frames[0].columns)

    def _one(self, frame: _Frame) -> Segmentation:
        return super().segment(frame.image, columns=frame.columns)


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
