"""A class's column intensity over the undisturbed column, with its error, from its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import stdtrit

from .column_evidence import TAILS, TAILS_ERROR, ColumnEvidence, less_tails
from .displacement_modes import LEAST_GROUPS, jackknife, left_out
from .intervals import normal_factor
from .looks import RATIOS, SCALES, Looks

#: Looks, later ones foretold to find something missing, with which a class is measured by them.
LEAST_LOOKS = 10.0
#: A group of sites with fewer looks than this tells no scatter.
LEAST_SHARE = 1.0
#: Finer grids to which the likelihood is interpolated: intensities, and parts of the foretold.
FINE = np.linspace(RATIOS[0], RATIOS[-1], 20 * (len(RATIOS) - 1) + 1)
FINE_SCALES = np.linspace(SCALES[0], SCALES[-1], 19)

MEMBERS, LATER_LOOKS = "members", "later_looks"


@dataclass(frozen=True)
class Measured:
    """Column intensity of a class, freed of the probe's tails.

    Attributes
    ----------
    value, error
        In host columns of sublattice 0, and its standard error by the scatter from site to site.
    groups
        Groups of sites behind the error; with fewer than `LEAST_GROUPS` it takes all looks at one
        site to share a set part of their variance.
    by
        `MEMBERS` or `LATER_LOOKS`.
    looks
        How many of either.
    held
        Part of the looks that is read in each way; empty where they were not read one by one.
    """

    value: float
    error: float
    groups: int
    by: str
    looks: float
    held: tuple[float, ...] = ()

    def half_width(self, host: float, credible: float) -> float:
        """Half of the interval's width; the uncertainty of the probe's tails is in it."""
        factor = normal_factor(credible)
        scatter = stdtrit(self.groups - 1, 0.5 + credible / 2) if self.groups > 1 else factor
        tails = TAILS_ERROR / TAILS * (host - self.value)
        return float(np.hypot(scatter * self.error, factor * tails))


def of_members(
    columns: ColumnEvidence,
    number: int,
    site: int,
    moments: np.ndarray,
    host: float,
    repeat_share: float,
) -> Measured | None:
    """Measure a class by its members on one sublattice: by their mean.

    `moments` (3,) are how many there are, their mean intensity and its standard error were they all
    independent; `host` the undisturbed column's intensity. None with less than one member.
    """
    members, mean, alone = moments
    if members < 1.0 or not np.isfinite(mean):
        return None
    weight, centre = columns.weight[:, number, site], columns.centre[:, number, site]
    filled = weight >= LEAST_SHARE
    means = left_out(centre[filled]) / np.maximum(left_out(weight[filled]), 1e-12)
    error, groups = _error(means, weight[filled], float(alone), repeat_share)
    value = float(less_tails(np.array(mean), host))
    return Measured(value, error / TAILS, groups, MEMBERS, float(members))


def _error(
    values: np.ndarray, number: np.ndarray, alone: float, repeat_share: float
) -> tuple[float, int]:
    """Tell the standard error, and the groups of sites behind it (0: too few).

    Parameters
    ----------
    values
        (1 + g,) the estimate, and with each group left out.
    number
        (g,) looks in each group.
    alone
        Standard error if all looks were independent: it is no less than this.
    repeat_share
        Part of the variance that looks at one site share, where groups are too few.
    """
    groups, total = len(number), number.sum()
    if groups >= LEAST_GROUPS and np.isfinite(values).all():
        return max(float(jackknife(values, number / total)), alone), groups
    repeats = max(float(total) / max(groups, 1) - 1.0, 0.0)
    return alone * float(np.sqrt(1.0 + repeats * repeat_share)), 0


def of_looks(
    looks: Looks, number: int, host: float, repeat_share: float, by: str
) -> Measured | None:
    """Measure what most looks of a class are read as; None where they do not tell an intensity.

    The greatest likelihood, averaged over how far the foretelling can be believed. The error is a
    jackknife over groups of sites, and not less than that of independent looks.
    """
    each, held = looks.number[:, number], looks.held[number]
    total = float(each.sum())
    if total < LEAST_LOOKS or not held.any():
        return None
    filled = each >= LEAST_SHARE
    peaks, curvature = _peaks(left_out(looks.support[:, number, int(held.argmax())]))
    if not np.isfinite(peaks[0]):
        return None
    left = np.concatenate([peaks[:1], peaks[1:][filled]])
    error, groups = _error(left, each[filled], curvature**-0.5, repeat_share)
    parts = tuple((held / max(total, float(held.sum()))).tolist())
    return Measured(float(peaks[0]) * host, error * host, groups, by, total, parts)


@lru_cache(maxsize=1)
def _along() -> np.ndarray:
    """Matrix (RATIOS, FINE) of cubic splines through the grid."""
    return np.ascontiguousarray(CubicSpline(RATIOS, np.eye(len(RATIOS)))(FINE).T)


@lru_cache(maxsize=2)
def _across(scales: int) -> np.ndarray:
    """Matrix (FINE_SCALES, SCALES) of cubic splines; ones where there is but one scale."""
    if scales == 1:
        return np.ones((1, 1))
    return np.asarray(CubicSpline(SCALES, np.eye(len(SCALES)))(FINE_SCALES))


def _peaks(support: np.ndarray) -> tuple[np.ndarray, float]:
    """Tell where each of b log likelihoods (b, SCALES, RATIOS) is greatest, NaN at an end.

    Beside it the first one's curvature there, minus the second derivative: one over the variance.
    """
    surface = _across(support.shape[1]) @ support
    most = surface.max(axis=1, keepdims=True)
    with np.errstate(under="ignore"):
        mean = most[:, 0] + np.log(np.exp(surface - most).mean(axis=1))
    fine = mean @ _along()
    top, rows = fine.argmax(axis=1), np.arange(len(fine))
    inner = np.clip(top, 1, len(FINE) - 2)
    before, here, after = (fine[rows, inner + k] for k in (-1, 0, 1))
    bend = np.maximum(2.0 * here - before - after, 1e-12)
    step = FINE[1] - FINE[0]
    place = FINE[inner] + 0.5 * step * (after - before) / bend
    return np.where(top == inner, place, np.nan), float(bend[0] / step**2)
