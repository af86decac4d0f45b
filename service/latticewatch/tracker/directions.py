"""Anisotropy of diffusion on the lattice: rates by line, a test of isotropy, the tensor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import chdtr, chdtrc, chndtrinc

from . import intervals
from .hops import LINE_ANGLES, LINE_NAMES, Hops, told_as

#: Standard deviation in degrees of an axis of which nothing is known: even over 180 degrees.
NO_AXIS_DEG = 180.0 / float(np.sqrt(12.0))
#: Weights of the rates in the tensor over a^2, x along a1: D = (a^2 / 2) sum R_k u_k u_k^T.
TENSOR = {
    "xx": np.array([1.0, 0.25, 0.25]) / 2,
    "xy": np.array([0.0, -1.0, 1.0]) * float(np.sqrt(3.0)) / 8,
    "yy": np.array([0.0, 0.75, 0.75]) / 2,
}


def contrast(found: Hops) -> tuple[float, float]:
    """Squared deviations of the rates from their mean, and the variance of each if all are alike.

    Their ratio is chi-square with two degrees of freedom in an isotropic specimen.
    """
    mean = float(found.rates.mean())
    even = replace(
        found, rates=np.full(3, max(mean, 0.0)), squares=np.full(3, found.squares.mean())
    )
    covariance = even.covariance()
    return float(((found.rates - mean) ** 2).sum()), float(covariance[0, 0] - covariance[0, 1])


def noncentrality(chi2: float, credible: float) -> tuple[float, float]:
    """Give the central interval of the non-centrality behind a chi-square value, 2 d.o.f."""
    tail = (1.0 - credible) / 2.0

    def end(p: float) -> float:
        # Where even a central chi-square would as rarely be so large, the end is zero.
        return 0.0 if chdtr(2.0, chi2) <= p else float(chndtrinc(chi2, 2.0, p))

    return end(1.0 - tail), end(tail)


def directions(found: Hops, per_s: float, constant_nm: float, credible: float) -> dict[str, object]:
    """JSON-able rates by line, test of isotropy, tensor and ratio of its principal values.

    `per_s` turns hops a frame into hops a second. The ratio follows from the length of the vector
    sum of R_k at twice the lines' angles over the sum of R_k: that length is Rice-distributed, so
    an isotropic specimen does not read as anisotropic; the interval inverts it.
    """
    lines = [
        {
            "line": name,
            "angle_from_a1_deg": angle,
            "hop_rate_per_s": told_as(found.told(np.eye(3)[k], credible), per_s),
        }
        for k, (name, angle) in enumerate(zip(LINE_NAMES, LINE_ANGLES, strict=True))
    ]
    deviation, variance = contrast(found)
    result: dict[str, object] = {
        "lines": lines,
        "isotropy": None,
        "D_nm2_s": _tensor(found, per_s * constant_nm**2, credible),
        "ratio": None,
        "fast_axis": None,
    }
    total = float(found.rates.sum())
    if variance <= 0.0 or total <= 0.0:
        return result
    chi2 = deviation / variance
    result["isotropy"] = {"chi2": chi2, "p_value": float(chdtrc(2.0, chi2))}
    length = np.array([max(chi2 - 2.0, 0.0), *noncentrality(chi2, credible)]) * 1.5 * variance
    rho = np.sqrt(length) / total
    if rho[1] < 1.0:  # else the sum of the rates is too uncertain to divide by
        ratio = [float((1 + r) / (1 - r)) if r < 1 else None for r in rho]
        result["ratio"] = dict(zip(("value", "low", "high"), ratio, strict=True))
    result["fast_axis"] = _axis(found, float(np.sqrt(1.5 * deviation)), 1.5 * variance)
    return result


def _tensor(found: Hops, scale: float, credible: float) -> dict[str, object]:
    factor, covariance = intervals.normal_factor(credible), found.covariance()
    result: dict[str, object] = {}
    for name, weights in TENSOR.items():
        value = float(weights @ found.rates)
        error = float(np.sqrt(max(weights @ covariance @ weights, 0.0)))
        told = value, error, value - factor * error, value + factor * error
        result[name] = told_as(told, scale)
    return result


def _axis(found: Hops, length: float, variance: float) -> dict[str, float]:
    """Angle of fastest diffusion from a1 towards a2, and its standard error, in degrees."""
    double = np.exp(2j * np.radians(LINE_ANGLES)) @ found.rates
    error = np.degrees(np.sqrt(variance) / length) / 2 if length > 0 else NO_AXIS_DEG
    return {
        "angle_from_a1_deg": float(np.degrees(np.angle(double)) / 2),
        "standard_error_deg": float(min(error, NO_AXIS_DEG)),
    }
