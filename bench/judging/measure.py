"""What this project's path reaches under one condition of acquisition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from judging.counting import SPECIES, Tally, curve, species_curve, tally
from judging.frames import TEST_SEED, Condition, acquire, judged
from judging.ours import Ours
from judging.positions import rms
from latticewatch_models.microscope import SimulatedFrame
from latticewatch_models.scoring import calibration_error


@dataclass(frozen=True)
class Result:
    """Counts at the service's threshold, and of all that is claimed.

    Attributes
    ----------
    condition
        How the frames were acquired.
    sure, all_claimed
        Detections that the service reports, and all at 0.1 and above.
    no_lattice
        Frames in which no lattice was found.
    """

    condition: Condition
    sure: Tally
    all_claimed: Tally
    no_lattice: int

    @property
    def calibration_error(self) -> float:
        """Expected calibration error of all that is claimed."""
        return calibration_error(self.all_claimed.score, self.all_claimed.right)

    @property
    def position_error_nm(self) -> float:
        """Root mean square distance from the truth."""
        return rms(self.sure.error) * self.condition.pixel_nm

    def best_f1(self, species: str) -> float:
        """F1 of a species with the threshold that is best for it on these very frames."""
        return float(species_curve(self.all_claimed, species)[2].max(initial=0.0))

    def overall_curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Recall and precision over all species by threshold."""
        claimed = self.all_claimed
        return curve(claimed.score, claimed.right, sum(claimed.true.values()))[:2]


def test_frames(condition: Condition, number: int) -> list[SimulatedFrame]:
    return [acquire(condition, TEST_SEED + k) for k in range(number)]


def bare_frames(condition: Condition, number: int) -> list[SimulatedFrame]:
    """Give the same frames without contamination."""
    return [acquire(condition, TEST_SEED + k, contaminated=False) for k in range(number)]


def measure(ours: Ours, condition: Condition, frames: list[SimulatedFrame]) -> Result:
    """Run the whole path on frames and count."""
    before = ours.no_lattice
    answers = [(ours(frame.image), judged(frame.truth)) for frame in frames]
    sure, claimed = (tally((both[k], truth) for both, truth in answers) for k in (0, 1))
    return Result(condition, sure, claimed, ours.no_lattice - before)


def figures(result: Result) -> dict[str, object]:
    """Give the numbers of a result, ready for JSON."""
    sure = result.sure
    return {
        "dose": result.condition.dose,
        "magnification": result.condition.magnification,
        "rotation_deg": result.condition.rotation_deg,
        "frames": sure.frames,
        "no_lattice": result.no_lattice,
        "true": sure.true,
        "f1": sure.f1(),
        "precision": sure.precision(),
        "recall": {species: sure.recall(species) for species in SPECIES},
        "named_f1": {species: sure.named_f1(species) for species in SPECIES},
        "best_f1": {species: result.best_f1(species) for species in SPECIES},
        "calibration_error": result.calibration_error,
        "position_error_nm": result.position_error_nm,
    }
