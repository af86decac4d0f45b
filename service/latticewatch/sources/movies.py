"""Recorded movies, read one frame at a time. The formats are a table: suffix to reader."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from latticewatch.sources.sidecar import read_sidecar

_IMAGE_AXES = 2
_MOVIE_AXES = 3


class MovieError(ValueError):
    """A movie that cannot be read; the message names the cause and the mend."""


@dataclass(frozen=True)
class Movie:
    """A recorded movie.

    Attributes
    ----------
    path
        Where it was read from.
    count, shape
        Number of frames and the (rows, columns) of each.
    read
        Gives frame k as a two-dimensional array.
    pixel_size_nm, frame_time_s
        As recorded in the file or in the ``.json`` beside it; None where neither says.
    """

    path: Path
    count: int
    shape: tuple[int, int]
    read: Callable[[int], np.ndarray]
    pixel_size_nm: float | None = None
    frame_time_s: float | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.read(k) for k in range(self.count))


def open_movie(path: Path) -> Movie:
    """Open a movie by its suffix.

    Raises
    ------
    MovieError
        Missing file, unknown suffix, or content that is not a movie.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise MovieError(
            f"{path.name}: no reader for {path.suffix or 'no suffix'}; convert to {known}"
        )
    if not path.is_file():
        raise MovieError(f"{path}: no such file; check the path")
    try:
        movie = reader(path)
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, MovieError):
            raise
        raise MovieError(f"{path.name}: not readable ({error}); is it complete?") from error
    beside = read_sidecar(path.with_suffix(".json"), movie.shape)
    return replace(
        movie,
        pixel_size_nm=beside.pixel_size_nm or movie.pixel_size_nm,
        frame_time_s=beside.frame_time_s or movie.frame_time_s,
    )


def _from_stack(path: Path, shape: tuple[int, ...], get: Callable[..., np.ndarray]) -> Movie:
    """Describe an image or a stack of images that is indexed like an array."""
    if len(shape) == _IMAGE_AXES:
        return Movie(path, 1, (shape[0], shape[1]), lambda _: np.asarray(get(...)))
    if len(shape) == _MOVIE_AXES:
        return Movie(path, shape[0], (shape[1], shape[2]), lambda k: np.asarray(get(k)))
    raise MovieError(f"{path.name}: {len(shape)} axes {shape}; a movie has (frames, rows, columns)")


def _read_npy(path: Path) -> Movie:
    stack = np.load(path, mmap_mode="r", allow_pickle=False)
    return _from_stack(path, stack.shape, stack.__getitem__)


def _read_tiff(path: Path) -> Movie:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        shape = tuple(series.shape)
        pixel_size = _imagej_pixel_size(file)
        paged = len(series.pages) > 1
    if paged and len(shape) == _MOVIE_AXES:
        movie = Movie(path, shape[0], (shape[1], shape[2]), lambda k: tifffile.imread(path, key=k))
    else:
        whole = tifffile.imread(path)
        movie = _from_stack(path, whole.shape, whole.__getitem__)
    return replace(movie, pixel_size_nm=pixel_size)


def _imagej_pixel_size(file: object) -> float | None:
    """Pixel size in nm from ImageJ's unit and the resolution tag, where both are there."""
    unit = (getattr(file, "imagej_metadata", None) or {}).get("unit")
    scale = {"nm": 1.0, "um": 1e3, "micron": 1e3, "Angstrom": 0.1, "pm": 1e-3}.get(str(unit))
    tag = file.pages[0].tags.get("XResolution")  # type: ignore[attr-defined]
    if scale is None or tag is None:
        return None
    pixels, per = tag.value
    return scale * per / pixels if pixels else None


def _read_hdf5(path: Path) -> Movie:
    import h5py

    with h5py.File(path, "r") as file:
        found: list[str] = []
        file.visititems(
            lambda name, item: (
                found.append(name)
                if isinstance(item, h5py.Dataset) and item.ndim in (_IMAGE_AXES, _MOVIE_AXES)
                else None
            )
        )
        if not found:
            raise MovieError(f"{path.name}: holds no two- or three-dimensional dataset")
        name = max(found, key=lambda key: file[key].size)
        shape = tuple(file[name].shape)
        attributes = dict(file[name].attrs)

    def get(key: object) -> np.ndarray:
        with h5py.File(path, "r") as file:
            return np.asarray(file[name][key])

    def number(key: str) -> float | None:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return float(attributes[key])
        return None

    return replace(
        _from_stack(path, shape, get),
        pixel_size_nm=number("pixel_size_nm"),
        frame_time_s=number("frame_time_s"),
    )


_READERS: dict[str, Callable[[Path], Movie]] = {
    ".npy": _read_npy,
    ".tif": _read_tiff,
    ".tiff": _read_tiff,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}
