"""What the columns of a class measure, free of the choice that noise had in its members.

A single chalcogen vacancy stands two standard deviations out: those that a frame shows are those
that noise made fainter still, and their mean says 0.2 of the undisturbed column where the columns
have 0.5. So the columns of such a class are measured by *later looks*: the column of a site that
held a member of the class is measured in the next frame, whether that frame alone would report it
or not. What the site holds by then is foretold from earlier frames (`fusion.Told.foretold`), so
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

from .anchor import site_keys
from .fusion import Told, amounts_of
from .looks import (
    GROUPS,
    LEAST_NOISE,
    ODDITY,
    RATIOS,
    SCALES,
    Looks,
    by_class,
    density,
    group_of,
    in_order,
)
from .samples import Sample
from .species import LEAST_HEIGHT
from .tracks import TrackArray

#: A column's deviation reads this much too large, because the probe's tails show in it and not in
#: the host's height, which Bragg peaks tell (`python bench/kinetics.py --only ratios`, by probe).
TAILS = 1.04
#: Standard deviation of it over these probes.
TAILS_ERROR = 0.04

#: Members are measured in one frame and later looks in the next, by turns: half the time. Over the
#: movies of `bench/kinetics.py --only ratios` the intervals of later looks are 15 % wider after 40
#: frames than with a look at every frame, and 5 % after 80; those of members 9 and 2 %.
TURNS = 2
TURN_OF_MEMBERS, TURN_OF_LOOKS = range(TURNS)


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
        """Fold detections with responsibilities r (room, n) in; `noise` (3,) by sublattice."""
        centre, sublattice = sample.centre.astype(float), sample.sublattice
        group = group_of(sample.site)
        # All sums by group and sublattice in one product.
        place = np.eye(GROUPS * 3).take(group * np.int16(3) + sublattice, axis=0)
        sums = np.concatenate([r, r * centre]) @ place
        sums = sums.reshape(2, len(r), GROUPS, 3).transpose(0, 2, 1, 3)
        here = (sublattice == 0).nonzero()[0]
        order, ends = in_order(group[here])
        here = here[order]
        held, support = _own_looks(centre[here], noise, crystal)
        own = self.own.added(r.take(here, axis=1), np.ones(len(here)), held, support, ends)
        return ColumnEvidence(self.weight + sums[0], self.centre + sums[1], own, self.later)

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
            float32 (k + 1, n), foretold probability of each amount, and of an odd column.
        amounts
            Shares of the column that may be missing.
        """
        order, ends = in_order(group_of(site))
        r = np.eye(len(self.later.held)).take(number[order], axis=1)
        ratio, prior, k = ratio[order], prior.take(order, axis=1), len(amounts)
        found = density(ratio, _later_levels(amounts), noise)
        host, each = found[k + 1], found[: k + 1] * prior
        rest, each = (1.0 - prior[k]) * host + each[k] + ODDITY, each[:k]
        vacant = prior[:k].sum(axis=0)
        # what stands there when something is missing, less the host in its place
        instead = each.sum(axis=0) - vacant * host
        free = found[k + 2 :] * prior[:k, None]
        instead_free = free + (instead - each)[:, None]
        scales = SCALES.astype(np.float32)[:, None, None]
        support = np.log(rest + scales * instead_free[:, None])
        held = each / (rest + instead)
        return replace(self, later=self.later.added(r, vacant, held, support, ends))

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


@lru_cache(maxsize=16)
def _own_levels(crystal: Crystal) -> np.ndarray:
    """Levels of `dark_levels`, then the grid's."""
    return np.array([*dark_levels(crystal).values(), *RATIOS])


def _own_looks(
    intensity: np.ndarray, noise: np.ndarray, crystal: Crystal
) -> tuple[np.ndarray, np.ndarray]:
    """Read n looks at columns of sublattice 0 as each of the k readings of `dark_levels`.

    Probability of each (k, n), and the log likelihood of its intensity on the grid (k, RATIOS, n).
    """
    k, levels = len(dark_levels(crystal)), _own_levels(crystal)
    each = density(less_tails(intensity, 1.0), levels, noise_pair(noise, 0, 1.0))
    each /= max(k, 1)
    each, free = each[:k], each[k:]
    whole = each.sum(axis=0) + ODDITY
    return each / whole, np.log((whole - each)[:, None] + free)


@lru_cache(maxsize=16)
def _later_levels(amounts: tuple[float, ...]) -> np.ndarray:
    """Levels where each amount is missing, of an odd column and the host, then the grid's."""
    left = (1.0 - amount for amount in (*amounts, ODD_LEVEL * amounts[0]))
    return np.array([*left, 1.0, *RATIOS])


def noise_pair(noise: np.ndarray, sublattice: int, host: float) -> tuple[float, float]:
    """Noise of an empty column and of a sublattice's undisturbed one, over the latter's height."""
    empty, full = (float(noise[site]) / host / TAILS for site in (EMPTY_SITE, sublattice))
    return max(empty, LEAST_NOISE), max(full, LEAST_NOISE)


def look_again(
    sums: ColumnEvidence,
    tracks: TrackArray,
    detections: Detections,
    told: Told,
    crystal: Crystal,
) -> ColumnEvidence:
    """Measure the columns on which members of the classes stood before this frame.

    `tracks` are as the frame before left them; `told` is what the fusion says of this frame.
    """
    seen, columns, foretold = detections.vacancies, told.columns, told.foretold
    if seen is None or columns is None or foretold is None:
        return sums
    # Means are held against means: counting noise is skewed, a column's median lies lower.
    undisturbed = np.where(seen.bright, 0.0, 1.0 - seen.probability)
    host = float(seen.intensity @ undisturbed / max(undisturbed.sum(), 1e-12))
    if host <= LEAST_HEIGHT:
        return sums
    number = tracks["class_id"]
    classed = ((tracks["sublattice"] == SUBLATTICE) & (number >= 0)).nonzero()[0]
    cells = tracks["cell"][classed]
    site, column = site_keys(cells, SUBLATTICE), columns.grid.find(cells, SUBLATTICE)
    # A track that went unseen may stand where another does: the column counts once.
    column, rows = np.unique(column, return_index=True)
    rows, column = rows[column >= 0], column[column >= 0]
    return sums.with_later(
        number[classed[rows]].astype(int),
        site[rows],
        less_tails(seen.intensity[column] / host, 1.0),
        noise_pair(detections.noise, SUBLATTICE, host),
        foretold.take(column, axis=1),
        amounts_of(crystal),
    )


def less_tails(intensity: np.ndarray, host: np.ndarray | float) -> np.ndarray:
    """Intensity of columns whose undisturbed one has `host`, freed of the probe's tails."""
    return np.asarray(host - (host - intensity) / TAILS)
