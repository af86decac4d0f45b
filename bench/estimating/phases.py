"""Area fractions of single frames against the simulated specimen's own.

The truth counts columns: a hole is the lost ones, disorder those of patches without order, and each
column stands for half a cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.order import local_order
from latticewatch_kernels.registration import register
from latticewatch_models.microscope import ImagingConfig, Microscope, SpecimenConfig

#: The names of the three fractions.
PHASES = ("crystalline", "disordered", "hole")


@dataclass(frozen=True)
class Case:
    """One condition: what the specimen holds, and how it is imaged (WS2)."""

    hole: float = 0.0
    disordered: float = 0.0
    hole_radius: float = 3.0
    dose: float = 1600.0
    pixel_nm: float = 0.03
    side: int = 256
    imaging: dict[str, float] = field(default_factory=dict)

    def microscope(self, seed: int) -> Microscope:
        """Build the simulated microscope."""
        specimen = SpecimenConfig(
            hole_fraction=self.hole,
            hole_radius_cells=self.hole_radius,
            disordered_fraction=self.disordered,
            margin_nm=0.3,
        )
        imaging = ImagingConfig(
            pixel_size_nm=self.pixel_nm, dose_e_per_pixel=self.dose, **self.imaging
        )
        return Microscope("WS2", (self.side, self.side), seed, specimen, imaging)


#: Holes of 0 to 25 % at several doses, scales and sizes, disorder, both, and contaminated holes.
CASES = (
    *(Case(hole=hole, dose=dose) for hole in (0.0, 0.05, 0.15, 0.25) for dose in (800.0, 6400.0)),
    *(Case(hole=0.15, hole_radius=radius) for radius in (1.5, 3.0, 8.0)),
    *(Case(hole=0.15, pixel_nm=pixel) for pixel in (0.045, 0.06)),
    *(Case(hole=0.15, pixel_nm=0.02, side=side) for side in (256, 512)),
    *(Case(disordered=0.15, dose=dose) for dose in (800.0, 6400.0)),
    Case(disordered=0.15, pixel_nm=0.06),
    Case(hole=0.1, disordered=0.1, side=512),
    Case(hole=0.15, imaging={"contamination": 0.3}, side=512),
    Case(hole=0.15, imaging={"contamination": 0.5, "amorphous": 0.4}, side=512),
)

HEADINGS = (
    "hole asked, radius / a",
    "disorder asked",
    "e/px",
    "nm/px",
    "side",
    "other",
    "true c, d, h %",
    "bias c, d, h",
    "scatter c, d, h",
    "greatest",
)


def errors(case: Case, seeds: range) -> tuple[np.ndarray, np.ndarray]:
    """Measured less true fractions, and the true ones, (frames, 3) each."""
    gaps, truths = [], []
    for seed in seeds:
        frame = case.microscope(seed).acquire()
        image = condition(frame.image)
        gaps.append(local_order(image, register(image)).fractions - frame.truth.fractions)
        truths.append(frame.truth.fractions)
    return np.array(gaps), np.array(truths)


def table(cases: tuple[Case, ...], frames: int) -> str:
    """Tell bias, scatter and greatest error of every case, percentage points."""
    lines = [
        f"| {' | '.join(HEADINGS)} |",
        "|---" * len(HEADINGS) + "|",
    ]
    for case in cases:
        gaps, truths = errors(case, range(frames))
        other = ", ".join(f"{name} {value:g}" for name, value in case.imaging.items()) or "-"
        cells = [
            f"{case.hole:.0%}, {case.hole_radius:g}",
            f"{case.disordered:.0%}",
            f"{case.dose:g}",
            f"{case.pixel_nm:g}",
            f"{case.side}",
            other,
            _points(truths.mean(axis=0), "{:.1f}"),
            _points(gaps.mean(axis=0), "{:+.2f}"),
            _points(gaps.std(axis=0), "{:.2f}"),
            f"{100 * np.abs(gaps).max():.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _points(values: np.ndarray, form: str) -> str:
    return ", ".join(form.format(100.0 * value) for value in values)


def main_table(quick: bool) -> str:
    """Table over all cases; 4 frames of each, or 20."""
    return table(CASES, 4 if quick else 20)
