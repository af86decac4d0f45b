"""Does the next state depend on the present one? A matrix whose rows are alike is no kinetics.

Mutual information between successive single-frame labels, and Pearson's test of independence given
the margins. Where counts are many the statistic is compared with a Gamma distribution of its exact
mean and variance over tables with the same margins (Haldane, Biometrika 31, 346 (1940)), where a
cell has few with a seeded sample of such tables: chi-squared fits neither rare states nor short
sessions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincc
from scipy.stats import random_table

#: Level at which the labels are said to remember. Over 6,000 movies each of seven kinds of noise,
#: p <= 0.05 came up in 3.5 to 5.4 %, p <= 0.04 in 2.8 to 4.5 %: at most 5 % was asked for.
LEVEL = 0.04
#: Pairs below which there is no variance over tables to compare with.
LEAST_PAIRS = 4
#: Expected counts below which a cell calls for sampled tables (the usual rule for chi-squared; the
#: Gamma fails below about one), how many are drawn, and their seed. The p-value is then no less
#: than 1 / (TABLES + 1).
SPARSE = 5.0
TABLES = 999
SEED = 0


@dataclass(frozen=True)
class Dependence:
    """What one label tells of another.

    Attributes
    ----------
    bits
        Mutual information less its bias (Miller 1955): scatters about 0 where there is none.
    p_value
        Probability of at least as much association between labels that are independent; None where
        there are too few pairs, or only one label on a side.
    pairs
        How many pairs were counted.
    """

    bits: float
    p_value: float | None
    pairs: int

    @property
    def remembers(self) -> bool | None:
        """Whether independence is rejected; None where it cannot be tested."""
        return None if self.p_value is None else self.p_value <= LEVEL


def dependence(table: np.ndarray) -> Dependence:
    """Test a table of counts (s, s), labels by earlier labels, for independence."""
    occupied = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0].astype(float)
    n, (r, c) = float(occupied.sum()), occupied.shape
    if n < LEAST_PAIRS or min(r, c) < 2:
        return Dependence(0.0, None, int(n))
    rows, columns = occupied.sum(axis=1), occupied.sum(axis=0)
    expected = rows[:, None] * columns / n
    ratio = np.where(occupied > 0, occupied / expected, 1.0)
    information = float((occupied * np.log(ratio)).sum()) / n
    bias = (r - 1) * (c - 1) / (2 * n)
    statistic = float(_pearson(occupied, expected))
    tail = _sampled if expected.min() < SPARSE else _gamma
    p = tail(statistic, rows, columns)
    return Dependence((information - bias) / float(np.log(2.0)), p, int(n))


def _pearson(tables: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.asarray(((tables - expected) ** 2 / expected).sum(axis=(-2, -1)))


def _gamma(statistic: float, rows: np.ndarray, columns: np.ndarray) -> float:
    """Probability of at least this statistic, by its first two moments."""
    mean, variance = pearson_moments(rows, columns)
    return float(gammaincc(mean**2 / variance, statistic * mean / variance))


def _sampled(statistic: float, rows: np.ndarray, columns: np.ndarray) -> float:
    """Probability of at least this statistic, by tables drawn with the same margins."""
    drawn = random_table(rows.astype(np.int64), columns.astype(np.int64), seed=SEED).rvs(TABLES)
    beyond = _pearson(drawn, rows[:, None] * columns / rows.sum()) >= statistic * (1 - 1e-9)
    return float(1 + beyond.sum()) / (TABLES + 1)


def pearson_moments(rows: np.ndarray, columns: np.ndarray) -> tuple[float, float]:
    """Mean and variance of Pearson's statistic over tables with these margins (Haldane 1940).

    Margins must be positive and hold at least four counts in all.
    """
    n = float(rows.sum())
    spread, unevenness = [], []
    for margin in (rows, columns):
        k = len(margin)
        spread.append((k - 1) * (n - k) / (n - 1))
        unevenness.append((n * float((1.0 / margin).sum()) - k * k) / (n - 2))
    (v1, v2), (w1, w2) = spread, unevenness
    mean = n * (len(rows) - 1) * (len(columns) - 1) / (n - 1)
    variance = 2 * n / (n - 3) * (v1 - w1) * (v2 - w2) + n * n / (n - 1) * w1 * w2
    return mean, variance
