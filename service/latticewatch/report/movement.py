"""What the report takes from the statistics of how vacancies move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from latticewatch.published import Estimate
from latticewatch.report.values import Absent, dig, estimate, number, read_or_absent


@dataclass(frozen=True, eq=False)
class Walk:
    """How some of the vacancies move.

    Attributes
    ----------
    steps
        Displacements that it stands on.
    diffusion, per_dose
        D in nm^2/s and, per dose, in nm^2 A^2/e.
    hops, hops_per_dose
        Hop rate, 1/s and A^2/e.
    tensor
        xx, xy and yy of D, nm^2/s, x along a1 and y 90 degrees from it towards a2.
    ratio
        Of its principal values.
    fast_axis, fast_axis_error
        Degrees from a1, with its standard error.
    chi2, p_value
        Of the test that the three lines' rates are alike, two degrees of freedom.
    lines
        Hop rates, 1/s, by lattice line.
    angles
        Of the lines from a1, degrees.
    wrong_nm
        What comes and goes within a frame, nm.
    """

    steps: float
    diffusion: Estimate
    per_dose: Estimate
    hops: Estimate
    hops_per_dose: Estimate
    tensor: tuple[Estimate, Estimate, Estimate]
    ratio: Estimate
    fast_axis: float
    fast_axis_error: float
    chi2: float
    p_value: float
    lines: tuple[tuple[str, Estimate], ...]
    angles: tuple[float, ...]
    wrong_nm: float


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion of all vacancies, of the free ones, and the original's estimate of D (biased)."""

    species: str
    all: Walk
    free: Walk
    windows: tuple[Estimate, ...]


def motion(statistics: Mapping[str, Any]) -> Motion | Absent:
    """Read D, its tensor and the hop rates."""

    def read() -> Motion:
        part = statistics["diffusion"]
        windows = dig(part, "window_variance.windows") or []
        return Motion(
            str(part["species"]),
            _walk(part["all"]),
            _walk(part["free"]),
            tuple(estimate(window, "D_nm2_s") for window in windows),
        )

    found = read_or_absent(read, "the session holds no estimate of the diffusion")
    known = isinstance(found, Motion) and np.isfinite(found.all.diffusion.value)
    return found if known else Absent("too few steps of vacancies for D")


def _walk(part: Mapping[str, Any]) -> Walk:
    tensor = [estimate(part, f"directions.D_nm2_s.{name}") for name in ("xx", "xy", "yy")]
    lines = dig(part, "directions.lines") or []
    return Walk(
        number(part, "steps"),
        estimate(part, "D_nm2_s"),
        estimate(part, "D_nm2_A2_per_e"),
        estimate(part, "hop_rate_per_s"),
        estimate(part, "hops_A2_per_e"),
        (tensor[0], tensor[1], tensor[2]),
        estimate(part, "directions.ratio"),
        number(part, "directions.fast_axis.angle_from_a1_deg"),
        number(part, "directions.fast_axis.standard_error_deg"),
        number(part, "directions.isotropy.chi2"),
        number(part, "directions.isotropy.p_value"),
        tuple((str(one["line"]), estimate(one, "hop_rate_per_s")) for one in lines),
        tuple(number(one, "angle_from_a1_deg") for one in lines),
        number(part, "localisation_error_nm"),
    )
