"""What the viewer draws of the statistics. Their keys are read here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Band:
    """An estimate and its credible interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Chain:
    """Transition probabilities between states in one frame.

    Attributes
    ----------
    states
        Names, n of them.
    probabilities, low, high
        (n, n) from row to column, NaN where a row was never left.
    hidden
        They are those of the true states behind the labels, not of the labels themselves.
    """

    states: tuple[str, ...]
    probabilities: np.ndarray
    low: np.ndarray
    high: np.ndarray
    hidden: bool


@dataclass(frozen=True)
class ClassFact:
    """A class of the mixture: number, species, its probability, share and mean image (rows)."""

    number: int
    species: str
    posterior: float | None
    weight: float
    image: np.ndarray


@dataclass(frozen=True)
class Facts:
    """The statistics of one moment; None or empty where the service does not tell.

    Attributes
    ----------
    frames, missing
        Counted frames, and how many never came.
    credible
        Probability inside the intervals.
    populations, states, fractions
        Defects by species and dopants by state in the last frame, shares of its area.
    expected_vacancies
        Sum of the vacancies' probabilities in the last frame.
    diffusion
        Coefficient of free vacancies, nm^2/s.
    hop_rate
        Changes of site of a vacancy, 1/s.
    density
        Defects per nm^2.
    constant_px, pixel_size_nm
        Lattice constant and size of a pixel of the frame as acquired.
    memory
        What the test says of the transitions: whether they are kinetics at all.
    agreement, disagreeing
        Of segmenter and labels, and whether it is low for long.
    """

    frames: int = 0
    missing: int = 0
    credible: float = 0.95
    populations: Mapping[str, float] | None = None
    states: Mapping[str, float] | None = None
    fractions: Mapping[str, float] | None = None
    expected_vacancies: float | None = None
    diffusion: Band | None = None
    hop_rate: Band | None = None
    density: float | None = None
    constant_px: float | None = None
    pixel_size_nm: float | None = None
    agreement: Band | None = None
    disagreeing: bool = False
    chain: Chain | None = None
    memory: str | None = None
    classes: tuple[ClassFact, ...] = ()
    ended: bool = False


def read_facts(data: Mapping[str, Any]) -> Facts:
    """Take what is drawn from the statistics; a key that is missing or odd is left out."""
    free = _at(data, "diffusion", "free")
    return Facts(
        frames=int(_number(_at(data, "frames")) or 0),
        missing=int(_number(_at(data, "missing")) or 0),
        credible=_number(_at(data, "credible")) or 0.95,
        populations=_now(_at(data, "populations")),
        states=_now(_at(data, "states")),
        fractions=_now(_at(data, "fractions")),
        expected_vacancies=_number(_at(data, "fusion", "expected_vacancies", "now")),
        diffusion=_band(_at(free, "D_nm2_s")),
        hop_rate=_band(_at(free, "hop_rate_per_s")),
        density=_number(_at(data, "defect_density_nm2", "now")),
        constant_px=_number(_at(data, "lattice", "constant_px", "mean")),
        pixel_size_nm=_number(_at(data, "pixel_size_nm")),
        agreement=_band(_at(data, "calibration", "agreement"), "mean"),
        disagreeing=_at(data, "calibration", "low") is True,
        chain=_chain(_at(data, "transitions")),
        memory=_text(_at(data, "transitions", "memory", "verdict")),
        classes=_classes(_at(data, "classes")),
        ended=_at(data, "ended") is True,
    )


def _at(data: Any, *keys: str) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _number(value: Any) -> float | None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if known and math.isfinite(value) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _now(series: Any) -> dict[str, float] | None:
    """Values of the last frame by name."""
    if not isinstance(series, Mapping):
        return None
    values = {str(name): _number(_at(row, "now")) for name, row in series.items()}
    return {name: value for name, value in values.items() if value is not None}


def _band(row: Any, key: str = "value") -> Band | None:
    value, low, high = (_number(_at(row, name)) for name in (key, "low", "high"))
    if value is None or low is None or high is None:
        return None
    return Band(value, low, high)


def _chain(transitions: Any) -> Chain | None:
    """Of the states behind the labels where they are told, else of the labels."""
    states = _at(transitions, "states")
    if not isinstance(states, Sequence) or isinstance(states, str) or not states:
        return None
    for source, hidden in ((_at(transitions, "hidden"), True), (transitions, False)):
        matrices = [_square(_at(source, k), len(states)) for k in ("probabilities", "low", "high")]
        probabilities, low, high = matrices
        if probabilities is None or low is None or high is None:
            continue
        if np.isfinite(probabilities).any():
            return Chain(tuple(map(str, states)), probabilities, low, high, hidden)
    return None


def _square(rows: Any, side: int) -> np.ndarray | None:
    matrix = _floats(rows)
    return matrix if matrix is not None and matrix.shape == (side, side) else None


def _floats(rows: Any) -> np.ndarray | None:
    """Two-dimensional array, None in it as NaN; None for what is no such thing."""
    try:
        array = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.ndim == 2 and array.size else None


def _classes(rows: Any) -> tuple[ClassFact, ...]:
    known = []
    for row in rows if isinstance(rows, Sequence) and not isinstance(rows, str) else ():
        image, number = _floats(_at(row, "mean_image")), _number(_at(row, "class_id"))
        if image is None or number is None or not np.isfinite(image).all():
            continue
        species = str(_at(row, "species") or "unknown")
        posterior = _number(_at(row, "posterior", species))
        weight = _number(_at(row, "weight")) or 0.0
        known.append(ClassFact(int(number), species, posterior, weight, image))
    return tuple(known)
