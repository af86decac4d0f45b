"""What all frames so far say of every column of the second sublattice: whether an atom is missing.

One frame tells a chalcogen vacancy at two standard deviations, but a vacancy stays for many frames.
On a grid of sites each column is a hidden Markov chain: it lacks nothing, one amount, the next; and
what a vacancy leaves, its neighbour site receives. A frame's likelihood ratios update the chain by
Bayes' rule (a grid filter, Arulampalam, Maskell, Gordon and Clapp, IEEE Trans. Signal Process. 50,
174 (2002), sect. IV-B); that neighbours' occupations are independent is its one approximation.

How likely a vacancy moves between two frames is learnt: the predicted likelihood of each frame is
known for a whole grid of chances, since the prediction is linear in the chance, and the posterior
over that grid says which one to go on with. A specimen at rest thus remembers all its frames, and
one that boils the last few.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

#: Chances per frame that a vacancy leaves its site: from none in a session of hundreds of frames to
#: nearly every second frame. Between neighbours a factor of two.
HOP_CHANCES = np.geomspace(0.002, 0.45, 9)
#: Memory of the posterior over them, frames: the beam's current changes, the specimen ages.
HOP_MEMORY = 100.0
#: Vacancies that vanish (healed, in a hole, jumped further than one site) for each that hops.
VANISHING = 0.1
#: Chance per frame and site that a vacancy is made. 8e-5 in the simulated specimen at the reference
#: dose; three times more costs 0.003 of the F1 there.
BIRTH = 1e-4
#: Share of columns that look as if half of the least amount were missing, and nothing is: they are
#: in the shadow of something else, and look so in every frame. Means over 24 frames of 6,000
#: undisturbed columns of simulated WS2 (1,600 and 3,200 electrons a pixel) scatter by a tenth of a
#: vacancy's contrast, but 0.5 % stand below -0.4 of it. Without this reading the filter claims 25 %
#: more vacancies at 3,200 than there are, with it 6 %.
ODD_SHARE = 0.01
#: Cells added around the field of view when the grid is laid out anew, so that drift rarely does.
MARGIN = 4
#: Largest log likelihood ratio that one frame may bring.
_MOST = 60.0

#: Steps to the six nearest sites of the same sublattice; a1 and a2 stand 120 degrees apart.
_STEPS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1))


@dataclass(frozen=True)
class SiteFilter:
    """Probabilities on a grid of cells of the session's gauge.

    Attributes
    ----------
    origin
        (2,) cell at [0, 0] of the grid.
    levels
        float32 (1 + k, rows, columns): probability that a column lacks each of the k amounts, least
        first; the last is that of an odd column that lacks nothing.
    support
        (HOP_CHANCES,) log posterior of each chance, up to a constant.
    frame
        Of the last evidence.
    """

    origin: np.ndarray
    levels: np.ndarray
    support: np.ndarray
    frame: int

    @classmethod
    def empty(cls, amounts: int) -> SiteFilter:
        """No site yet."""
        support = np.zeros(len(HOP_CHANCES))
        none = np.zeros((1 + amounts, 0, 0), np.float32)
        return cls(np.zeros(2, np.int64), none, support, -1)

    @property
    def hop_posterior(self) -> np.ndarray:
        """Probability of each of `HOP_CHANCES`."""
        weight = np.exp(self.support - self.support.max())
        return np.asarray(weight / weight.sum())

    def state(self) -> dict[str, Any]:
        """Arrays and numbers by name."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> SiteFilter:
        """Undo `state`."""
        return cls(**state)


def observe_sites(
    known: SiteFilter,
    frame: int,
    cells: np.ndarray,
    ratio: np.ndarray,
    odd: np.ndarray,
    shares: np.ndarray,
) -> tuple[SiteFilter, np.ndarray]:
    """Move the filter on to a frame and fold its evidence in.

    Parameters
    ----------
    known
        After an earlier frame.
    frame
        Number of this one; those between brought nothing.
    cells
        int (m, 2), judged cells in the session's gauge, each once.
    ratio
        (m, k): log likelihood ratio of each amount against the undisturbed column.
    odd
        (m,): the same of an odd column (`vacancies.ODD_LEVEL`).
    shares
        (k,): how common each amount is, for sites that were never seen.

    Returns
    -------
    SiteFilter, ndarray
        The filter, and (m, k) the probability of each amount at the judged cells.
    """
    if not len(cells):
        return known, np.zeros((0, len(shares)))
    fresh = np.append(shares, ODD_SHARE).astype(np.float32)
    down, across = np.ascontiguousarray(cells.T, np.int64)
    laid = _laid_out(known, (down, across), fresh)
    shape = laid.levels.shape
    place = (down - laid.origin[0]) * shape[2] + (across - laid.origin[1])
    # float32 throughout: a third of the time, and far finer than the evidence
    odds = np.exp(np.clip(np.vstack([ratio.T, odd]).astype(np.float32), -_MOST, _MOST))
    still = laid.levels.copy()
    if known.frame >= 0:
        elapsed = frame - known.frame
        # beyond the largest of them a step of several frames would lose more than there is
        chances = np.minimum(1.0 - (1.0 - HOP_CHANCES) ** elapsed, HOP_CHANCES[-1])
        moving = _flow(still)
        still[0] += np.float32(BIRTH * elapsed) * (1 - still.sum(axis=0))
        here = _at(still, place)
        gain = (_at(moving, place) * (odds - 1)).sum(axis=0) / _likelihood(here, odds)
        support = laid.support * (1.0 - 1.0 / HOP_MEMORY) ** elapsed
        support += np.log1p(chances.astype(np.float32)[:, None] * gain).sum(axis=1, dtype=float)
        laid = replace(laid, support=support - support.max())
        still += np.float32(mean_chance(laid, chances)) * moving
    here = _at(still, place)
    here = np.clip(here * odds / _likelihood(here, odds), 0, 1)
    levels = np.clip(still, 0, 1)
    levels.reshape(len(fresh), -1)[:, place] = here
    return replace(laid, levels=levels, frame=frame), np.asarray(here[:-1].T, float)


def foretold(known: SiteFilter, frame: int, cells: np.ndarray) -> np.ndarray:
    """Tell what the earlier frames expect of some sites in frame `frame`, before it is looked at.

    Parameters
    ----------
    known
        After an earlier frame.
    frame
        Number of the next.
    cells
        int (n, 2), cells in the session's gauge.

    Returns
    -------
    ndarray
        (n, 1 + k): probability of each amount, then of an odd column; 0 off the grid.
    """
    rows, columns = known.levels.shape[1:]
    place = cells - known.origin
    inside = ((place >= 0) & (place < (rows, columns))).all(axis=1)
    result = np.zeros((len(cells), len(known.levels)))
    if not inside.any():
        return result
    # Each site with its eight neighbours, block beside block: `_flow` sees all six that it needs.
    down, across = (
        np.clip(axis[:, None] + np.arange(-1, 2), 0, size - 1)
        for axis, size in zip(place[inside].T, (rows, columns), strict=True)
    )
    blocks = known.levels[:, down[:, :, None], across[:, None, :]]
    blocks = np.concatenate(list(blocks.swapaxes(0, 1)), axis=2)
    here, moving = blocks[:, 1, 1::3].copy(), _flow(blocks)[:, 1, 1::3]
    elapsed = frame - known.frame
    chances = np.minimum(1.0 - (1.0 - HOP_CHANCES) ** elapsed, HOP_CHANCES[-1])
    faded = replace(known, support=known.support * (1.0 - 1.0 / HOP_MEMORY) ** elapsed)
    here[0] += np.float32(BIRTH * elapsed) * (1 - here.sum(axis=0))
    here += np.float32(mean_chance(faded, chances)) * moving
    result[inside] = np.clip(here, 0, 1).T
    return result


def mean_chance(known: SiteFilter, chances: np.ndarray) -> float:
    """Mean of `chances`, one for each of `HOP_CHANCES`, over their posterior."""
    return float(known.hop_posterior @ chances)


def _at(levels: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Values (1 + k, m) at places that count through the grid."""
    return np.take(levels.reshape(len(levels), -1), place, axis=1)


def _likelihood(here: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Likelihood (m,) of the evidence over that of undisturbed columns."""
    return np.asarray(1 - here.sum(axis=0) + (here * odds).sum(axis=0))


def _flow(levels: np.ndarray) -> np.ndarray:
    """Change of `levels` per unit of the chance that a vacancy leaves its site."""
    vacant = levels[:-1]
    arriving = _mean_of_neighbours(vacant.sum(axis=0))
    below = np.concatenate([(1 - vacant.sum(axis=0))[None], vacant])
    up = arriving * below[:-1]  # from each amount, nothing included, to the next
    down = np.float32(1.0 + VANISHING) * vacant
    change = np.zeros_like(levels)
    change[:-1] = up - down
    change[:-2] += down[1:] - up[1:]
    change[-1] = -arriving * levels[-1]
    return change


def _mean_of_neighbours(values: np.ndarray) -> np.ndarray:
    """Mean over the six nearest sites; beyond the grid it goes on as at its border."""
    rows, columns = values.shape
    wide = np.pad(values, 1, mode="edge")
    total = np.zeros_like(values)
    for down, across in _STEPS:
        total += wide[1 + down : 1 + down + rows, 1 + across : 1 + across + columns]
    return total / np.float32(len(_STEPS))


def _laid_out(
    known: SiteFilter, cells: tuple[np.ndarray, np.ndarray], fresh: np.ndarray
) -> SiteFilter:
    """Return a grid that holds all cells (by axis); the old one if it does."""
    low, high = (np.array([edge(axis) for axis in cells]) for edge in (np.min, np.max))
    high += 1
    size = np.array(known.levels.shape[1:])
    if (low >= known.origin).all() and (high <= known.origin + size).all():
        return known
    origin, end = low - MARGIN, high + MARGIN
    levels = np.empty((len(fresh), *(end - origin)), np.float32)
    levels[:] = fresh[:, None, None]
    start, stop = np.maximum(origin, known.origin), np.minimum(end, known.origin + size)
    if (stop > start).all():
        new, old = (
            (slice(None), *(slice(a, b) for a, b in zip(start - o, stop - o, strict=True)))
            for o in (origin, known.origin)
        )
        levels[new] = known.levels[old]
    return replace(known, origin=origin.astype(np.int64), levels=levels)
