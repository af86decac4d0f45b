"""How vacancies move and states change, per second and per dose, as the statistics tell it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from latticewatch.published import Estimate, at, number
from latticewatch.viewer.values import band, matrix, rows, text


@dataclass(frozen=True)
class Rate:
    """A rate per second and, where the source tells its dose, per dose.

    Attributes
    ----------
    name, of
        What happens, and the unit of what there is per second, after a comma.
    per_s, per_dose
        With intervals; None where they are not known.
    """

    name: str
    of: str
    per_s: Estimate | None
    per_dose: Estimate | None


@dataclass(frozen=True)
class Line:
    """Hops of free vacancies along a lattice line: its name, angle from a1 (degrees), 1/s."""

    name: str
    angle_deg: float
    rate: Estimate


@dataclass(frozen=True)
class Directions:
    """Whether free vacancies move alike in all directions.

    Attributes
    ----------
    lines
        Hop rates of the three lattice lines.
    tensor
        (2, 2) of D, nm^2/s, x along a1, y 90 degrees from it towards a2.
    errors
        (2, 2), the standard errors of its elements.
    p_value
        Of the test that all lines are alike.
    ratio
        Of the principal values; its upper end is infinite where it has none.
    axis_deg, axis_error_deg
        Where diffusion is fastest, from a1 towards a2.
    """

    lines: tuple[Line, ...]
    tensor: np.ndarray
    errors: np.ndarray
    p_value: float | None = None
    ratio: Estimate | None = None
    axis_deg: float | None = None
    axis_error_deg: float | None = None


def read_rates(data: Mapping[str, Any]) -> tuple[Rate, ...]:
    """Rates of hops and of leaving each state; those that nothing is known of are left out."""
    free = at(data, "diffusion", "free")
    name = text(at(data, "diffusion", "species")) or "vacancy"
    found = (
        Rate(f"D of {name}", ", nm²", band(at(free, "D_nm2_s")), band(at(free, "D_nm2_A2_per_e"))),
        Rate(
            f"hops of a {name}",
            "",
            band(at(free, "hop_rate_per_s")),
            band(at(free, "hops_A2_per_e")),
        ),
        *_leaving(at(data, "transitions")),
    )
    return tuple(rate for rate in found if rate.per_s or rate.per_dose)


def _leaving(transitions: Any) -> Iterator[Rate]:
    """Rates of leaving a state stand on the diagonal."""
    states, known = rows(at(transitions, "states")), at(transitions, "rates")
    parts = [_diagonal(at(known, per), len(states)) for per in ("per_s", "per_dose")]
    for k, state in enumerate(states):
        per_s, per_dose = (None if part is None else part[k] for part in parts)
        yield Rate(f"leaving {state}", "", per_s, per_dose)


def _diagonal(part: Any, side: int) -> list[Estimate | None] | None:
    found = [matrix(at(part, name), side, side) for name in ("rates", "low", "high")]
    value, low, high = (None if one is None else np.diag(one).tolist() for one in found)
    if value is None or low is None or high is None:
        return None
    rows_of = zip(value, low, high, strict=True)
    return [band({"value": v, "low": a, "high": b}) for v, a, b in rows_of]


def read_directions(data: Mapping[str, Any]) -> Directions | None:
    """Rates by line and the tensor; None where they are not known."""
    told = at(data, "diffusion", "free", "directions")
    lines = tuple(line for row in rows(at(told, "lines")) for line in _line(row))
    parts = {
        key: [number(at(told, "D_nm2_s", name, key)) for name in ("xx", "xy", "xy", "yy")]
        for key in ("value", "standard_error")
    }
    tensor, errors = (np.array(part, np.float64).reshape(2, 2) for part in parts.values())
    if len(lines) != 3 or not np.isfinite([tensor, errors]).all():
        return None
    return Directions(
        lines,
        tensor,
        errors,
        number(at(told, "isotropy", "p_value")),
        _ratio(at(told, "ratio")),
        number(at(told, "fast_axis", "angle_from_a1_deg")),
        number(at(told, "fast_axis", "standard_error_deg")),
    )


def _line(row: Any) -> Iterator[Line]:
    name, angle, rate = text(at(row, "line")), number(at(row, "angle_from_a1_deg")), None
    rate = band(at(row, "hop_rate_per_s"))
    if name is not None and angle is not None and rate is not None:
        yield Line(name, angle, rate)


def _ratio(row: Any) -> Estimate | None:
    value, low, high = (number(at(row, name)) for name in ("value", "low", "high"))
    if value is None or low is None:
        return None
    return Estimate(value, low, np.inf if high is None else high)
