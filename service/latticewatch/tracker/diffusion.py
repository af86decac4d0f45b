"""Diffusion as it is published: hop rates, coefficient and anisotropy, each with its interval."""

from __future__ import annotations

import numpy as np

from . import intervals
from .directions import directions
from .hops import LEAST_PAIRS, DiffusionSums, hop_rates, told_as


def summary(
    sums: DiffusionSums, constant_nm: float, credible: float, jump: float = 1.0
) -> dict[str, object]:
    """JSON-able hop rates and coefficient with intervals; per second, and per dose where known."""
    known = sums.pairs >= LEAST_PAIRS and sums.time_s > 0
    dosed = known and sums.dosed == sums.steps and sums.dose > 0
    result: dict[str, object] = {
        "steps": sums.steps,
        "pairs": sums.pairs,
        "least_pairs": LEAST_PAIRS,
        "time_at_risk_s": sums.time_s,
        "site_changes": sums.changes,
        "site_changes_per_s": None,
        "localisation_error_nm": None,
        **dict.fromkeys(("hop_rate_per_s", "D_nm2_s", "hops_A2_per_e", "D_nm2_A2_per_e")),
        "directions": None,
    }
    if sums.time_s > 0:
        value, low, high = intervals.rate(sums.changes, sums.time_s, credible)
        result["site_changes_per_s"] = {"value": value, "low": low, "high": high}
    if not known:
        return result
    found = hop_rates(sums, jump)
    total, area = found.told(np.ones(3), credible), constant_nm**2 / 4
    noise = max(-float(sums.products.sum()) / sums.pairs / 2, 0.0)
    result["localisation_error_nm"] = float(np.sqrt(noise)) * constant_nm
    result["hop_rate_per_s"] = told_as(total, sums.steps / sums.time_s)
    result["D_nm2_s"] = told_as(total, area * sums.steps / sums.time_s)
    if dosed:
        result["hops_A2_per_e"] = told_as(total, sums.steps / sums.dose)
        result["D_nm2_A2_per_e"] = told_as(total, area * sums.steps / sums.dose)
    per_s = sums.steps / sums.time_s
    result["directions"] = directions(found, per_s, constant_nm, credible)
    return result
