"""One gauge for the whole session: site numbers that survive drift and a jumping lattice.

A frame's lattice is known up to a turn by 120 degrees (60 degrees where both sublattices are alike)
and up to whole lattice vectors. With the frame's fractional coordinates f' and the session's f,

    f = G f' + s,   G in {T^0, T^1, T^2} (or their negatives),   s in Z^2 (+ (1/3, 2/3) with -G).

G is chosen by continuity of the lattice vectors: neighbours in gauge stand 120 (60) degrees apart
and a specimen turns by a fraction of a degree a frame. s is the maximum of a posterior: a
heavy-tailed prior about the predicted drift, and a vote of the defects, each open track that finds
a detection on its site counting ln(P(seen) / P(chance)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from latticewatch_kernels.lattice import HEXAGONAL_SITES, Lattice

#: Turn by +120 degrees in lattice coordinates: a1 -> a2, a2 -> -a1 - a2.
TURN = np.array([[0, -1], [1, -1]])
#: Frame's coordinates to the session's by (flip, turn), and back.
TRANSFORMS = np.array(
    [[s * np.linalg.matrix_power(TURN, turn) for turn in range(3)] for s in (1.0, -1.0)]
)
BACK = np.linalg.inv(TRANSFORMS)
#: Cells on either side of the first that have keys; what a cell along a1 or a2 adds to a key, and
#: the key of cell (0, 0).
KEY_CELLS = 1 << 28
KEY_STEPS = np.array([8 * KEY_CELLS, 4], np.int64)
FIRST_KEY = int(KEY_STEPS.sum()) * KEY_CELLS
#: Sublattices, and those that change places when the gauge flips by 60 degrees.
_SITES = np.array([0, 1, 2], np.int8)
FLIPPED = np.array([1, 0, 2], np.int8)

#: Scale of an unpredicted drift between frames, in lattice constants; the prior's tail is heavy
#: (Student-like), so that a stage jump is only unlikely, never impossible.
DRIFT_SCALE = 0.15
#: Chance that an open track is seen again on its site in the next frame; only its order matters.
SEEN_AGAIN = 0.8
#: Relative change of the lattice vectors beyond which the old gauge cannot be carried on: far above
#: jitter (0.1 %) and a drift's shear (1 %), and a 20 % zoom is a new field of view in any case.
LOST = 0.15
#: Memory of the drift velocity.
VELOCITY_WEIGHT = 0.5
#: Share of the defects on their sites that settles the vote at the predicted shift: no other can
#: have more, and none is looked for.
SETTLED = 0.5
#: Host intensity of sublattice 1 from which on the two sublattices cannot be told apart.
ALIKE = 0.8


@dataclass(frozen=True)
class AnchorState:
    """The gauge as the last frame left it.

    Attributes
    ----------
    matrix
        Anchored lattice vectors as columns, pixels.
    point, coordinate
        A pixel near the frame's centre and its anchored lattice coordinate.
    drift, velocity
        Accumulated drift in pixels and its estimate per frame.
    frame
        Number of that frame.
    """

    matrix: np.ndarray
    point: np.ndarray
    coordinate: np.ndarray
    drift: np.ndarray
    velocity: np.ndarray
    frame: int


@dataclass(frozen=True)
class Alignment:
    """How one frame's gauge maps to the session's.

    ``turn`` counts 120-degree steps; ``lost`` says that no gauge could be carried on and a new one
    began.
    """

    transform: np.ndarray
    shift: np.ndarray
    turn: int
    flipped: bool
    lost: bool = False

    @cached_property
    def _moves(self) -> tuple[np.ndarray, np.ndarray]:
        """Anchored sublattice (3,) of each of the frame's, and by how many cells (3, 2) it moves.

        The sites of cell (0, 0) lie whole cells from their anchored namesakes.
        """
        anchored = FLIPPED if self.flipped else _SITES
        place = HEXAGONAL_SITES @ self.transform.T + self.shift - HEXAGONAL_SITES[anchored]
        return anchored, np.rint(place).astype(np.int32)

    def sites(self, cells: np.ndarray, sublattice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Anchored cells (n, 2) int32 and sublattice (n,) int8 of the frame's own sites."""
        anchored, steps = self._moves
        turned = np.asarray(cells, np.int32)
        if self.turn or self.flipped:
            turned = turned @ np.rint(self.transform.T).astype(np.int32)
        return turned + steps.take(sublattice, axis=0), anchored.take(sublattice)

    def directions(self, neighbours: np.ndarray) -> np.ndarray:
        """Columns (n, 3) by the frame's directions, reordered to the anchored directions."""
        return np.roll(neighbours, self.turn, axis=1) if self.turn else neighbours


_IDENTITY = Alignment(np.eye(2), np.zeros(2), 0, flipped=False)


def _gauge(
    matrix: np.ndarray, lattice: Lattice, alike: bool
) -> tuple[int, bool, np.ndarray, np.ndarray, float]:
    """Gauge nearest to the anchored lattice vectors.

    Turn, flip, transform from the frame's coordinates, the frame's lattice vectors in that gauge
    and their relative mismatch.
    """
    own = lattice.matrix @ (BACK if alike else BACK[:1])
    gaps = ((own - matrix) ** 2).sum(axis=(2, 3))
    flip, turn = divmod(int(gaps.argmin()), gaps.shape[1])
    gap = math.sqrt(gaps[flip, turn] / (matrix**2).sum())
    return turn, bool(flip), TRANSFORMS[flip, turn], own[flip, turn], gap


def _solved(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Solve for two unknowns, in 0.5 us of which `np.linalg.solve` makes 3.1."""
    (a, b), (c, d) = matrix.tolist()
    x, y = vector.tolist()
    determinant = a * d - b * c
    return np.array([(d * x - b * y) / determinant, (a * y - c * x) / determinant])


def _on_sites(known: tuple[np.ndarray, np.ndarray], seen: tuple[np.ndarray, np.ndarray]) -> int:
    """How many seen sites are known ones."""
    # keys in order are looked up twice as fast
    return int(np.count_nonzero(among(np.sort(site_keys(*seen)), site_keys(*known))))


def _votes(
    known: tuple[np.ndarray, np.ndarray], seen: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Candidate shifts (k, 2) and how many known sites each would bring onto a seen one."""
    alike = known[1][:, None] == seen[1][None, :]
    steps = (known[0][:, None, :] - seen[0][None, :, :])[alike]
    if not len(steps):
        return np.zeros((0, 2), int), np.zeros(0, int)
    low = steps.min(axis=0)
    width = int(np.ptp(steps[:, 1])) + 1
    keys, counts = np.unique(
        (steps[:, 0] - low[0]).astype(np.int64) * width + (steps[:, 1] - low[1]), return_counts=True
    )
    return np.stack([keys // width, keys % width], axis=1) + low, counts


def _choose(
    predicted: np.ndarray,
    matrix: np.ndarray,
    elapsed: int,
    votes: tuple[np.ndarray, np.ndarray],
    chance: float,
) -> np.ndarray:
    """Integer shift of greatest posterior."""
    steps = np.vstack([np.rint(predicted).astype(int)[None], votes[0]])
    counts = np.concatenate([[0], votes[1]])
    constant = np.sqrt(abs(np.linalg.det(matrix)))
    distance = np.linalg.norm((steps - predicted) @ matrix.T, axis=1) / constant
    prior = -2.0 * np.log1p((distance / (DRIFT_SCALE * elapsed)) ** 2)
    score = prior + counts * max(np.log(SEEN_AGAIN / chance), 0.1)
    return np.asarray(steps[int(np.argmax(score))])


def site_keys(cells: np.ndarray, sublattice: np.ndarray | int) -> np.ndarray:
    """One int64 a site, for look-ups; cells within +-2^28."""
    keys = np.asarray(cells, np.int64) @ KEY_STEPS
    keys += sublattice
    keys += FIRST_KEY
    return np.asarray(keys)


def among(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of `keys`, of any shape, are among `others` (m,); bool of that shape."""
    if not len(others):
        return np.zeros(keys.shape, bool)
    ranked = np.sort(others)
    place = np.minimum(np.searchsorted(ranked, keys), len(ranked) - 1)
    return np.asarray(ranked[place] == keys)


def align(
    state: AnchorState | None,
    lattice: Lattice,
    frame: int,
    known: tuple[np.ndarray, np.ndarray],
    seen: tuple[np.ndarray, np.ndarray],
    shape: tuple[int, int],
    alike: bool = False,
) -> tuple[AnchorState, Alignment]:
    """Carry the session's gauge on to a new frame.

    Parameters
    ----------
    state
        Where the previous frame left the gauge; None starts one.
    lattice, frame, shape
        The new frame's lattice, number and (rows, columns).
    known, seen
        Cells (n, 2) and sublattice (n,): open tracks in the session's gauge, detections in the
        frame's own.
    alike
        True where the two sublattices look the same (graphene).

    Returns
    -------
    AnchorState, Alignment
    """
    origin = np.array(lattice.origin, float)
    if state is None:
        still = np.zeros(2)
        return AnchorState(lattice.matrix, origin, still, still, still, frame), _IDENTITY
    turn, flipped, transform, matrix, gap = _gauge(state.matrix, lattice, alike)
    if gap > LOST:
        fresh = AnchorState(lattice.matrix, origin, np.zeros(2), state.drift, np.zeros(2), frame)
        return fresh, Alignment(np.eye(2), np.zeros(2), 0, flipped=False, lost=True)
    base = HEXAGONAL_SITES[1] if flipped else np.zeros(2)
    elapsed = max(frame - state.frame, 1)
    moved = origin - state.velocity * elapsed - state.point
    predicted = state.coordinate + _solved((matrix + state.matrix) / 2, moved) - base
    shift = np.rint(predicted) + base
    alignment = Alignment(transform, shift, turn, flipped)
    sites = alignment.sites(*seen)
    if _on_sites(known, sites) <= SETTLED * min(len(known[1]), len(seen[1])):
        places = 3.0 * shape[0] * shape[1] / lattice.cell_area
        chance = min(max(len(seen[1]) / places, 1e-3), 0.5)
        further, votes = _votes(known, sites)
        steps = further + np.rint(predicted)
        shift = _choose(predicted, matrix, elapsed, (steps, votes), chance) + base
        alignment = Alignment(transform, shift, turn, flipped)
    travelled = origin + matrix @ (state.coordinate - shift) - state.point
    velocity = state.velocity + VELOCITY_WEIGHT * (travelled / elapsed - state.velocity)
    following = AnchorState(matrix, origin, shift, state.drift + travelled, velocity, frame)
    return following, alignment
