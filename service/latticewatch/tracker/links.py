"""One-to-one links between open tracks and the defects of a new frame, on lattice sites.

The assignment minimises the summed cost in nats over links, ends and starts (the linear assignment
of Jaqaman et al., Nat. Methods 5, 695 (2008), on lattice sites instead of distances), exactly, by
sparse bipartite matching.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from latticewatch_kernels.lattice import HEXAGONAL_SITES

#: Lattice vectors of unit length as columns: sites in units of the lattice constant.
UNIT_CELL = np.array([[1.0, -0.5], [0.0, np.sqrt(3.0) / 2.0]])

#: Rounding allowed to a distance between sites, lattice constants; sites stand 0.58 apart.
SLACK = 0.05


@dataclass(frozen=True)
class LinkCosts:
    """Costs of a link in nats; see `TrackerSettings`."""

    hop: float = 4.0
    change: float = 1.0
    sublattice: float = 2.0
    end: float = 8.0


def site_places(cells: np.ndarray, sublattice: np.ndarray) -> np.ndarray:
    """Positions (n, 2) of sites in units of the lattice constant, free of drift and distortion."""
    return np.asarray((np.asarray(cells) + HEXAGONAL_SITES[sublattice]) @ UNIT_CELL.T)


def _candidates(before: np.ndarray, after: np.ndarray, reach: float) -> tuple[np.ndarray, ...]:
    """Pairs (rows, columns) of places no further apart than `reach`, and their distances."""
    pairs = cKDTree(before).sparse_distance_matrix(
        cKDTree(after), reach + SLACK, output_type="ndarray"
    )
    order = np.lexsort((pairs["j"], pairs["i"]))
    return pairs["i"][order], pairs["j"][order], pairs["v"][order]


def _match(rows: np.ndarray, columns: np.ndarray, gain: np.ndarray, n: int, m: int) -> np.ndarray:
    """Links of greatest summed gain: column of each row, -1 where a row is left alone.

    The square problem of Jaqaman et al.: every row has a private column that means "ends" and every
    column a private row that means "starts"; the block of private rows and columns mirrors the
    links, so that a perfect matching always exists.
    """
    partner = np.full(n, -1)
    alone = (np.bincount(rows, minlength=n)[rows] == 1) & (
        np.bincount(columns, minlength=m)[columns] == 1
    )
    partner[rows[alone]] = columns[alone]
    rows, columns, gain = rows[~alone], columns[~alone], gain[~alone]
    if not len(rows):
        return partner
    # Only what is contested goes through the solver. Every perfect matching has equally many
    # edges, so a constant may be added to all: it keeps zero weights out of the sparse matrix.
    left, r = np.unique(rows, return_inverse=True)
    right, c = np.unique(columns, return_inverse=True)
    p, q = len(left), len(right)
    top = float(gain.max()) + 1.0
    i = np.concatenate([r, np.arange(p), p + np.arange(q), p + c])
    j = np.concatenate([c, q + np.arange(p), np.arange(q), q + r])
    weight = np.concatenate([top - gain, np.full(p + q + len(r), top)])
    problem = csr_array(coo_array((weight, (i, j)), shape=(p + q, p + q)))
    found = min_weight_full_bipartite_matching(problem)[1][:p]
    linked = found < q
    partner[left[linked]] = right[found[linked]]
    return partner


def link(
    before: tuple[np.ndarray, np.ndarray, np.ndarray],
    after: tuple[np.ndarray, np.ndarray, np.ndarray],
    mobile: tuple[np.ndarray, np.ndarray],
    lag: np.ndarray,
    costs: LinkCosts,
) -> np.ndarray:
    """Link open tracks to the defects of a frame.

    Parameters
    ----------
    before, after
        Cells (n, 2), sublattice (n,) and species code (n,) of tracks and of detections.
    mobile
        bool (n,) and (m,): may it hop to a neighbouring site? Others link on their own site only.
    lag
        Frames since each track was last seen, 1 for the frame before; a mobile defect may have
        gone sqrt(lag) lattice constants, the reach of a random walk.
    costs
        Costs in nats.

    Returns
    -------
    ndarray
        int (n,): index of the detection that continues each track, -1 for none. No detection
        appears twice.
    """
    n, m = len(before[1]), len(after[1])
    if n == 0 or m == 0:
        return np.full(n, -1)
    reach = np.sqrt(np.maximum(lag, 1).astype(float))
    rows, columns, distance = _candidates(
        site_places(*before[:2]), site_places(*after[:2]), float(reach.max())
    )
    same = distance < SLACK
    moves = mobile[0][rows] & mobile[1][columns] & (distance <= reach[rows] + SLACK)
    cost = costs.hop * (distance / reach[rows]) ** 2
    cost += costs.change * (before[2][rows] != after[2][columns])
    cost += costs.sublattice * (before[1][rows] != after[1][columns])
    gain = costs.end - cost
    keep = (same | moves) & (gain > 0)
    return _match(rows[keep], columns[keep], gain[keep], n, m)
