"""The tracker's published series under watch for changes, and the changes that it remembers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from latticewatch_models.crystal import Crystal

from .baseline import WARM_UP, Past
from .changes import LAST, Kinds, watch
from .species import species_names
from .update import Event

#: Series that are not counts; the defect density and the populations follow.
MEASURED = (
    "lattice.constant_px",
    "fractions.crystalline",
    "fractions.disordered",
    "fractions.hole",
)
#: Least standard deviation of an area fraction: a tenth of the two points that one is right to.
LEAST_FRACTION = 0.002
#: The same of a lattice constant, relative: a tenth of what one frame measures it to.
LEAST_CONSTANT = 1e-4
#: Least standard deviation of a count: what rounding to whole numbers may hide.
LEAST_COUNT = 0.5


@lru_cache(maxsize=16)
def series_names(crystal: Crystal) -> tuple[str, ...]:
    """Names of all series under watch: their places in the statistics."""
    return (
        *MEASURED,
        "defect_density_nm2",
        *(f"populations.{name}" for name in species_names(crystal)),
        *(f"states.{name}" for name in crystal.states),
    )


@dataclass(frozen=True)
class Watch:
    """The series' past, and the last changes as JSON-able values, oldest first."""

    past: Past
    last: list[dict[str, Any]]

    @classmethod
    def empty(cls, crystal: Crystal) -> Watch:
        """Nothing seen."""
        return cls(Past.empty(len(series_names(crystal))), [])

    def anew(self, crystal: Crystal) -> Watch:
        """Begin all series anew, on a new field of view; what was found stays known."""
        return Watch(Past.empty(len(series_names(crystal))), self.last)

    def look(
        self,
        measured: np.ndarray,
        density: tuple[float, float],
        counts: np.ndarray,
        frame: int,
        crystal: Crystal,
        credible: float,
    ) -> tuple[Watch, list[Event]]:
        """Take one frame in; events of the changes that it shows.

        `measured` are the values of `MEASURED`, `density` the defects a nm^2 and the area in nm^2
        that they were counted on, `counts` the populations of species, then of states.
        """
        per_area = 1.0 / density[1] if density[1] > 0 else 1.0
        units = np.ones(len(self.past.level))
        units[: len(MEASURED)], units[len(MEASURED)] = 0.0, per_area
        floors = LEAST_COUNT * units
        floors[: len(MEASURED)] = LEAST_FRACTION
        floors[0] = LEAST_CONSTANT * measured[0]
        highest = np.full(len(units), np.inf)
        highest[1 : len(MEASURED)] = 1.0
        kinds = Kinds(series_names(crystal), units, floors, 0.0, highest)
        values = np.concatenate([measured, density[:1], counts])
        past, changes = watch(self.past, values, frame, kinds, credible)
        events = [Event(frame, "change", -1, *change.text()) for change in changes]
        last = [*self.last, *(change.plain() for change in changes)][-LAST:]
        return Watch(past, last), events


def summary(seen: Watch, crystal: Crystal) -> dict[str, object]:
    """JSON-able: the series watched, those that can report now, and the last changes."""
    names = series_names(crystal)
    ready = seen.past.ready()
    return {
        "series": list(names),
        "warming_up": [name for name, r in zip(names, ready, strict=True) if not r],
        "warm_up_frames": WARM_UP,
        "last": seen.last,
    }
