"""One-to-one links between open tracks and the defects of a new frame, on lattice sites.

The assignment minimises the summed cost in nats over links, ends and starts (the linear assignment
of Jaqaman et al., Nat. Methods 5, 695 (2008), on lattice sites instead of distances), exactly, by
sparse bipartite matching.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from latticewatch_kernels.lattice import HEXAGONAL_SITES

from .anchor import site_keys
from .site_index import SiteIndex

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
#: A stay that gains so many times what any hop gains, on a site where no other track could stay, is
#: firm. No hop leads from one firm stay to another in the best assignment: the two that it ousts
#: have at most another hop each, and three hops gain no more than both stays.
FIRM = 1.5

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


@dataclass(frozen=True)
class _Around:
    """Sites around a site on each sublattice, as far as some number of steps may lead.

    Attributes
    ----------
    keys
        (3, k) what leads from the site's key (`anchor.site_keys`) to theirs.
    steps, straight, other
        (k,): steps to them, whether there are two that can be made in one way only, and whether
        they are of another sublattice.
    """

    keys: np.ndarray
    steps: np.ndarray
    straight: np.ndarray
    other: np.ndarray


@lru_cache(maxsize=16)
def _around(steps: int) -> _Around:
    """Sites within so many steps, nearest first, those of the same sublattice before the others.

    The sites are one triangular lattice, so that all have as many around them at every distance.
    """
    side = np.arange(-steps - 2, steps + 3)
    i, j, to = (axis.ravel() for axis in np.meshgrid(side, side, np.arange(3), indexing="ij"))
    cells, keys = np.stack([i, j], axis=1), []
    for own in range(3):
        distance = np.linalg.norm(site_places(cells, to) - PLACES[own], axis=1)
        order = np.lexsort((to != own, np.rint(3 * distance**2)))
        order = order[(distance[order] > SLACK) & (distance[order] <= steps + SLACK)]
        keys.append(site_keys(cells[order], to[order]) - site_keys(np.zeros(2), own))
        distance, other = distance[order], to[order] != own
    walk = np.ceil(distance - SLACK)
    straight = (walk == 2) & (distance > 2 - SLACK)
    return _Around(np.array(keys), walk, straight, other)


def _match(links: Pairs, partner: np.ndarray, m: int) -> None:
    """Make the links of greatest summed gain."""
    n = len(partner)
    rows, columns, _ = links
    alone = (np.bincount(rows, minlength=n)[rows] == 1) & (
        np.bincount(columns, minlength=m)[columns] == 1
    )
    partner[rows[alone]] = columns[alone]
    rows, columns, gain = _chosen(links, ~alone)
    if not len(rows):
        return
    left, r = _numbered(rows, n)
    right, c = _numbered(columns, m)
    solve = _dense if len(left) * len(right) <= DENSE else _sparse
    found = solve(r, c, gain, len(left), len(right))
    partner[left[found >= 0]] = right[found[found >= 0]]


def _numbered(which: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Those of 0 ... n - 1 that occur, and for each of `which` its number among them."""
    occurs = np.zeros(n, bool)
    occurs[which] = True
    return np.flatnonzero(occurs), np.cumsum(occurs)[which] - 1


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
    partner = np.full(n, -1)
    if n == 0 or m == 0:
        return partner
    keys, seen = (site_keys(side.cells, side.sublattice) for side in (before, after))
    index = SiteIndex.of(seen)
    step = step_costs(np.maximum(lag, 1), costs.hop)
    rows, columns, gain = stay = _stays(before, after, index.at(keys), costs)
    alone = np.bincount(columns, minlength=m)[columns] == 1
    most = (costs.end - before.doubt - step)[before.mobile].max(initial=0.0)
    firm = alone & (gain >= FIRM * most)
    walks = _Walks(before, after, step, costs, keys, index)
    loose, onto = before.mobile.copy(), np.zeros(m)
    loose[rows[firm]] = False
    some = walks.between(loose, after.mobile)
    np.maximum.at(onto, some[1], some[2])
    # a firm one goes only where its site is taken, and never to that of another
    ousted, open_ = np.zeros(n, bool), after.mobile.copy()
    ousted[rows[firm & (gain < most + onto[columns])]] = True
    open_[columns[firm]] = False
    more = walks.between(ousted & before.mobile, open_)
    away = np.zeros(n)
    for hops in (some, more):
        np.maximum.at(away, hops[0], hops[2])
    np.maximum.at(onto, more[1], more[2])
    # whoever does not stay leaves to track and defect one hop each
    sure = alone & (gain >= away[rows] + onto[columns])
    partner[rows[sure]] = columns[sure]
    free = np.ones(m, bool)
    free[columns[sure]] = False
    rows, columns, gain = _joined(_chosen(stay, ~sure), some, more)
    left = (partner[rows] < 0) & free[columns]
    if left.any():
        _match(_chosen((rows, columns, gain), left), partner, m)
    return partner


def _joined(*pairs: Pairs) -> Pairs:
    rows, columns, gain = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    return rows, columns, gain


def _chosen(pairs: Pairs, keep: np.ndarray) -> Pairs:
    return pairs[0][keep], pairs[1][keep], pairs[2][keep]


def _stays(before: Party, after: Party, at: np.ndarray, costs: LinkCosts) -> Pairs:
    """Links on one site that gain anything; `at` (n,) is the defect on each track's site, or -1."""
    rows = np.flatnonzero(at >= 0)
    columns = at[rows]
    cost = costs.change * (before.species[rows] != after.species[columns])
    gain = costs.end - cost - before.doubt[rows] - after.doubt[columns]
    return _chosen((rows, columns, gain), gain > 0)


@dataclass(frozen=True)
class _Walks:
    """What links to other sites cost; `keys` and `index` are the sites of tracks and defects."""

    before: Party
    after: Party
    step: np.ndarray
    costs: LinkCosts
    keys: np.ndarray
    index: SiteIndex

    def between(self, tracks: np.ndarray, defects: np.ndarray) -> Pairs:
        """Links that gain anything from some tracks, bool (n,), to some defects, bool (m,)."""
        before, after, costs = self.before, self.after, self.costs
        start = np.flatnonzero(tracks)
        if not len(start):
            return np.zeros(0, int), np.zeros(0, int), np.zeros(0)
        step = self.step[start]
        around = _around(int(((costs.end - before.doubt[start]) / step).max()))
        apart = STRAIGHT * around.straight + costs.sublattice * around.other
        able = np.flatnonzero(around.steps * step.min() + apart < costs.end)
        wanted = around.keys[:, able][before.sublattice[start]] + self.keys[start, None]
        hit, columns = self.index.hits(wanted.ravel())
        hit, columns = hit[defects[columns]], columns[defects[columns]]
        row, walk = hit // len(able), able[hit % len(able)]
        rows = start[row]
        cost = around.steps[walk] * step[row] + apart[walk]
        cost += costs.change * (before.species[rows] != after.species[columns])
        gain = costs.end - cost - before.doubt[rows] - after.doubt[columns]
        return _chosen((rows, columns, gain), gain > 0)
