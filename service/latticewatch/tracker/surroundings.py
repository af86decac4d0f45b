"""What the three columns around a class tell: whole, a vacancy or a dopant beside it, a hole.

The mean of the darkest of three equal columns lies below them, because noise chooses it: expected
values are those of ordered normal variables, so that noise alone never reads as a vacancy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from latticewatch_kernels.lattice import NEIGHBOUR_SUBLATTICE

from .dopants import COMMON_OFFSET
from .species import HOLE_EDGE, UNKNOWN, UNKNOWN_PRIOR, UNKNOWN_RANGE, Readings

WHOLE = "whole"
#: Prior share of classes at a hole that was not seen as one, and of those with all columns there.
EDGE_PRIOR, WHOLE_PRIOR = 0.05, 0.5
#: Variance of the greatest of three normal variables, or of two beside a dark one: 0.56 and 0.68
#: of one's (Teichroew, Ann. Math. Stat. 27, 410 (1956)); one value serves both to five per cent.
GREATEST_VARIANCE = 0.62
#: Points of the quadrature, and standard deviations that it reaches beyond the columns.
POINTS, REACH = 201, 6.0


@dataclass(frozen=True)
class Surroundings:
    """Evidence from the neighbouring columns of one class.

    Attributes
    ----------
    sublattice
        Of the neighbours.
    intensity, error
        (3,), mean intensity of the darkest, the middle and the brightest, and its standard error.
    expected
        By name: what each reading of the surroundings expects of the three.
    posterior
        By name, ``unknown`` included.
    """

    sublattice: int
    intensity: np.ndarray
    error: np.ndarray
    expected: dict[str, np.ndarray]
    posterior: dict[str, float]


def ordered_means(values: np.ndarray, deviation: float) -> np.ndarray:
    """Means (h, 3), least first, of three ordered normal variables with means `values` (h, 3)."""
    deviation = max(deviation, 1e-9)
    low, high = values.min(axis=1) - REACH * deviation, values.max(axis=1) + REACH * deviation
    x = np.linspace(low, high, POINTS, axis=1)
    below = ndtr((x[:, :, None] - values[:, None, :]) / deviation)
    step = (high - low) / (POINTS - 1)
    # E[X] = end - integral of the distribution function, whose trapezia end at 0 and at 1.
    most = high - (below.prod(axis=2).sum(axis=1) - 0.5) * step
    least = high - (0.5 - (1.0 - below).prod(axis=2).sum(axis=1) + POINTS - 1) * step
    return np.stack([least, values.sum(axis=1) - most - least, most], axis=1)


def _hypotheses(table: Readings, sublattice: int) -> dict[str, tuple[np.ndarray, float]]:
    """Intensities (3,) of the neighbours under each reading, and its prior."""
    host = float(table.expected[table.host][sublattice])
    here = (table.sublattice == sublattice) & ~table.host & (table.expected < host)
    listed = np.flatnonzero(here)
    share = table.share[listed] / max(table.share[listed].sum(), 1e-12)
    rest = 1.0 - WHOLE_PRIOR - EDGE_PRIOR - UNKNOWN_PRIOR
    result = {WHOLE: (np.full(3, host), WHOLE_PRIOR)}
    for entry, s in zip(listed, share, strict=True):
        values = np.array([table.expected[entry], host, host])
        result[table.names[table.code[entry]]] = (values, rest * float(s))
    result[HOLE_EDGE] = (np.array([0.0, 0.0, host]), EDGE_PRIOR)
    return result


def surroundings(
    table: Readings,
    site: int,
    moments: tuple[float, np.ndarray, np.ndarray],
    systematic: float,
) -> Surroundings | None:
    """Read the surroundings of a class that stands on sublattice `site`.

    Parameters
    ----------
    moments
        Members, and the sums (3,) of their neighbours, darkest first, and of the squares.
    systematic
        Relative systematic error of one column.

    Returns
    -------
    Surroundings or None
        None with less than one member.
    """
    members, total, squares = moments
    if members < 1.0:
        return None
    mean = total / members
    spread = np.sqrt(np.maximum(squares / members - mean**2, 0.0))
    noise = float(spread[2]) / np.sqrt(GREATEST_VARIANCE)
    sublattice = int(NEIGHBOUR_SUBLATTICE[site])
    host = float(table.expected[table.host][sublattice])
    # As with the centre: what made the members a class may be their noise.
    column = spread**2 + spread**2 / members + (systematic * host) ** 2
    found = _hypotheses(table, sublattice)
    darkest = min(values.min() for name, (values, _) in found.items() if name != HOLE_EDGE)
    shared = (COMMON_OFFSET * (host - darkest)) ** 2
    covariance = np.diag(np.maximum(column, 1e-12)) + shared
    inverse, volume = np.linalg.inv(covariance), np.linalg.slogdet(covariance)[1]
    means = ordered_means(np.stack([values for values, _ in found.values()]), noise)
    expected = dict(zip(found, means, strict=True))
    # Three numbers in order fill a sixth of the cube.
    joint = {UNKNOWN: UNKNOWN_PRIOR * 6.0 / UNKNOWN_RANGE**3}
    for name, (_, prior) in found.items():
        gap = mean - expected[name]
        log_density = -0.5 * (gap @ inverse @ gap + volume + 3 * np.log(2 * np.pi))
        joint[name] = prior * float(np.exp(log_density))
    whole = sum(joint.values())
    posterior = {name: value / whole for name, value in joint.items()}
    return Surroundings(sublattice, mean, spread / np.sqrt(members), expected, posterior)
