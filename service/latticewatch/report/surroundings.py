"""What the report takes from the statistics of the columns around dopants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from latticewatch.published import Estimate
from latticewatch.report.values import Absent, array, dig, estimate, number, read_or_absent


@dataclass(frozen=True, eq=False)
class Field:
    """Displacements (7, 2) with standard errors, pm: the dopant, then its six neighbours.

    `note` says in a few words what it stands on.
    """

    state: str
    note: str
    mean: np.ndarray
    error: np.ndarray


@dataclass(frozen=True)
class Shift:
    """How far a dopant stands from the middle of its neighbours, pm."""

    state: str
    basis: str
    toward: Estimate
    across: Estimate


@dataclass(frozen=True)
class Mode:
    """A displacement mode at one standard deviation, pm, with its standard error."""

    state: str
    order: int
    amplitude: float
    error: float
    noise: float


def fields(statistics: Mapping[str, Any]) -> tuple[Field, ...] | Absent:
    """Read the mean fields of the states that the filter told."""

    def read() -> tuple[Field, ...]:
        return tuple(
            _field(state, f"{int(one['looks'])} looks", one, "mean_pm", "error_pm")
            for state, one in _states(statistics, "told", "mean_pm", "error_pm")
        )

    return read_or_absent(read, "no dopant's surroundings were measured")


def believed(statistics: Mapping[str, Any]) -> tuple[Field, ...] | Absent:
    """Read the mean fields of pure states."""

    def read() -> tuple[Field, ...]:
        return tuple(
            _field(state, "pure state", one, "mean_pm", "error_pm")
            for state, one in _states(statistics, "believed", "mean_pm", "error_pm")
        )

    return read_or_absent(read, "not all states were believed in often enough")


def modes(statistics: Mapping[str, Any]) -> tuple[Field, ...] | Absent:
    """Read the fields of the displacement modes of every state, at one standard deviation."""

    def read() -> tuple[Field, ...]:
        return tuple(
            _field(f"{state}, mode {at}", _amplitude(mode), mode, "field_pm", "field_error_pm")
            for state, one in _states(statistics, "told", "modes")
            for at, mode in enumerate(one["modes"], 1)
            if mode.get("field_pm") is not None and mode.get("field_error_pm") is not None
        )

    return read_or_absent(read, "no displacement mode stands out from the noise")


def shifts(statistics: Mapping[str, Any]) -> tuple[Shift, ...]:
    """Read how far dopants stand off centre, of told and of pure states."""
    return tuple(
        Shift(state, name, estimate(one, "toward_pm"), estimate(one, "across_pm"))
        for part, name in (("told", "as told"), ("believed", "pure state"))
        for state, one in _states(statistics, part, "toward_pm", "across_pm")
    )


def amplitudes(statistics: Mapping[str, Any]) -> tuple[Mode, ...]:
    """Read the modes' amplitudes."""
    return tuple(
        Mode(
            state,
            at,
            number(mode, "amplitude_pm"),
            number(mode, "amplitude_error_pm"),
            float(np.sqrt(number(mode, "noise_pm2"))),
        )
        for state, one in _states(statistics, "told", "modes")
        for at, mode in enumerate(one["modes"] if isinstance(one["modes"], list) else (), 1)
        if isinstance(mode, Mapping)
    )


def _states(
    statistics: Mapping[str, Any], part: str, *needed: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """States whose entry holds what is needed."""
    found = dig(statistics, f"crystallography.{part}")
    for state, one in found.items() if isinstance(found, Mapping) else ():
        if isinstance(one, Mapping) and all(one.get(name) is not None for name in needed):
            yield str(state), one


def _field(state: str, note: str, one: Mapping[str, Any], mean: str, error: str) -> Field:
    return Field(state, note, array(one[mean], 7, 2), array(one[error], 7, 2))


def _amplitude(mode: Mapping[str, Any]) -> str:
    size, error = number(mode, "amplitude_pm"), number(mode, "amplitude_error_pm")
    return f"{size:.1f} ± {error:.1f} pm"
