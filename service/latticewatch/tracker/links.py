"""One-to-one links between open tracks and the defects of a new frame, on lattice sites.

The assignment minimises the summed cost in nats over links, ends and starts (the linear assignment
of Jaqaman et al., Nat. Methods 5, 695 (2008), on lattice sites instead of distances), exactly.
Nearly all tracks stay on their site, and nothing could gain by their going; only for the others are
hops looked for, on the sites around.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from latticewatch_kernels.lattice import HEXAGONAL_SITES

from .matching import Pairs, chosen, joined, match
from .site_grid import SUBLATTICES, SiteGrid

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
#: A stay that gains so many times what any hop gains, on a site where no other track could stay, is
#: firm. No best assignment needs a hop from one firm stay to another: what the two leave behind has
#: at most another hop each, and three hops gain no more than both stays.
FIRM = 1.5


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
    """Sites that a hop from a site may lead to, nearest first.

    Attributes
    ----------
    i, j, sublattice
        (3, k): by the site's own sublattice, how many cells and sublattices they stand away.
    steps, apart
        (k,): steps of the walk there, and what it costs besides them.
    """

    i: np.ndarray
    j: np.ndarray
    sublattice: np.ndarray
    steps: np.ndarray
    apart: np.ndarray

    @cached_property
    def margin(self) -> int:
        """Cells by which they stand away at most."""
        return int(max(np.abs(self.i).max(initial=0), np.abs(self.j).max(initial=0)))


@lru_cache(maxsize=64)
def _around(lag: int, costs: LinkCosts) -> _Around:
    """Sites to which a walk of so many frames costs less than an end.

    All sites together are one triangular lattice: each has as many around it at every distance.
    """
    step = float(step_costs(np.array(lag), costs.hop))
    reach = int(costs.end / step)
    side = np.arange(-reach - 2, reach + 3)
    grid = np.meshgrid(side, side, np.arange(SUBLATTICES), indexing="ij")
    i, j, to = (axis.ravel() for axis in grid)
    places, ways = site_places(np.stack([i, j], axis=1), to), []
    for own in range(SUBLATTICES):
        distance, other = np.linalg.norm(places - PLACES[own], axis=1), to != own
        steps = np.ceil(distance - SLACK)
        straight = (steps == 2) & (distance > 2 - SLACK)
        apart = STRAIGHT * straight + costs.sublattice * other
        able = ((distance > SLACK) & (steps * step + apart < costs.end)).nonzero()[0]
        near = able[np.lexsort((other[able], np.rint(3 * distance[able] ** 2)))]
        ways.append((i[near], j[near], to[near] - own))
    along, across, over = (np.array(way) for way in zip(*ways, strict=True))
    return _Around(along, across, over, steps[near], apart[near])


@dataclass(frozen=True)
class _Walks:
    """What links to other sites cost.

    The `entries` (n,) are those of the tracks in `grid`, `moves` (3, k) lead to those `around`.
    """

    before: Party
    after: Party
    step: np.ndarray
    costs: LinkCosts
    around: _Around
    grid: SiteGrid
    entries: np.ndarray
    moves: np.ndarray

    def between(self, tracks: np.ndarray, defects: np.ndarray) -> Pairs:
        """Links that gain anything from some tracks, bool (n,), to some defects, bool (m,)."""
        before, after, costs, around = self.before, self.after, self.costs, self.around
        start = (tracks & (before.doubt + self.step < costs.end)).nonzero()[0]
        moves = self.moves[before.sublattice[start]]
        found = self.grid.rows[moves + self.entries[start, None]].ravel()
        hit = (found >= 0).nonzero()[0]
        columns = found[hit].astype(np.intp)
        meant = defects[columns]
        hit, columns = hit[meant], columns[meant]
        from_, walk = np.divmod(hit, len(around.steps))
        rows = start[from_]
        cost = around.steps[walk] * self.step[rows] + around.apart[walk]
        cost += costs.change * (before.species[rows] != after.species[columns])
        gain = costs.end - cost - before.doubt[rows] - after.doubt[columns]
        return chosen((rows, columns, gain), gain > 0)


def reach(lag: int, costs: LinkCosts) -> int:
    """Cells by which a track may move at most in so many frames: the margin that `link` needs."""
    return _around(lag, costs).margin


def track_doubt(missed: np.ndarray, seen: np.ndarray, costs: LinkCosts) -> np.ndarray:
    """Doubt (n,) of tracks that were not found in the last `missed` frames, and seen in `seen`."""
    return np.asarray(costs.wait * missed + costs.lone * ((missed > 0) & (seen == 1)))


def link(
    before: Party,
    after: Party,
    lag: np.ndarray,
    costs: LinkCosts,
    sites: tuple[SiteGrid, np.ndarray] | None = None,
    numbers: np.ndarray | None = None,
) -> np.ndarray:
    """Link open tracks to the defects of a frame.

    Parameters
    ----------
    before, after
        Tracks and defects.
    lag
        Frames since each track was last seen, 1 for the frame before.
    costs
        Costs in nats.
    sites
        Grid of the defects, and the tracks' entries in it; made if they are not at hand, or the
        margin is less than `reach`.
    numbers
        (n,), all different, by which tracks come in turn where links are as good as others; that in
        which they are given if there are none.

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
    step = step_costs(lag, costs.hop)
    around = _around(int(lag.max()), costs)
    if sites is None or sites[0].margin < around.margin:
        grid = SiteGrid.of(after.cells, after.sublattice, around.margin)
        sites = grid, grid.entries(before.cells, before.sublattice)
    grid, entries = sites
    rows, columns, gain = stay = _stays(before, after, grid.rows[entries], costs)
    alone = np.bincount(columns, minlength=m)[columns] == 1
    most = (costs.end - before.doubt - step)[before.mobile].max(initial=0.0)
    firm = alone & (gain >= FIRM * most)
    moves = grid.moves(around.i, around.j, around.sublattice)
    walks = _Walks(before, after, step, costs, around, grid, entries, moves)
    hops = _useful(stay, firm, most, walks)
    away, onto = np.zeros(n), np.zeros(m)
    np.maximum.at(away, hops[0], hops[2])
    np.maximum.at(onto, hops[1], hops[2])
    # by not staying, track and defect are left one hop each
    sure = alone & (gain >= away[rows] + onto[columns])
    partner[rows[sure]] = columns[sure]
    free = np.ones(m, bool)
    free[columns[sure]] = False
    rest = joined(chosen(stay, ~sure), hops)
    rest = chosen(rest, (partner[rest[0]] < 0) & free[rest[1]])
    if len(rest[0]):
        match(rest, partner, m, numbers)
    return partner


def _useful(stay: Pairs, firm: np.ndarray, most: float, walks: _Walks) -> Pairs:
    """Hops without which there is no best assignment; `firm` marks stays, `most` bounds their gain.

    Firm tracks hop only where their site may be taken, and none to the site of another (`FIRM`).
    """
    rows, columns, gain = stay
    loose, left = walks.before.mobile.copy(), walks.after.mobile.copy()
    loose[rows[firm]], left[columns[firm]] = False, False
    first = walks.between(loose, walks.after.mobile)
    onto = np.zeros(len(left))
    np.maximum.at(onto, first[1], first[2])
    ousted = np.zeros(len(loose), bool)
    ousted[rows[firm & (gain < most + onto[columns])]] = True
    return joined(first, walks.between(ousted & walks.before.mobile, left))


def _stays(before: Party, after: Party, at: np.ndarray, costs: LinkCosts) -> Pairs:
    """Links on one site that gain anything; `at` (n,) is the defect on each track's site, or -1."""
    rows = (at >= 0).nonzero()[0]
    columns = at[rows].astype(np.intp)  # as indices are: others are turned into them at each use
    cost = costs.change * (before.species[rows] != after.species[columns])
    gain = costs.end - cost - before.doubt[rows] - after.doubt[columns]
    return chosen((rows, columns, gain), gain > 0)
