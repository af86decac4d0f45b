"""One-to-one links between open tracks and the defects of a new frame, on lattice sites.

The assignment minimises the summed cost in nats over links, ends and starts (the linear assignment
of Jaqaman et al., Nat. Methods 5, 695 (2008), on lattice sites instead of distances), exactly, by
sparse bipartite matching.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from latticewatch_kernels.lattice import HEXAGONAL_SITES

from .anchor import site_keys

#: Lattice vectors of unit length as columns: sites in units of the lattice constant.
UNIT_CELL = np.array([[1.0, -0.5], [0.0, np.sqrt(3.0) / 2.0]])
#: The three sites of the cell (0, 0) in the same units.
PLACES = HEXAGONAL_SITES @ UNIT_CELL.T

#: Rounding allowed to a distance between sites, lattice constants; sites stand 0.58 apart.
SLACK = 0.05
#: Least cost of one step of a walk, however long it had time: which of six directions it took.
LEAST_STEP = float(np.log(6.0))
#: Two steps that end two lattice constants off can be made in one way, those that end at sqrt(3) in
#: two.
STRAIGHT = float(np.log(2.0))
#: Pairs up to which what is contested is solved as a full table: 0.01 ms for 20 by 20 of
#: which the sparse solver makes 0.14 ms.
DENSE = 10_000


#: Candidate links: rows (tracks), columns (defects) and gains over not linking, (k,) each.
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class LinkCosts:
    """Costs of a link in nats; the first four are explained in `TrackerSettings`.

    The others were chosen on simulated WS2 of 500 defects a frame (bench/estimating/links.py):
    without them 99.12 % of the whole tracker's links were right and 0.96 % of those made wrong,
    with them 99.69 % and 0.28 %.

    Attributes
    ----------
    wait
        For each frame in which a track was looked for and not found: it may have ended.
    lone
        On top, for a track that was seen in a single frame only: it may have been a false
        detection, most of which are never seen again.
    unseen
        For linking to a vacancy that was not detected but is told by a dopant's state: that
        explains no detection, and a state lags behind a vacancy that leaves.
    """

    hop: float = 4.0
    change: float = 1.0
    sublattice: float = 2.0
    end: float = 10.0
    wait: float = 2.0
    lone: float = 3.0
    unseen: float = 7.0


@dataclass(frozen=True)
class Party:
    """One side of the links: n open tracks, or the n defects of a frame, all on different sites.

    Attributes
    ----------
    cells, sublattice, species
        (n, 2), (n,) and (n,): site and species code.
    mobile
        bool (n,): may it hop to other sites? Others are linked on their own site only.
    doubt
        (n,), what any link to it costs more, nats.
    """

    cells: np.ndarray
    sublattice: np.ndarray
    species: np.ndarray
    mobile: np.ndarray
    doubt: np.ndarray

    def __len__(self) -> int:
        return len(self.species)


def site_places(cells: np.ndarray, sublattice: np.ndarray) -> np.ndarray:
    """Positions (n, 2) of sites in units of the lattice constant, free of drift and distortion."""
    return np.asarray(np.asarray(cells) @ UNIT_CELL.T + PLACES[sublattice])


def step_costs(lag: np.ndarray, hop: float) -> np.ndarray:
    """Cost (n,) of each step of a walk that had `lag` (n,) frames' time, in nats.

    A walker that hops at a rate of mu a frame, to any of six neighbours alike, stands k steps away
    after L frames with probability (mu L / 6)^k times one of having stayed, as long as mu L is
    small (a Poisson process's k-th term), times the number of ways over k!, which is left out but
    for two steps (`STRAIGHT`). `hop` is -ln(mu / 6).
    """
    return np.asarray(np.maximum(hop - np.log(lag), LEAST_STEP))


def _on_site(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (rows, columns) of equal keys; none of `after` comes twice."""
    order = np.argsort(after)
    ranked = after[order]
    place = np.minimum(np.searchsorted(ranked, before), len(after) - 1)
    rows = np.flatnonzero(ranked[place] == before)
    return rows, order[place[rows]]


def _in_reach(before: np.ndarray, after: np.ndarray, reach: float) -> Pairs:
    """Pairs (rows, columns) of places on different sites within `reach`, and their distances."""
    if not len(before) or not len(after):
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0)
    one, other = (
        cKDTree(places, leafsize=32, compact_nodes=False, balanced_tree=False)
        for places in (before, after)
    )
    pairs = one.sparse_distance_matrix(other, reach + SLACK, output_type="ndarray")
    pairs = pairs[pairs["v"] > SLACK]
    order = np.argsort(pairs["i"] * len(after) + pairs["j"])
    return pairs["i"][order], pairs["j"][order], pairs["v"][order]


def _contested(stay: Pairs, hops: Pairs, n: int, m: int) -> np.ndarray:
    """Which hops may be part of a best assignment, bool.

    Take a hop from i to j' where i could stay (on j) and j' could be one that stayed (i'). In an
    assignment with that hop i' gains at most its best hop, and j at most from the best hop onto it.
    Where this is less than both staying, the assignment is improved by letting both stay, and the
    hop is no part of the best.
    """
    rows, columns, gain = stay
    single = (np.bincount(rows, minlength=n)[rows] == 1) & (
        np.bincount(columns, minlength=m)[columns] == 1
    )
    rows, columns, gain = _chosen(stay, single)
    own, other = np.full(n, -1), np.full(m, -1)
    own[rows], other[columns] = columns, rows
    stays, stayed = np.zeros(n), np.zeros(m)
    stays[rows], stayed[columns] = gain, gain
    away, onto = np.zeros(n), np.zeros(m)
    i, j, gains = hops
    np.maximum.at(away, i, gains)
    np.maximum.at(onto, j, gains)
    settled = (own[i] >= 0) & (other[j] >= 0)
    at_best = gains + away[other[j]] + onto[own[i]]
    return np.asarray(~settled | (at_best >= stays[i] + stayed[j]))


def _rivals(ends: np.ndarray, gain: np.ndarray, n: int) -> np.ndarray:
    """Greatest gain (k,) among the other candidates of each candidate's own end, 0 without any."""
    best, second = np.zeros(n), np.zeros(n)
    np.maximum.at(best, ends, gain)
    top = gain == best[ends]
    np.maximum.at(second, ends[~top], gain[~top])
    second = np.where(np.bincount(ends[top], minlength=n) > 1, best, second)
    return np.asarray(np.where(top, second[ends], best[ends]))


def _settle(links: Pairs, n: int, m: int, partner: np.ndarray) -> Pairs:
    """Make the links that are part of every best assignment; what is left open is returned.

    A candidate that gains more than the best others of its track and of its defect together is
    such a link: whatever assignment lacks it gains by taking it in their place. One that has no
    others, as most have none, is the plainest case.
    """
    rows, columns, gain = links
    alone = (np.bincount(rows, minlength=n)[rows] == 1) & (
        np.bincount(columns, minlength=m)[columns] == 1
    )
    partner[rows[alone]] = columns[alone]
    rows, columns, gain = _chosen(links, ~alone)
    while len(rows):
        sure = gain > _rivals(rows, gain, n) + _rivals(columns, gain, m)
        if not sure.any():
            break
        partner[rows[sure]] = columns[sure]
        taken = np.zeros(m, bool)
        taken[columns[sure]] = True
        left = (partner[rows] < 0) & ~taken[columns]
        rows, columns, gain = _chosen((rows, columns, gain), left)
    return rows, columns, gain


def _match(links: Pairs, n: int, m: int) -> np.ndarray:
    """Links of greatest summed gain: column of each row, -1 where a row is left alone."""
    partner = np.full(n, -1)
    rows, columns, gain = _settle(links, n, m, partner)
    if len(rows):
        left, r = np.unique(rows, return_inverse=True)
        right, c = np.unique(columns, return_inverse=True)
        solve = _dense if len(left) * len(right) <= DENSE else _sparse
        found = solve(r, c, gain, len(left), len(right))
        partner[left[found >= 0]] = right[found[found >= 0]]
    return partner


def _dense(r: np.ndarray, c: np.ndarray, gain: np.ndarray, p: int, q: int) -> np.ndarray:
    """Solve a small problem: column of each of p rows, -1 for none."""
    table, partner = np.zeros((p, q)), np.full(p, -1)
    table[r, c] = gain
    i, j = linear_sum_assignment(table, maximize=True)
    linked = table[i, j] > 0
    partner[i[linked]] = j[linked]
    return partner


def _sparse(r: np.ndarray, c: np.ndarray, gain: np.ndarray, p: int, q: int) -> np.ndarray:
    """Do the same for a large one, by the square problem of Jaqaman et al.

    Every row has a private column that means "ends" and every column a private row that means
    "starts"; the block of private rows and columns mirrors the links, so that a perfect matching
    always exists. Every one has equally many edges, so a constant may be added to all: it keeps
    zero weights out of the sparse matrix.
    """
    top = float(gain.max()) + 1.0
    i = np.concatenate([r, np.arange(p), p + np.arange(q), p + c])
    j = np.concatenate([c, q + np.arange(p), np.arange(q), q + r])
    weight = np.concatenate([top - gain, np.full(p + q + len(r), top)])
    problem = csr_array((weight, (i, j)), shape=(p + q, p + q))
    found = min_weight_full_bipartite_matching(problem)[1][:p]
    return np.asarray(np.where(found < q, found, -1))


def track_doubt(missed: np.ndarray, seen: np.ndarray, costs: LinkCosts) -> np.ndarray:
    """Doubt (n,) of tracks that were not found in the last `missed` frames, and seen in `seen`."""
    return np.asarray(costs.wait * missed + costs.lone * ((missed > 0) & (seen == 1)))


def link(before: Party, after: Party, lag: np.ndarray, costs: LinkCosts) -> np.ndarray:
    """Link open tracks to the defects of a frame.

    Parameters
    ----------
    before, after
        Tracks and defects.
    lag
        Frames since each track was last seen, 1 for the frame before.
    costs
        Costs in nats.

    Returns
    -------
    ndarray
        int (n,): index of the defect that continues each track, -1 for none. No defect appears
        twice.
    """
    n, m = len(before), len(after)
    if n == 0 or m == 0:
        return np.full(n, -1)
    stay = _stays(before, after, costs)
    hops = _hops(before, after, np.maximum(lag, 1), costs)
    hops = _chosen(hops, _contested(stay, hops, n, m))
    rows, columns, gain = (np.concatenate(pair) for pair in zip(stay, hops, strict=True))
    return _match((rows, columns, gain), n, m)


def _chosen(pairs: Pairs, keep: np.ndarray) -> Pairs:
    return pairs[0][keep], pairs[1][keep], pairs[2][keep]


def _stays(before: Party, after: Party, costs: LinkCosts) -> Pairs:
    """Links on one site that gain anything."""
    rows, columns = _on_site(
        site_keys(before.cells, before.sublattice), site_keys(after.cells, after.sublattice)
    )
    cost = costs.change * (before.species[rows] != after.species[columns])
    gain = costs.end - cost - before.doubt[rows] - after.doubt[columns]
    return _chosen((rows, columns, gain), gain > 0)


def _hops(before: Party, after: Party, lag: np.ndarray, costs: LinkCosts) -> Pairs:
    """Links to another site that gain anything."""
    tracks, seen = np.flatnonzero(before.mobile), np.flatnonzero(after.mobile)
    step = step_costs(lag[tracks], costs.hop)
    reach = np.floor((costs.end - before.doubt[tracks]) / step).max(initial=0.0)
    rows, columns, distance = _in_reach(
        site_places(before.cells[tracks], before.sublattice[tracks]),
        site_places(after.cells[seen], after.sublattice[seen]),
        float(reach),
    )
    step = step[rows]
    rows, columns = tracks[rows], seen[columns]
    steps = np.ceil(distance - SLACK)
    cost = steps * step + STRAIGHT * ((steps == 2) & (distance > 2 - SLACK))
    cost += costs.change * (before.species[rows] != after.species[columns])
    cost += costs.sublattice * (before.sublattice[rows] != after.sublattice[columns])
    gain = costs.end - cost - before.doubt[rows] - after.doubt[columns]
    return _chosen((rows, columns, gain), gain > 0)
