"""What the viewer draws of the statistics. Their keys are read here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from latticewatch.published import Estimate, at, number
from latticewatch.viewer.motion import Directions, Rate, read_directions, read_rates
from latticewatch.viewer.surroundings import Surroundings, read_surroundings
from latticewatch.viewer.turns import Turn, read_turns
from latticewatch.viewer.values import band, floats, matrix, rows, text


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
    means
        Means over the session with their intervals, by the place of the statistics:
        ``populations.VS``, ``fractions.hole``, ``defect_density_nm2``.
    rates, directions
        Per second and per dose; whether vacancies move alike in all directions.
    surroundings
        Of the dopants, by state.
    turns
        The last change points.
    """

    frames: int = 0
    missing: int = 0
    credible: float = 0.95
    populations: Mapping[str, float] | None = None
    states: Mapping[str, float] | None = None
    fractions: Mapping[str, float] | None = None
    expected_vacancies: float | None = None
    diffusion: Estimate | None = None
    hop_rate: Estimate | None = None
    density: float | None = None
    constant_px: float | None = None
    pixel_size_nm: float | None = None
    agreement: Estimate | None = None
    disagreeing: bool = False
    chain: Chain | None = None
    memory: str | None = None
    classes: tuple[ClassFact, ...] = ()
    means: Mapping[str, Estimate] = field(default_factory=dict)
    rates: tuple[Rate, ...] = ()
    directions: Directions | None = None
    surroundings: tuple[Surroundings, ...] = ()
    turns: tuple[Turn, ...] = ()
    ended: bool = False


def read_facts(data: Mapping[str, Any]) -> Facts:
    """Take what is drawn from the statistics; a key that is missing or odd is left out."""
    free = at(data, "diffusion", "free")
    return Facts(
        frames=int(number(at(data, "frames")) or 0),
        missing=int(number(at(data, "missing")) or 0),
        credible=number(at(data, "credible")) or 0.95,
        populations=_now(at(data, "populations")),
        states=_now(at(data, "states")),
        fractions=_now(at(data, "fractions")),
        expected_vacancies=number(at(data, "fusion", "expected_vacancies", "now")),
        diffusion=band(at(free, "D_nm2_s")),
        hop_rate=band(at(free, "hop_rate_per_s")),
        density=number(at(data, "defect_density_nm2", "now")),
        constant_px=number(at(data, "lattice", "constant_px", "mean")),
        pixel_size_nm=number(at(data, "pixel_size_nm")),
        agreement=band(at(data, "calibration", "agreement"), "mean"),
        disagreeing=at(data, "calibration", "low") is True,
        chain=_chain(at(data, "transitions")),
        memory=text(at(data, "transitions", "memory", "verdict")),
        classes=_classes(at(data, "classes")),
        means=_means(data),
        rates=read_rates(data),
        directions=read_directions(data),
        surroundings=read_surroundings(data),
        turns=read_turns(data),
        ended=at(data, "ended") is True,
    )


def _now(series: Any) -> dict[str, float] | None:
    """Values of the last frame by name."""
    if not isinstance(series, Mapping):
        return None
    values = {str(name): number(at(row, "now")) for name, row in series.items()}
    return {name: value for name, value in values.items() if value is not None}


def _means(data: Mapping[str, Any]) -> dict[str, Estimate]:
    found = {"defect_density_nm2": band(at(data, "defect_density_nm2"), "mean")}
    for group in ("populations", "fractions"):
        series = at(data, group)
        for name, row in series.items() if isinstance(series, Mapping) else ():
            found[f"{group}.{name}"] = band(row, "mean")
    return {place: mean for place, mean in found.items() if mean is not None}


def _chain(transitions: Any) -> Chain | None:
    """Of the states behind the labels where they are told, else of the labels."""
    states = rows(at(transitions, "states"))
    if not states:
        return None
    side = len(states)
    for source, hidden in ((at(transitions, "hidden"), True), (transitions, False)):
        matrices = [matrix(at(source, k), side, side) for k in ("probabilities", "low", "high")]
        probabilities, low, high = matrices
        if probabilities is None or low is None or high is None:
            continue
        if np.isfinite(probabilities).any():
            return Chain(tuple(map(str, states)), probabilities, low, high, hidden)
    return None


def _classes(told: Any) -> tuple[ClassFact, ...]:
    known = []
    for row in rows(told):
        image, place = floats(at(row, "mean_image")), number(at(row, "class_id"))
        if image is None or place is None or not np.isfinite(image).all():
            continue
        species = str(at(row, "species") or "unknown")
        posterior = number(at(row, "posterior", species))
        weight = number(at(row, "weight")) or 0.0
        known.append(ClassFact(int(place), species, posterior, weight, image))
    return tuple(known)
