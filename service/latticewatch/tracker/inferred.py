"""What the words of labels tell, as plain JSON-able values: hidden matrix, memory, rates."""

from __future__ import annotations

import numpy as np

from . import hidden, rates
from .dependence import Dependence, dependence
from .emission import JEFFREYS
from .words import CONTEXT, WordCounts, pairs

#: What the memory test says, by its outcome.
VERDICTS = {
    None: "too few steps to tell whether the next state depends on the present one",
    False: "the next state does not depend on the present one as far as can be told: "
    "the matrix is not kinetics",
    True: "the next state depends on the present one",
}
#: Steps worth of evidence below which a row of the matrix says nothing.
LEAST_EVIDENCE = 1.0
#: Least chance per frame of leaving a state: where rounding leaves none, a stay is this long.
LEAST_EXIT = 1e-12

Plain = dict[str, object]


def summary(counts: WordCounts, names: tuple[str, ...], credible: float) -> Plain:
    """`hidden`, `memory` and `rates`; docs/tracker/transitions.md says what every key means."""
    tables = [pairs(counts, lag) for lag in range(1, CONTEXT + 1)] if names else []
    memory = _memory(tables)
    if not tables or not tables[0].sum():
        return {"hidden": None, "memory": memory, "rates": None}
    found = hidden.fit(counts)
    return {
        "hidden": _hidden(found, counts, names, credible),
        "memory": memory,
        "rates": _rates(found, counts.clock, credible),
    }


def _memory(tables: list[np.ndarray]) -> Plain:
    tested = [dependence(table) for table in tables]
    first = tested[0] if tested else Dependence(0.0, None, 0)
    return {
        "bits": first.bits,
        "p_value": first.p_value,
        "pairs": first.pairs,
        "bits_by_lag": [test.bits for test in tested],
        "verdict": VERDICTS[first.remembers],
    }


def _hidden(
    found: hidden.Hidden,
    counts: WordCounts,
    names: tuple[str, ...],
    credible: float,
) -> Plain:
    low, high = found.interval(credible)
    power, vacant = found.calibration
    # Prior and data together are worth so many steps; without the prior's:
    evidence = np.diag(found.effective) - JEFFREYS * len(names)
    known = evidence >= LEAST_EVIDENCE
    return {
        "probabilities": [
            row.tolist() if told else [None] * len(names)
            for row, told in zip(found.matrix, known, strict=True)
        ],
        "low": low.tolist(),
        "high": high.tolist(),
        "labels": int(counts.cells.sum()),
        "evidence_steps": evidence.tolist(),
        "population": found.emission.population.tolist(),
        "confusion": found.emission.confusion.tolist(),
        "label_error": found.emission.label_error,
        "calibration": {"power": float(np.exp(power)), "vacancy_log_odds": float(vacant)},
        "converged": found.converged,
        "dwell": [
            {
                "state": name,
                "mean_frames": 1.0 / max(1.0 - found.matrix[s, s], LEAST_EXIT)
                if known[s]
                else None,
                "low": 1.0 / max(1.0 - low[s, s], LEAST_EXIT),
                "high": 1.0 / max(1.0 - high[s, s], LEAST_EXIT),
            }
            for s, name in enumerate(names)
        ],
    }


def _rates(found: hidden.Hidden, clock: np.ndarray, credible: float) -> Plain:
    """Rates per second and per dose, or why there are none."""
    steps, seconds, dosed, dose = (float(v) for v in clock)
    process = rates.generator(found.matrix, found.covariance)
    reason = process if isinstance(process, str) else None
    frame_s = seconds / steps if steps else 0.0
    frame_dose = dose / dosed if dosed and dosed == steps else 0.0
    result: Plain = {
        "reason": reason,
        "adjusted": None if isinstance(process, str) else process.adjusted,
        "frame_s": frame_s if frame_s > 0 else None,
        "frame_dose_e_per_A2": frame_dose if frame_dose > 0 else None,
        "per_s": None,
        "per_dose": None,
    }
    if not isinstance(process, str):
        for name, length in (("per_s", frame_s), ("per_dose", frame_dose)):
            if length > 0:
                result[name] = _scaled(process, length, credible)
    return result


def _scaled(process: rates.Generator, length: float, credible: float) -> Plain:
    """Rates per unit of which a frame has `length`; on the diagonal that of leaving the state."""
    size = np.abs(process.rates) / length
    low, high = rates.interval(size, process.variance / length**2, credible)
    return {"rates": size.tolist(), "low": low.tolist(), "high": high.tolist()}
