"""What the statistics tell of the columns around the dopants: mean images, displacements, modes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from latticewatch.published import Estimate, at, number
from latticewatch.viewer.values import band, floats, matrix, rows

#: A dopant and its six neighbours of the other kind of site.
COLUMNS = 7


@dataclass(frozen=True)
class Field:
    """Displacements of a dopant and its neighbours, picometres.

    Attributes
    ----------
    vectors, errors
        (7, 2), the dopant first, then its neighbours from a1 on in steps of 60 degrees; x along a1,
        y 90 degrees on. `errors` are standard errors of the components.
    size
        The number that sums the field up, with its standard error: of a mode its amplitude, of a
        mean field how far the dopant stands towards the vacancy.
    """

    vectors: np.ndarray
    errors: np.ndarray
    size: tuple[float, float]


@dataclass(frozen=True)
class Surroundings:
    """Of the dopants in one state.

    Attributes
    ----------
    state
        ``MoW`` or ``MoW+VS``, whose orientations are turned onto one.
    looks
        How many looks at a dopant it stands on.
    image
        Mean image, or None.
    mean
        Mean displacements, or None while there are too few looks.
    modes
        The first displacement modes at one standard deviation, none while there are too few looks.
    toward
        How far the dopant stands towards the vacancy, with its interval, picometres.
    """

    state: str
    looks: int
    image: np.ndarray | None
    mean: Field | None
    modes: tuple[Field, ...]
    toward: Estimate | None


def read_surroundings(data: Mapping[str, Any]) -> tuple[Surroundings, ...]:
    """Of every state that has an image of its own or displacements; the lone dopant first."""
    told = at(data, "crystallography", "told")
    images = at(data, "crystallography", "images")
    found = []
    for state, part in told.items() if isinstance(told, Mapping) else ():
        if state == "all":
            continue
        image = floats(at(images, state))
        # of pure states, where it is known: what was told holds looks at other states as well
        believed = at(data, "crystallography", "believed", state)
        mean_of = part if _mean(believed) is None else believed
        found.append(
            Surroundings(
                str(state),
                int(number(at(part, "looks")) or 0),
                image if image is not None and np.isfinite(image).all() else None,
                _mean(mean_of),
                tuple(_modes(part)),
                band(at(mean_of, "toward_pm")),
            )
        )
    return tuple(one for one in found if one.looks or one.image is not None)


def _mean(part: Any) -> Field | None:
    toward = (number(at(part, "toward_pm", "value")), number(at(part, "toward_pm", "error")))
    return _field(at(part, "mean_pm"), at(part, "error_pm"), *toward)


def _modes(part: Any) -> Iterator[Field]:
    for row in rows(at(part, "modes")):
        sizes = (number(at(row, "amplitude_pm")), number(at(row, "amplitude_error_pm")))
        mode = _field(at(row, "field_pm"), at(row, "field_error_pm"), *sizes)
        if mode is not None:
            yield mode


def _field(vectors: Any, errors: Any, size: float | None, error: float | None) -> Field | None:
    shifts, spreads = matrix(vectors, COLUMNS, 2), matrix(errors, COLUMNS, 2)
    if shifts is None or spreads is None or size is None or error is None:
        return None
    known = np.isfinite(shifts).all() and np.isfinite(spreads).all()
    return Field(shifts, spreads, (size, error)) if known else None
