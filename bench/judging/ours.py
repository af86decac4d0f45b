"""The whole path of one frame, as the service runs it, without memory of other frames."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from judging.counting import SPECIES, Found
from judging.frames import CRYSTAL
from latticewatch.analysis import Analyser
from latticewatch.detections import Detections
from latticewatch.tracker.settings import TrackerSettings
from latticewatch.tracker.species import (
    by_species,
    fresh_prior,
    host_heights,
    readings,
    single_posterior,
)
from latticewatch_kernels.lattice import NoLatticeError
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.runtime import Segmenter

#: Calibration and curves look at all that is claimed at this probability or more; the service
#: reports what is claimed at its own thresholds.
LEAST_PROBABILITY = 0.1


@dataclass
class Ours:
    """Conditioning, registration, segmentation, sites and species of single frames.

    Attributes
    ----------
    analyser
        As in the service.
    claiming
        The same, but reporting down to `LEAST_PROBABILITY`.
    no_lattice
        Frames in which no lattice was found: nothing is reported of them.
    """

    analyser: Analyser
    claiming: Analyser
    no_lattice: int = field(default=0)

    @classmethod
    def load(cls, model: Path | None = None) -> Ours:
        """Take the shipped model, or that of a file."""
        analyser = Analyser(Segmenter(model, threads=1), crystal=CRYSTALS[CRYSTAL])
        low = LEAST_PROBABILITY
        return cls(analyser, replace(analyser, threshold=low, vacancy_threshold=low))

    def __call__(self, image: np.ndarray) -> tuple[Found, Found]:
        """Give the defects of one frame as the service reports them, and all that is claimed."""
        try:
            both = self.analyser(image), self.claiming(image)
        except NoLatticeError:
            self.no_lattice += 1
            nothing = Found(np.zeros((0, 2)), np.zeros(0), np.zeros((0, len(SPECIES))))
            return nothing, nothing
        reported, claimed = (
            Found(np.stack([one.x_px, one.y_px], axis=-1), one.probability, name(one))
            for one in both
        )
        return reported, claimed


def name(detections: Detections) -> np.ndarray:
    """Probability (n, species) of each species, from the site and its column's intensity.

    What the tracker's rule gives of a session's first frame: no classes, no earlier frames.
    """
    crystal = CRYSTALS[CRYSTAL]
    heights = host_heights(crystal, detections.lattice.heights[1])
    table = readings(crystal, heights, TrackerSettings().intensity_systematic)
    prior = fresh_prior(table, None, detections.sublattice, detections.probability)
    weight = np.ones(len(detections))
    posterior = single_posterior(table, prior, detections.centre, detections.noise, weight)
    return by_species(table, posterior)[:, [table.names.index(species) for species in SPECIES]]
