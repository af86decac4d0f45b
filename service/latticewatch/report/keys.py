"""What the report takes from a session's statistics: figures whole, single numbers by `dig`.

Every reader gives `Absent` with the reason where its keys are missing, null or of another form, so
that sessions of older and newer versions are reported as far as they go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Absent:
    """Something that the session does not hold, and why."""

    reason: str


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; NaN where it is not known."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class ClassImage:
    """A class of the mixture: mean image (p, p), counts, reading, ratio to the host column."""

    number: int
    image: np.ndarray
    members: float
    species: str
    ratio: Estimate
    expected: float


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion of the vacancies: nm^2/s, hops/s by lattice line, the original's estimate (biased)."""

    species: str
    diffusion: Estimate
    free: Estimate
    windows: tuple[Estimate, ...]
    lines: tuple[tuple[str, Estimate], ...]


@dataclass(frozen=True, eq=False)
class Field:
    """Mean displacements (7, 2) with standard errors, pm: the dopant, then its six neighbours."""

    state: str
    looks: int
    mean: np.ndarray
    error: np.ndarray


@dataclass(frozen=True, eq=False)
class Matrix:
    """Chances (n, n) of the next frame's state, with the ends of their intervals."""

    name: str
    states: tuple[str, ...]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    dwell: tuple[tuple[str, Estimate], ...]


def dig(data: Any, path: str) -> Any:
    """Return what lies at a dotted path; None where anything on the way is missing."""
    for key in path.split("."):
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def number(data: Any, path: str) -> float:
    """Return the number at a dotted path; NaN where there is none."""
    found = dig(data, path)
    return float(found) if isinstance(found, (int, float)) else float("nan")


def estimate(data: Any, path: str = "", value: str = "value") -> Estimate:
    """Return the estimate at a dotted path."""
    inner = dig(data, path) if path else data
    return Estimate(number(inner, value), number(inner, "low"), number(inner, "high"))


def classes(statistics: Mapping[str, Any]) -> tuple[ClassImage, ...] | Absent:
    """Read the classes that have a mean image."""

    def read() -> tuple[ClassImage, ...]:
        return tuple(
            ClassImage(
                int(one["class_id"]),
                np.array(one["mean_image"], float),
                float(one["members"]),
                str(one["species"]),
                Estimate(*(number(one, key) for key in ("ratio", "ratio_low", "ratio_high"))),
                number(one.get("expected_ratio"), str(one["species"])),
            )
            for one in statistics["classes"]
            if one.get("mean_image") is not None
        )

    return _read(read, "no class has a mean image yet (the mixture begins after its warm-up)")


def motion(statistics: Mapping[str, Any]) -> Motion | Absent:
    """Read D and the hop rates."""

    def read() -> Motion:
        part = statistics["diffusion"]
        windows = dig(part, "window_variance.windows") or []
        lines = dig(part, "all.directions.lines") or []
        return Motion(
            str(part["species"]),
            estimate(part, "all.D_nm2_s"),
            estimate(part, "free.D_nm2_s"),
            tuple(estimate(window, "D_nm2_s") for window in windows),
            tuple((str(one["line"]), estimate(one, "hop_rate_per_s")) for one in lines),
        )

    found = _read(read, "the session holds no estimate of the diffusion")
    known = isinstance(found, Motion) and np.isfinite(found.diffusion.value)
    return found if known else Absent("too few steps of vacancies for D")


def fields(statistics: Mapping[str, Any]) -> tuple[Field, ...] | Absent:
    """Read the displacement fields of the states that the filter told."""

    def read() -> tuple[Field, ...]:
        return tuple(
            Field(
                state,
                int(one["looks"]),
                _array(one["mean_pm"], 7, 2),
                _array(one["error_pm"], 7, 2),
            )
            for state, one in statistics["crystallography"]["told"].items()
            if one and one.get("mean_pm") is not None and one.get("error_pm") is not None
        )

    return _read(read, "no dopant's surroundings were measured")


def modes(statistics: Mapping[str, Any]) -> tuple[Field, ...] | Absent:
    """Read the first displacement mode of every state, at one standard deviation."""

    def read() -> tuple[Field, ...]:
        return tuple(
            Field(
                f"{state}, mode 1",
                int(one["looks"]),
                _array(one["modes"][0]["field_pm"], 7, 2),
                _array(one["modes"][0]["field_error_pm"], 7, 2),
            )
            for state, one in statistics["crystallography"]["told"].items()
            if one and one.get("modes") and one["modes"][0].get("field_error_pm") is not None
        )

    return _read(read, "no displacement mode stands out from the noise")


def matrices(statistics: Mapping[str, Any]) -> tuple[Matrix, ...] | Absent:
    """Read the hidden-state matrix, if there is one, and the one counted from labels."""

    def read() -> tuple[Matrix, ...]:
        part = statistics["transitions"]
        names = tuple(str(state) for state in part["states"])
        found = [_matrix("counted from labels", names, part, part.get("dwell"))]
        hidden = part.get("hidden")
        if hidden and hidden.get("probabilities") is not None:
            found.insert(0, _matrix("hidden states", names, hidden, hidden.get("dwell")))
        return tuple(found)

    return _read(read, "no dopant was followed from frame to frame")


def rates(statistics: Mapping[str, Any]) -> tuple[tuple[str, Estimate], ...] | Absent:
    """Read the rates from state to state, 1/s."""
    reason = dig(statistics, "transitions.rates.reason") or "the session holds none"

    def read() -> tuple[tuple[str, Estimate], ...]:
        names = statistics["transitions"]["states"]
        part = statistics["transitions"]["rates"]["per_s"]
        return tuple(
            (
                f"{before} to {after}",
                Estimate(part["rates"][i][j], part["low"][i][j], part["high"][i][j]),
            )
            for i, before in enumerate(names)
            for j, after in enumerate(names)
            # the diagonal is the rate of leaving: the dwell times tell that
            if i != j
        )

    return _read(read, str(reason))


def _matrix(name: str, states: tuple[str, ...], part: Mapping[str, Any], dwell: Any) -> Matrix:
    n = len(states)
    ends = [_array(part[key], n, n) for key in ("probabilities", "low", "high")]
    stays = tuple((str(one["state"]), estimate(one, value="mean_frames")) for one in dwell or [])
    return Matrix(name, states, ends[0], ends[1], ends[2], stays)


def _array(values: Any, *shape: int) -> np.ndarray:
    return np.array(values, float).reshape(shape)


def _read(read: Callable[[], T], reason: str) -> T | Absent:
    """Give `Absent` where a key is missing or is not of the expected form, or nothing is left."""
    try:
        found = read()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return Absent(reason)
    return Absent(reason) if found == () else found
