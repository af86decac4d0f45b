"""What the report takes from a session's statistics: figures whole, single numbers by `dig`.

Every reader gives `Absent` with the reason where its keys are missing, null or of another form, so
that sessions of older and newer versions are reported as far as they go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from latticewatch import published
from latticewatch.published import Estimate

T = TypeVar("T")


@dataclass(frozen=True)
class Absent:
    """Something that the session does not hold, and why."""

    reason: str


@dataclass(frozen=True, eq=False)
class ClassImage:
    """A class of the mixture: mean image (p, p), counts, reading, ratios to the host column.

    `chance` is that of the reading, `share` that of the class among the detections.
    """

    number: int
    image: np.ndarray
    members: float
    species: str
    ratio: Estimate
    expected: float
    chance: float = float("nan")
    share: float = float("nan")


@dataclass(frozen=True, eq=False)
class Matrix:
    """Chances (n, n) of the next frame's state, with the ends of their intervals."""

    name: str
    states: tuple[str, ...]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    dwell: tuple[tuple[str, Estimate], ...]


@dataclass(frozen=True)
class Rate:
    """A rate from state to state, per second and per dose (A^2/e)."""

    before: str
    after: str
    per_s: Estimate
    per_dose: Estimate


def dig(data: Any, path: str) -> Any:
    """Return what lies at a dotted path; None where anything on the way is missing."""
    return published.at(data, *path.split("."))


def number(data: Any, path: str) -> float:
    """Return the number at a dotted path; NaN where there is none."""
    found = published.number(dig(data, path))
    return float("nan") if found is None else found


def estimate(data: Any, path: str = "", value: str = "value") -> Estimate:
    """Return the estimate at a dotted path; NaN for what is not known of it."""
    inner = dig(data, path) if path else data
    return Estimate(number(inner, value), number(inner, "low"), number(inner, "high"))


def array(values: Any, *shape: int) -> np.ndarray:
    """Return values as floats of a shape; null is NaN."""
    return np.array(values, float).reshape(shape)


def read_or_absent(read: Callable[[], T], reason: str) -> T | Absent:
    """Give `Absent` where a key is missing or is not of the expected form, or nothing is left."""
    try:
        found = read()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return Absent(reason)
    return Absent(reason) if found == () else found


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
                number(one.get("posterior"), str(one["species"])),
                number(one, "weight"),
            )
            for one in statistics["classes"]
            if one.get("mean_image") is not None
        )

    return read_or_absent(
        read, "no class has a mean image yet (the mixture begins after its warm-up)"
    )


def matrices(statistics: Mapping[str, Any]) -> tuple[Matrix, ...] | Absent:
    """Read the hidden-state matrix, if there is one, and the one counted from labels."""

    def read() -> tuple[Matrix, ...]:
        part = statistics["transitions"]
        names = tuple(str(state) for state in part["states"])
        if not names:
            return ()
        found = [_matrix("counted from labels", names, part, part.get("dwell"))]
        hidden = part.get("hidden")
        if hidden and hidden.get("probabilities") is not None:
            found.insert(0, _matrix("hidden states", names, hidden, hidden.get("dwell")))
        return tuple(found)

    return read_or_absent(read, "no dopant was followed from frame to frame")


def rates(statistics: Mapping[str, Any]) -> tuple[Rate, ...] | Absent:
    """Read the rates from state to state; the diagonal is told by the dwell times."""
    reason = dig(statistics, "transitions.rates.reason") or "the session holds none"

    def read() -> tuple[Rate, ...]:
        names = statistics["transitions"]["states"]
        part = statistics["transitions"]["rates"]
        return tuple(
            Rate(before, after, _entry(part["per_s"], i, j), _entry(part.get("per_dose"), i, j))
            for i, before in enumerate(names)
            for j, after in enumerate(names)
            if i != j
        )

    return read_or_absent(read, str(reason))


def _entry(part: Mapping[str, Any] | None, i: int, j: int) -> Estimate:
    if not part:
        return Estimate(*[float("nan")] * 3)
    return Estimate(*(float(part[name][i][j]) for name in ("rates", "low", "high")))


def _matrix(name: str, states: tuple[str, ...], part: Mapping[str, Any], dwell: Any) -> Matrix:
    n = len(states)
    ends = [array(part[key], n, n) for key in ("probabilities", "low", "high")]
    stays = tuple((str(one["state"]), estimate(one, value="mean_frames")) for one in dwell or [])
    return Matrix(name, states, ends[0], ends[1], ends[2], stays)
