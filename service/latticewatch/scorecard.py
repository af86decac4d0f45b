"""What a subscriber received, held against the simulated specimen's truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from latticewatch.client.messages import DefectTable
from latticewatch_models.scoring import MATCH_DISTANCE, match
from latticewatch_models.truth import Truth

#: Defects nearer to the frame's border than this, in lattice constants, are not judged: less than
#: half of their column is in the picture.
BORDER = 0.5

#: Nor are those this near to a hole, in lattice constants: what stands on its rim is no lattice
#: defect, and the truth does not name it.
RIM = 1.0


@dataclass(frozen=True)
class SpeciesScore:
    """Counts over all frames of one species.

    A true defect is found when a detection within half the distance of neighbouring columns bears
    its species; matching is one to one.
    """

    true: int
    reported: int
    right: int

    @property
    def precision(self) -> float | None:
        """Share of what was reported that is true; None where nothing was."""
        return self.right / self.reported if self.reported else None

    @property
    def recall(self) -> float | None:
        """Share of what is true that was reported; None where there is none."""
        return self.right / self.true if self.true else None


def score_by_species(
    frames: Iterable[tuple[Truth, DefectTable]],
) -> dict[str, SpeciesScore]:
    """Score the tables of a session's frames against their truth."""
    true: Counter[str] = Counter()
    reported: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for truth, table in frames:
        points = np.stack([table.x_px, table.y_px], axis=-1)
        species = table.species.astype(str)
        judged_true, judged = _judged(truth, truth.points), _judged(truth, points)
        true.update(truth.species[judged_true].tolist())
        reported.update(species[judged].tolist())
        found, partner = match(points, truth.points, MATCH_DISTANCE * truth.lattice.constant)
        same = species[found] == truth.species[partner]
        # a pair that straddles the border counts on the side where both are judged
        both = judged[found] & judged_true[partner]
        right.update(species[found[same & both]].tolist())
    return {
        name: SpeciesScore(true[name], reported[name], right[name])
        for name in sorted(set(true) | set(reported))
    }


def _judged(truth: Truth, points: np.ndarray) -> np.ndarray:
    """Which points lie well inside the frame and off holes."""
    constant = truth.lattice.constant
    size = np.array([truth.shape[1], truth.shape[0]])
    inside = ((points >= BORDER * constant) & (points <= size - 1 - BORDER * constant)).all(axis=1)
    return np.asarray(inside & ~truth.in_hole(points, RIM * constant))
