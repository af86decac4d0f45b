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
        return _posterior(self.support)

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
) -> tuple[SiteFilter, np.ndarray, np.ndarray]:
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
    SiteFilter, ndarray, ndarray
        The filter; (m, k) the probability of each amount at the judged cells; and (1 + k, m) what
        the earlier frames alone foretold there, of an odd column last.
    """
    if not len(cells):
        return known, np.zeros((0, len(shares))), np.zeros((1 + len(shares), 0), np.float32)
    fresh = np.append(shares, ODD_SHARE).astype(np.float32)
    down, across = cells.astype(np.int64).T
    laid = _laid_out(known, (down, across), fresh)
    place = (down - laid.origin[0]) * laid.levels.shape[2] + (across - laid.origin[1])
    odds, levels, support = _odds(ratio, odd), laid.levels.copy(), laid.support
    if known.frame < 0:
        here = before = _at(levels, place)
    else:
        here, before, support = _moved_on(levels, support, frame - known.frame, place, odds)
    joint = here * odds
    here = joint / _likelihood(here, joint)
    _clip(levels, 0, 1)
    _clip(here, 0, 1)
    for level, values in zip(levels.reshape(len(fresh), -1), here, strict=True):
        level[place] = values
    lacking = np.asarray(here[:-1].T, float)
    return SiteFilter(laid.origin, levels, support, frame), lacking, before


def _moved_on(
    levels: np.ndarray, support: np.ndarray, elapsed: int, place: np.ndarray, odds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Let what is known hop on by some frames, at chances that the evidence speaks for.

    ``levels`` are moved in place. Gives them at the judged cells, what was foretold there without
    this evidence, and the support of each chance.
    """
    # beyond the largest of them a step of several frames would lose more than there is
    chances = np.minimum(1.0 - (1.0 - HOP_CHANCES) ** elapsed, HOP_CHANCES[-1])
    held = levels[:-1].sum(axis=0)
    change = _flow(levels, held)
    levels[0] += np.float32(BIRTH * elapsed) * (1 - (held + levels[-1]))
    here, flow = _at(levels, place), _at(change, place)
    gain = (flow * (odds - 1)).sum(axis=0) / _likelihood(here, here * odds)
    support = support * (1.0 - 1.0 / HOP_MEMORY) ** elapsed
    before = here + np.float32(_posterior(support) @ chances) * flow
    _clip(before, 0, 1)
    grown = chances.astype(np.float32)[:, None] * gain
    support += np.log1p(grown, out=grown).sum(axis=1, dtype=float)
    support -= support.max()
    chance = np.float32(_posterior(support) @ chances)
    change *= chance
    levels += change
    here += chance * flow
    return here, before, support


def _odds(ratio: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Likelihood ratios (1 + k, m) of the evidence.

    In float32, as all that is done for every site: a third of the time, and far finer than the
    evidence.
    """
    ratios = np.empty((1 + ratio.shape[1], len(odd)), np.float32)
    ratios[:-1], ratios[-1] = ratio.T, odd
    _clip(ratios, -_MOST, _MOST)
    return np.asarray(np.exp(ratios, out=ratios))


def _clip(values: np.ndarray, low: float, high: float) -> None:
    """Clip in place."""
    np.maximum(values, np.float32(low), out=values)
    np.minimum(values, np.float32(high), out=values)


def mean_chance(known: SiteFilter, chances: np.ndarray) -> float:
    """Mean of `chances`, one for each of `HOP_CHANCES`, over their posterior."""
    return float(known.hop_posterior @ chances)


def _posterior(support: np.ndarray) -> np.ndarray:
    """Probabilities by their logarithms, which need not be normalised."""
    weight = np.exp(support - support.max())
    return np.asarray(weight / weight.sum())


def _at(levels: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Values (1 + k, m) at places that count through the grid."""
    return levels.reshape(len(levels), -1).take(place, axis=1)


def _likelihood(here: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """Likelihood (m,) of the evidence over that of undisturbed columns.

    `here` (1 + k, m) are the probabilities before, `joint` the same times the likelihood ratios.
    """
    return np.asarray(1 - here.sum(axis=0) + joint.sum(axis=0))


def _flow(levels: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Change of `levels` per unit of the chance that a vacancy leaves its site.

    `held` (rows, columns) is the probability that a column lacks anything.
    """
    vacant, arriving = levels[:-1], _mean_of_neighbours(held)
    down = np.float32(1.0 + VANISHING) * vacant
    # from each amount, nothing included, to the next
    up = np.empty_like(vacant)
    np.multiply(arriving, 1 - held, out=up[0])
    np.multiply(arriving, vacant[:-1], out=up[1:])
    change = np.empty_like(levels)
    np.subtract(up, down, out=change[:-1])
    change[:-2] += down[1:] - up[1:]
    np.multiply(-arriving, levels[-1], out=change[-1])
    return change


def _mean_of_neighbours(values: np.ndarray) -> np.ndarray:
    """Mean over the six nearest sites; beyond the grid it goes on as at its border."""
    rows, columns = values.shape
    wide = np.empty((rows + 2, columns + 2), values.dtype)
    wide[1:-1, 1:-1] = values
    wide[0, 1:-1], wide[-1, 1:-1] = values[0], values[-1]
    wide[:, 0], wide[:, -1] = wide[:, 1], wide[:, -2]
    total = np.zeros_like(values)
    for down, across in _STEPS:
        total += wide[1 + down : 1 + down + rows, 1 + across : 1 + across + columns]
    total /= np.float32(len(_STEPS))
    return total


def _laid_out(
    known: SiteFilter, cells: tuple[np.ndarray, np.ndarray], fresh: np.ndarray
) -> SiteFilter:
    """Return a grid that holds all cells (by axis); the old one if it does."""
    low, high = [int(axis.min()) for axis in cells], [int(axis.max()) + 1 for axis in cells]
    extent = zip(known.origin.tolist(), known.levels.shape[1:], low, high, strict=True)
    if all(first <= least and most <= first + n for first, n, least, most in extent):
        return known
    size = np.array(known.levels.shape[1:])
    origin, end = np.array(low) - MARGIN, np.array(high) + MARGIN
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
