"""The defect table: the same fifteen columns on the wire, in the store and in Parquet."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from latticewatch.client.errors import MessageError

#: Column names and numpy types, in the order of the table; ``str`` columns are of type ``U``.
COLUMN_TYPES: dict[str, str] = {
    "frame": "int64",
    "time_s": "float64",
    "track": "int64",
    "x_px": "float64",
    "y_px": "float64",
    "x_nm": "float64",
    "y_nm": "float64",
    "site_i": "int32",
    "site_j": "int32",
    "sublattice": "int8",
    "probability": "float64",
    "class_id": "int16",
    "class_probability": "float64",
    "species": "str",
    "state": "str",
}

COLUMNS: tuple[str, ...] = tuple(COLUMN_TYPES)


@dataclass(frozen=True, eq=False)
class DefectTable:
    """Defects of one or more frames, one row each, as columns of equal length n.

    Attributes
    ----------
    frame, time_s, track
        Frame number in the session, its time in seconds, number of the track (-1: none).
    x_px, y_px
        Position in the frame as acquired, pixels; the centre of the first pixel is (0, 0).
    x_nm, y_nm
        Drift-corrected position, nm; NaN where the pixel size is not known.
    site_i, site_j, sublattice
        Lattice site.
    probability
        That it is a defect, 0 to 1.
    class_id, class_probability
        Class of the mixture and the probability of that class.
    species, state
        Names as in the documentation of the table; `state` is empty for all but dopants.

    Raises
    ------
    ValueError
        Columns differ in length, or hold values that do not fit their type.
    """

    frame: np.ndarray
    time_s: np.ndarray
    track: np.ndarray
    x_px: np.ndarray
    y_px: np.ndarray
    x_nm: np.ndarray
    y_nm: np.ndarray
    site_i: np.ndarray
    site_j: np.ndarray
    sublattice: np.ndarray
    probability: np.ndarray
    class_id: np.ndarray
    class_probability: np.ndarray
    species: np.ndarray
    state: np.ndarray

    def __post_init__(self) -> None:
        for column in fields(self):
            values = _column(column.name, getattr(self, column.name))
            object.__setattr__(self, column.name, values)
        lengths = {name: len(getattr(self, name)) for name in COLUMNS}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of a defect table differ in length: {lengths}")

    def __len__(self) -> int:
        return len(self.frame)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DefectTable):
            return NotImplemented
        return all(_same(getattr(self, name), getattr(other, name)) for name in COLUMNS)

    __hash__ = None  # type: ignore[assignment]

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names in order."""
        return COLUMNS

    @classmethod
    def empty(cls) -> DefectTable:
        """Table without rows."""
        return cls(**{name: np.empty(0) for name in COLUMNS})

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[Any]]) -> DefectTable:
        """Table from rows in the order of `COLUMNS`."""
        listed = list(rows)
        if not listed:
            return cls.empty()
        columns = zip(*listed, strict=True)
        return cls.from_dict(dict(zip(COLUMNS, columns, strict=True)))

    @classmethod
    def from_dict(cls, columns: Mapping[str, Any]) -> DefectTable:
        """Table from columns by name; raises ValueError where one is missing or unknown."""
        if set(columns) != set(COLUMNS):
            odd = sorted(set(columns) ^ set(COLUMNS))
            raise ValueError(f"a defect table has the columns {COLUMNS}; amiss: {odd}")
        return cls(**columns)

    @classmethod
    def from_wire(cls, columns: Any) -> DefectTable:
        """Table from what `to_wire` gave; raises MessageError where it is damaged."""
        if not isinstance(columns, dict):
            raise MessageError("a defect table is not a map of columns")
        try:
            return cls.from_dict(columns)
        except (ValueError, TypeError, OverflowError) as error:
            raise MessageError(f"not a defect table ({error})") from None

    @classmethod
    def concat(cls, tables: Iterable[DefectTable]) -> DefectTable:
        """Rows of all tables, one after the other."""
        listed = [table for table in tables if len(table)]
        if not listed:
            return cls.empty()
        return cls(**{name: np.concatenate([getattr(t, name) for t in listed]) for name in COLUMNS})

    def select(self, mask: np.ndarray) -> DefectTable:
        """Rows chosen by a mask or by indices."""
        return DefectTable(**{name: getattr(self, name)[mask] for name in COLUMNS})

    def to_dict(self) -> dict[str, np.ndarray]:
        """Columns by name."""
        return {name: getattr(self, name) for name in COLUMNS}

    def to_wire(self) -> dict[str, Any]:
        """Columns by name, text columns as lists: what `wire.pack` takes."""
        return {
            name: values.tolist() if COLUMN_TYPES[name] == "str" else values
            for name, values in self.to_dict().items()
        }

    def to_rows(self) -> list[tuple[Any, ...]]:
        """Rows of plain Python values, in the order of `COLUMNS`."""
        return list(zip(*(getattr(self, name).tolist() for name in COLUMNS), strict=True))

    def to_pandas(self) -> Any:
        """pandas.DataFrame of the table; raises ImportError where pandas is not installed."""
        return _library("pandas", "to_pandas").DataFrame(self.to_dict())

    def to_polars(self) -> Any:
        """polars.DataFrame of the table; raises ImportError where polars is not installed."""
        return _library("polars", "to_polars").DataFrame(self.to_dict())

    def to_arrow(self) -> Any:
        """pyarrow.Table of the table; raises ImportError where pyarrow is not installed."""
        return _library("pyarrow", "to_arrow").table(self.to_dict())


def _library(name: str, method: str) -> Any:
    """Import what the package does not need itself, when it is asked for."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{method}() needs {name}: pip install {name}") from error


def _column(name: str, values: Any) -> np.ndarray:
    wanted = COLUMN_TYPES[name]
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"column {name} has {array.ndim} dimensions instead of 1")
    if wanted == "str":
        if array.size and array.dtype.kind not in "UO":
            raise ValueError(f"column {name} holds {array.dtype} instead of text")
        return np.asarray(array, dtype=str) if array.size else np.empty(0, "U1")
    if array.size and array.dtype.kind not in "iufb":
        raise ValueError(f"column {name} holds {array.dtype} instead of numbers")
    if not array.size:
        return np.empty(0, wanted)
    if wanted.startswith("float"):
        return array.astype(wanted, copy=False)
    with np.errstate(invalid="ignore"):
        whole = array.astype(wanted, copy=False)
    if not np.array_equal(whole, array):
        raise ValueError(f"column {name} holds values that are no {wanted}")
    return whole


def _same(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f")
