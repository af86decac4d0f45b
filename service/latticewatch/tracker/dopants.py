"""Dopant states: which of the three neighbouring columns is vacant, if any.

A likelihood ratio test between "no vacancy" and "a vacancy at k"; `beliefs` turns it into a
posterior. The evidence is that of the judged columns (`vacancies.judge_vacancies`), which is freed
of the dopant's tails and of what lies around. Where a frame brings none (detections of another
source, hosts too faint to be judged) it is the three neighbours' intensities; they share an unknown
offset (the heavy dopant's tails lift or lower all alike), integrated out under a normal prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.lattice import NEIGHBOUR_CELLS
from latticewatch_models.crystal import RARER

from .site_grid import SiteGrid

#: Standard deviation of the offset common to the three neighbours, as a share of the contrast of
#: one vacancy. On simulated WS2 all three stand lower by 0.1 to 0.25 of it beside Mo.
COMMON_OFFSET = 0.25
#: Most by which a separate detection on the neighbour may raise the odds of a vacancy there: its
#: evidence is drawn from the same pixels.
DETECTED = 10.0
#: Share of the error variance of a judged column that stays with its site from frame to frame. On
#: movies of 80 frames at 1,600 electrons a pixel (seeds 5, 6, 7) states are wrong in 11.2, 15.3 and
#: 9.1 % with 0.25, in 9.2, 14.9 and 8.1 % with 0.1, in 8.6, 14.7 and 8.8 % with 0.03; the filter
#: says more in each case (13.0, 17.2 and 12.1 % with 0.1).
REPEAT_SHARE = 0.1

#: Cells along each axis by which the three neighbours of sublattice 1 stand away.
_BESIDE = NEIGHBOUR_CELLS[0, :, 0], NEIGHBOUR_CELLS[0, :, 1]


def state_likelihood(
    neighbours: np.ndarray,
    noise: float,
    host: float,
    vacancies: tuple[float, ...],
    systematic: float,
) -> np.ndarray:
    """Likelihood (n, 4), up to a factor a row, of no vacancy and of one at directions 0, 1, 2.

    Parameters
    ----------
    neighbours
        (n, 3) column intensities by anchored direction.
    noise
        Standard deviation of one of them.
    host
        Intensity of the undisturbed neighbour column.
    vacancies
        Intensities that a vacant neighbour may have (one atom missing, both missing), each equally
        probable beforehand.
    systematic
        Relative systematic error of one column.
    """
    contrast = host - max(vacancies)
    single = noise**2 + (systematic * host) ** 2
    shared = (COMMON_OFFSET * contrast) ** 2
    # The inverse of single * I + shared * 1 1^T is (I - common * 1 1^T) / single, by Sherman and
    # Morrison; a vacancy at k takes `drop` from the gap there.
    common = shared / (single + 3 * shared)
    gaps = np.ascontiguousarray(neighbours.T) - host
    drop = np.array(vacancies)[:, None, None] - host
    off = gaps - common * gaps.sum(axis=0)
    ratio = drop / single * (off - 0.5 * (1 - common) * drop)
    return column_likelihood(ratio, (1.0,) * len(drop))


@dataclass(frozen=True)
class Columns:
    """What the judged columns of sublattice 1 say in a frame, by site.

    Attributes
    ----------
    grid
        Sites of the m columns in the session's gauge.
    ratio
        (m, k) log likelihood ratio of each amount that may be missing, least first, against the
        undisturbed column.
    """

    grid: SiteGrid
    ratio: np.ndarray

    def beside(self, cells: np.ndarray) -> np.ndarray:
        """Ratios (k, 3, n) of the neighbours of sublattice-0 cells (n, 2).

        0, which says nothing, where none was judged.
        """
        row = self.grid.rows[neighbour_entries(self.grid, self.grid.entries(cells, 0)).T]
        if not len(self.ratio):
            return np.zeros((self.ratio.shape[1], *row.shape))
        return np.where(row >= 0, self.ratio.T[:, row], 0.0)

    def likelihood(self, cells: np.ndarray) -> np.ndarray:
        """`column_likelihood` of dopants in sublattice-0 cells (n, 2).

        Beside a dopant, too, more than one atom missing is `RARER`.
        """
        shares = tuple(RARER**amount for amount in range(self.ratio.shape[1]))
        return column_likelihood(self.beside(cells), shares)


def column_likelihood(ratio: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Likelihood (n, 4), up to a factor a row, of no vacancy and of one at directions 0, 1, 2.

    `ratio` (k, 3, n) are the neighbours' log likelihood ratios of each amount that may be missing,
    `shares` (k,) how common these are beside each other where one is. Columns are measured one by
    one, so that the states' likelihoods are theirs.
    """
    most = np.maximum(ratio.max(axis=(0, 1)), 0.0)
    result = np.empty((4, ratio.shape[2]))
    result[0] = np.exp(-most)
    odds = np.exp(ratio - most).reshape(len(shares), -1)
    result[1:] = (np.array(shares) / sum(shares) @ odds).reshape(3, -1)
    result /= result.max(axis=0)
    return result.T


def with_detections(likelihood: np.ndarray, detected: np.ndarray) -> np.ndarray:
    """Raise the likelihood (n, 4) where a vacancy was detected on its own, bool (n, 3)."""
    raised = likelihood.copy("K")
    raised[:, 1:] *= np.where(detected, DETECTED, 1.0)
    return raised


def neighbour_sites(cells: np.ndarray) -> np.ndarray:
    """Cells (n, 3, 2) of the three sublattice-1 neighbours of sublattice-0 cells (n, 2)."""
    return np.asarray(np.asarray(cells)[:, None, :] + NEIGHBOUR_CELLS[0])


def neighbour_entries(grid: SiteGrid, entries: np.ndarray) -> np.ndarray:
    """Entries (n, 3) of these neighbours by those of the sublattice-0 sites (n,)."""
    return np.asarray(entries[:, None] + grid.moves(*_BESIDE, 1))
