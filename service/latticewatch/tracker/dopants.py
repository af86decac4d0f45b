"""Dopant states: which of the three neighbouring columns is vacant, if any.

A likelihood ratio test between "no vacancy" and "a vacancy at k" on the three neighbours'
intensities; `beliefs` turns it into a posterior. The three share an unknown common offset
(the heavy dopant's tails differ from the host's and lift or lower all three alike), which is
integrated out under a normal prior.
"""

from __future__ import annotations

import numpy as np

from latticewatch_kernels.lattice import NEIGHBOUR_CELLS

#: Standard deviation of the offset common to the three neighbours, as a share of the contrast of
#: one vacancy. On simulated WS2 all three stand lower by 0.1 to 0.25 of it beside Mo.
COMMON_OFFSET = 0.25
#: Most by which a separate detection on the neighbour may raise the odds of a vacancy there: its
#: evidence is drawn from the same pixels.
DETECTED = 10.0


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
    gaps, drop = neighbours - host, np.array(vacancies) - host
    total = gaps.sum(axis=1)
    none = (gaps**2).sum(axis=1) - common * total**2
    change = drop * (drop - 2 * gaps[:, :, None])
    change = change - common * drop * (drop - 2 * total[:, None, None])
    vacant = -0.5 / single * (none[:, None, None] + change)
    most = vacant.max(axis=2)
    vacant_log = most + np.log(np.exp(vacant - most[:, :, None]).mean(axis=2))
    log_all = np.hstack([-0.5 / single * none[:, None], vacant_log])
    return np.asarray(np.exp(log_all - log_all.max(axis=1, keepdims=True)))


def with_detections(likelihood: np.ndarray, detected: np.ndarray) -> np.ndarray:
    """Raise the likelihood (n, 4) where a vacancy was detected on its own, bool (n, 3)."""
    raised = likelihood.copy()
    raised[:, 1:] *= np.where(detected, DETECTED, 1.0)
    return raised


def neighbour_sites(cells: np.ndarray) -> np.ndarray:
    """Cells (n, 3, 2) of the three sublattice-1 neighbours of sublattice-0 cells (n, 2)."""
    return np.asarray(np.asarray(cells)[:, None, :] + NEIGHBOUR_CELLS[0])
