"""The ``.json`` that acquisition software leaves beside an image: calibration by name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

#: Nanometres to a unit, as instruments spell them.
_NM_PER_UNIT = {"nm": 1.0, "pm": 1e-3, "um": 1e3, "µm": 1e3, "A": 0.1, "Å": 0.1, "angstrom": 0.1}


@dataclass(frozen=True)
class Calibration:
    """Pixel size and frame time, where they are known."""

    pixel_size_nm: float | None = None
    frame_time_s: float | None = None


def read_sidecar(path: Path, shape: tuple[int, int]) -> Calibration:
    """Read the calibration of an image of `shape` (rows, columns) from the file beside it.

    ``pixel_size_nm`` and ``frame_time_s`` are taken as they stand, at any depth; failing the first,
    ``field_of_view_x`` and its ``field_of_view_units`` are divided by the number of columns.

    Raises
    ------
    ValueError
        The file is there and is not JSON, or names a unit that is not known.
    """
    if not path.is_file():
        return Calibration()
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not JSON: {error}; mend or remove it") from error
    values = dict(_leaves(document))
    pixel_size = _positive(values.get("pixel_size_nm"))
    field_of_view = _positive(values.get("field_of_view_x"))
    if pixel_size is None and field_of_view is not None:
        unit = str(values.get("field_of_view_units", "nm"))
        if unit not in _NM_PER_UNIT:
            raise ValueError(f"{path.name}: field_of_view_units {unit!r} is not known; use nm")
        pixel_size = field_of_view * _NM_PER_UNIT[unit] / shape[1]
    return Calibration(pixel_size, _positive(values.get("frame_time_s")))


def _leaves(document: object) -> Iterator[tuple[str, object]]:
    if isinstance(document, Mapping):
        for key, value in document.items():
            if isinstance(value, (Mapping, list)):
                yield from _leaves(value)
            else:
                yield str(key), value
    elif isinstance(document, list):
        for value in document:
            yield from _leaves(value)


def _positive(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value > 0 else None
