"""What the columns of a class measure, free of the choice that noise had in its members.

A single chalcogen vacancy stands two standard deviations out: those that a frame shows are those
that noise made fainter still, and their mean says 0.2 of the undisturbed column where the columns
have 0.5. So the columns of such a class are measured by *later looks*: the column of a site that
held a member of the class is measured in the next frame, whether that frame alone would report it
or not. What the site holds by then is foretold from earlier frames (`site_filter.foretold`), so
that the noise of the look had no part in choosing it. How far the foretelling can be believed is
left open, too: of a specimen that begins to boil it says too much. The log likelihood of the
class's intensity and of that is summed on a grid: a function of all looks, in whatever order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from latticewatch.detections import Detections
from latticewatch.vacancies import ODD_LEVEL, SUBLATTICE
from latticewatch_models.crystal import EMPTY_SITE, Crystal

from .anchor import Alignment, site_keys
from .fusion import amounts_of
from .looks import GROUPS, LEAST_NOISE, ODDITY, RATIOS, SCALES, Looks, by_class, by_group, density
from .samples import Sample
from .site_filter import SiteFilter, foretold
from .species import LEAST_HEIGHT
from .tracks import TrackArray

#: A column's deviation reads this much too large, because the probe's tails show in it and not in
#: the host's height, which Bragg peaks tell (`python bench/kinetics.py --only ratios`, by probe).
TAILS = 1.04
#: Standard deviation of it over these probes.
TAILS_ERROR = 0.04


@dataclass(frozen=True)
class ColumnEvidence:
    """What the columns of each class measure.

    Attributes
    ----------
    weight, centre
        (g, room, 3) by sublattice: members since the warm-up, and the sum of their columns'
        intensity.
    own
        The same members on sublattice 0, by what is missing there (`dark_levels`).
    later
        Later looks at columns of sublattice 1, by the amount that is missing.
    """

    weight: np.ndarray
    centre: np.ndarray
    own: Looks
    later: Looks

    @classmethod
    def empty(cls, room: int, crystal: Crystal) -> ColumnEvidence:
        """No look yet."""
        blank, amounts = np.zeros((GROUPS, room, 3)), len(amounts_of(crystal))
        own = Looks.empty(room, len(dark_levels(crystal)), 1)
        return cls(blank, blank, own, Looks.empty(room, amounts, len(SCALES)))

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ColumnEvidence:
        """Undo `dataclasses.asdict`."""
        own, later = Looks(**state["own"]), Looks(**state["later"])
        return cls(state["weight"], state["centre"], own, later)

    def with_members(
        self, r: np.ndarray, sample: Sample, noise: np.ndarray, crystal: Crystal
    ) -> ColumnEvidence:
        """Fold detections with responsibilities r (n, room) in; `noise` (3,) by sublattice."""
        # BLAS adds up in another order for another layout: equal numbers, equal bytes.
        r, site = np.ascontiguousarray(r), (np.arange(3) == sample.sublattice[:, None]) * 1.0
        centre = np.asarray(sample.centre, float)[:, None]
        here = np.flatnonzero(sample.sublattice == 0)
        intensity = less_tails(centre[here, 0], 1.0)
        level, pair = np.array([*dark_levels(crystal).values()]), noise_pair(noise, 0, 1.0)
        each = density(intensity, level, pair) / max(len(level), 1)
        free = density(intensity, RATIOS, pair)[:, None, :] / max(len(level), 1)
        whole = each.sum(axis=1, keepdims=True) + ODDITY
        support = np.log((whole - each)[:, :, None] + free)
        count = np.ones(len(here))
        sums = by_group(sample.site, r, np.hstack([site, site * centre]))
        return replace(
            self,
            weight=self.weight + sums[..., :3],
            centre=self.centre + sums[..., 3:],
            own=self.own.added(sample.site[here], r[here], count, each / whole, support),
        )

    def with_later(
        self,
        number: np.ndarray,
        site: np.ndarray,
        ratio: np.ndarray,
        noise: tuple[float, float],
        prior: np.ndarray,
        amounts: tuple[float, ...],
    ) -> ColumnEvidence:
        """Fold n later looks in.

        Parameters
        ----------
        number, site
            (n,) class of the member that stood there before, and the site's key.
        ratio, noise
            (n,) intensity over the undisturbed column; the standard deviation of an empty column's
            and of the undisturbed one's, between which the variance goes with the height.
        prior
            (n, k + 1) foretold probability of each amount, and of an odd column.
        amounts
            Shares of the column that may be missing.
        """
        k = len(amounts)
        level = 1.0 - np.array([*amounts, ODD_LEVEL * amounts[0]])
        host = density(ratio, np.ones(1), noise)[:, 0]
        each = density(ratio, level, noise) * prior
        rest, each = (1.0 - prior[:, k]) * host + each[:, k] + ODDITY, each[:, :k]
        vacant = prior[:, :k].sum(axis=1)
        # what stands there when something is missing, less the host in its place
        instead = each.sum(axis=1) - vacant * host
        free = density(ratio, RATIOS, noise)[:, None, :] * prior[:, :k, None]
        instead_free = free + (instead[:, None] - each)[:, :, None]
        whole = rest[:, None, None, None] + SCALES[:, None] * instead_free[:, :, None, :]
        r = np.eye(len(self.later.held))[number]
        held = each / (rest + instead)[:, None]
        return replace(self, later=self.later.added(site, r, vacant, held, np.log(whole)))

    def merged(self, kept: int, gone: int) -> ColumnEvidence:
        """Count what belongs to class `gone` with that of `kept`."""

        def fold(sums: np.ndarray) -> np.ndarray:
            sums[kept] += sums[gone]
            sums[gone] = 0.0
            return sums

        return self._changed(fold)

    def cleared(self, number: int) -> ColumnEvidence:
        """Forget what belongs to a class."""

        def clear(sums: np.ndarray) -> np.ndarray:
            sums[number] = 0.0
            return sums

        return self._changed(clear)

    def _changed(self, change: Callable[[np.ndarray], np.ndarray]) -> ColumnEvidence:
        return ColumnEvidence(
            by_class(self.weight, change),
            by_class(self.centre, change),
            self.own.changed(change),
            self.later.changed(change),
        )


@lru_cache(maxsize=16)
def dark_levels(crystal: Crystal) -> Mapping[str, float]:
    """Intensity of what may stand on sublattice 0 and is darker than the host, by species."""
    return {
        reading.species: crystal.reading_intensity(reading)
        for reading in crystal.readings
        if reading.sublattice == 0 and crystal.reading_intensity(reading) < 1.0
    }


def noise_pair(noise: np.ndarray, sublattice: int, host: float) -> tuple[float, float]:
    """Noise of an empty column and of a sublattice's undisturbed one, over the latter's height."""
    empty, full = (float(noise[site]) / host / TAILS for site in (EMPTY_SITE, sublattice))
    return max(empty, LEAST_NOISE), max(full, LEAST_NOISE)


def look_again(
    sums: ColumnEvidence,
    known: SiteFilter,
    frame: int,
    tracks: TrackArray,
    detections: Detections,
    alignment: Alignment,
    crystal: Crystal,
) -> ColumnEvidence:
    """Measure the columns on which members of the classes stood before this frame.

    `known` and `tracks` are as the frame before left them.
    """
    seen, amounts = detections.vacancies, amounts_of(crystal)
    if seen is None or not len(seen.cells) or not amounts or alignment.lost or known.frame < 0:
        return sums
    # Means are held against means: counting noise is skewed, a column's median lies lower.
    undisturbed = np.where(seen.bright, 0.0, 1.0 - seen.probability)
    host = float(seen.intensity @ undisturbed / max(undisturbed.sum(), 1e-12))
    if host <= LEAST_HEIGHT:
        return sums
    classed = tracks[(tracks["sublattice"] == SUBLATTICE) & (tracks["class_id"] >= 0)]
    if not len(classed):
        return sums
    cells, _ = alignment.sites(seen.cells, np.full(len(seen.cells), SUBLATTICE))
    keys = site_keys(cells, SUBLATTICE)
    stood = site_keys(classed["cell"], SUBLATTICE)
    order = np.argsort(stood, kind="stable")
    rising = stood[order]
    place = np.minimum(np.searchsorted(rising, keys), len(rising) - 1)
    of_column = np.flatnonzero(rising[place] == keys)
    of_track = order[place[of_column]]
    return sums.with_later(
        classed["class_id"][of_track].astype(int),
        keys[of_column],
        less_tails(seen.intensity[of_column] / host, 1.0),
        noise_pair(detections.noise, SUBLATTICE, host),
        foretold(known, frame, cells[of_column]),
        amounts,
    )


def less_tails(intensity: np.ndarray, host: np.ndarray | float) -> np.ndarray:
    """Intensity of columns whose undisturbed one has `host`, freed of the probe's tails."""
    return np.asarray(host - (host - intensity) / TAILS)
