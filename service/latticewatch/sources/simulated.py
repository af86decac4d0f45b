"""The simulated microscope as a source of frames, and its truth as a file of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from latticewatch_models.microscope import ImagingConfig, Microscope, SimulatedFrame
from latticewatch_models.truth import Truth


def simulated_microscope(
    crystal: str, size: int, seed: int, dose_e_per_pixel: float | None = None
) -> Microscope:
    """Microscope with a square frame of `size` pixels and default settings but for the dose."""
    imaging = ImagingConfig()
    if dose_e_per_pixel is not None:
        imaging = replace(imaging, dose_e_per_pixel=dose_e_per_pixel)
    return Microscope(crystal, (size, size), seed, imaging=imaging)


class TruthFile:
    """Writes one JSON line a frame, so that a reader may follow while the movie runs."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def add(self, frame: SimulatedFrame) -> None:
        """Append the truth of one frame."""
        self._file.write(json.dumps(frame.truth.to_dict()) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_truth(path: Path) -> Iterator[Truth]:
    """Read back what `TruthFile` wrote, in order."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield Truth.from_dict(json.loads(line))
