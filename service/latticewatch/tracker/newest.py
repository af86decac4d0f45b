"""The numbers of the last frame alone, at hand without the statistics."""

from __future__ import annotations

from typing import Any

from latticewatch_models.crystal import Crystal

from .memory import CRYSTALLINE, DENSITY, DISORDERED, HOLE, Memory
from .species import species_names


def newest(memory: Memory, crystal: Crystal) -> dict[str, Any]:
    """Give density, fractions and counts of the last frame with a result.

    The keys are those of the statistics, where the same values stand under ``now``; empty before
    the first such frame.
    """
    if not memory.frames:
        return {}
    optics, counts = memory.optics.last, memory.defects.last.tolist()
    names = species_names(crystal)
    return {
        "defect_density_nm2": float(optics[DENSITY]),
        "fractions": {
            "crystalline": float(optics[CRYSTALLINE]),
            "disordered": float(optics[DISORDERED]),
            "hole": float(optics[HOLE]),
        },
        "populations": dict(zip(names, counts, strict=False)),
        "states": dict(zip(crystal.states, counts[len(names) :], strict=True)),
    }
