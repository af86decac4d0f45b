"""Change points in published series, found while frames come in, at constant cost and memory.

Each series is held against its own past: a level, a standard deviation s and a lag-1 correlation r,
with a memory of a few hundred
frames, from frames older than the newest dozen. The prewhitened
residuals e_t = (x_t - level) - r (x_(t-1) - level) have s_e = s sqrt(1 - r^2); a jump by J that
began k frames ago gives J in the first of the last k residuals and (1 - r) J in the others. The
matched sum over the last k is the generalised likelihood ratio of such a jump (Basseville and
Nikiforov, Detection of Abrupt Changes, 1993, sections 2.4.3 and 8.3). It is reported where it
exceeds, for any of a few k, what it exceeds by chance less than once in 1,000 frames of a series.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from . import intervals
from .baseline import Noise, Past

#: Lengths of jump that are tried, and the normal deviates beyond which each is reported. One frame
#: alone is never a change: it may be a bad frame. Three have the lowest threshold, for a jump of
#: three standard deviations is to be found in three frames. Measured with
#: `bench/estimating/changes.py`: 0.2 to 0.8 false reports in 1,000 frames of one series.
LENGTHS = np.array([2, 3, 4, 6, 8, 12])
LIMITS = np.array([3.75, 3.22, 4.2, 4.2, 4.2, 4.2])
#: Residuals, in s_e, beyond which one frame has no more weight in the search.
CLIP = 5.0
#: What the residuals of a jump but its greatest must amount to, in s_e (1 - r) a root frame: a
#: single bad frame followed by good ones is no jump. Three frames of white noise after a jump of
#: three standard deviations have more in 99 %; a frame that is 15 off is reported in 8 %.
REST = 1.5
#: By what part of a count a sum of counts is taken to be nearer to the level. Half a count is the
#: correction for continuity; a quarter still keeps all rates of false reports below one in 1,000.
COARSE = 0.25
#: Raises the limits by this times r / sqrt(frames known): r is uncertain, and where it is told too
#: low chance excursions look like jumps.
UNSURE = 1.25
#: Changes that are remembered.
LAST = 32


@dataclass(frozen=True)
class Kinds:
    """What is known of n series beforehand.

    Attributes
    ----------
    names
        As in the statistics.
    units
        (n,), what one count adds; 0 for what is not counted. Counts are skewed like Poisson's.
    floors
        (n,), least standard deviation: a series that never moved is not without noise.
    lowest, highest
        (n,) or one number, least and greatest value that a series can have.
    """

    names: tuple[str, ...]
    units: np.ndarray
    floors: np.ndarray
    lowest: np.ndarray | float = -np.inf
    highest: np.ndarray | float = np.inf

    def within(self, i: int, value: float, error: float) -> tuple[float, float, float]:
        """Value and interval of series i, no farther than it can go."""
        low, high = (
            float(np.broadcast_to(b, len(self.names))[i]) for b in (self.lowest, self.highest)
        )
        return (
            min(max(value, low), high),
            min(max(value - error, low), high),
            min(max(value + error, low), high),
        )


@dataclass(frozen=True)
class Change:
    """One change of one series.

    ``frame`` is the first at the new level, ``reported`` the one that showed it; `before` and
    `after` are (level, low, high), the second from the few frames since; ``deviate`` is how far in
    standard deviations of a normal it stands out, ``limit`` how far it had to.
    """

    series: str
    frame: int
    reported: int
    before: tuple[float, float, float]
    after: tuple[float, float, float]
    deviate: float
    limit: float

    def text(self) -> tuple[str, str]:
        """Give level before and after in words."""
        return (
            f"{self.series} = {self.before[0]:.4g}",
            f"{self.series} = {self.after[0]:.4g} from frame {self.frame}",
        )

    def plain(self) -> dict[str, Any]:
        """Give JSON-able values."""
        body = asdict(self)
        for name in ("before", "after"):
            body[name] = dict(zip(("value", "low", "high"), body[name], strict=True))
        body["delay_frames"] = self.reported - self.frame
        return body


def normal_deviates(deviate: np.ndarray, skew: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Turn deviates of a sum that is skewed, and scaled by a measured s, into normal ones.

    Skewed: the signed root of the deviance of a Poisson variable of that skewness. Scaled:
    Wallace's normal approximation of Student's t (Ann. Math. Stat. 30, 1121 (1959)).
    """
    safe = np.maximum(skew, 1e-6)
    ratio = np.maximum(1.0 + deviate * safe, 1e-300)
    deviance = 2.0 / safe**2 * (ratio * np.log(ratio) - ratio + 1.0)
    square = np.where(skew > 1e-4, np.maximum(deviance, 0.0), deviate**2)
    size = np.sqrt(freedom * np.log1p(square / freedom)) * ((8 * freedom + 1) / (8 * freedom + 3))
    return np.asarray(np.copysign(size, deviate))


def _matched(
    residual: np.ndarray, r: np.ndarray, later: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Match sums to a jump that began ``1 + later`` (m,) frames ago; they and their power, (m, n).

    `residual` (RECENT, n), newest first.
    """
    rest = 1 - r
    total = np.add.accumulate(residual)[later]
    return residual[later] * r + total * rest, 1 + later[:, None] * rest**2


def _residuals(past: Past, noise: Noise) -> np.ndarray:
    """Prewhitened residuals of the newest frames in s_e; (RECENT, n)."""
    off = past.recent - past.level
    residual = off.copy()
    residual[:-1] -= noise.r * off[1:]
    residual[-1] -= noise.r * (past.newest - past.level)
    return np.asarray(residual / noise.scale)


def _deviates(past: Past, kinds: Kinds, noise: Noise, residual: np.ndarray) -> np.ndarray:
    """How far a jump of each length stands out, as a normal deviate; (len(LENGTHS), n)."""
    r = noise.r
    matched, power = _matched(residual, r, LENGTHS - 1)
    # A sum of whole numbers is allowed a part of a count, being one of few values.
    coarse = COARSE * kinds.units / noise.scale
    matched = matched - np.minimum(np.maximum(matched, -coarse), coarse)
    # The level itself is known to s_e / (1 - r) / sqrt(weight).
    pull = 1 + (LENGTHS[:, None] - 1) * (1 - r)
    deviate = matched / np.sqrt(power + pull**2 / np.maximum(past.weight, 1.0))
    relative = noise.s / np.maximum(np.abs(past.level), 1e-300)
    skew = np.minimum(relative, kinds.units / noise.s) / np.sqrt(LENGTHS)[:, None]
    return normal_deviates(deviate, skew, np.maximum(past.spread_weight - 3.0, 2.0))


def _several(residual: np.ndarray, up: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Whether more than one of the newest residuals says so; (len(LENGTHS), n)."""
    pick = LENGTHS - 1
    total = np.cumsum(residual, axis=0)[pick]
    greatest = np.maximum.accumulate(residual, axis=0)[pick]
    least = np.minimum.accumulate(residual, axis=0)[pick]
    rest = np.where(up, total - greatest, least - total) / np.sqrt(pick)[:, None]
    return np.asarray(rest >= REST * (1 - r))


def _describe(
    past: Past, i: int, kinds: Kinds, noise: Noise, residual: np.ndarray, credible: float
) -> tuple[int, tuple[float, float, float], tuple[float, float, float]]:
    """For series i: frames since the jump most likely began, and the levels before and after.

    The likelihood is that of the residuals (RECENT,) as they are: `CLIP` would make a large jump
    small.
    """
    r, s, scale = float(noise.r[i]), float(noise.s[i]), float(noise.scale[i])
    later = np.arange(len(residual))
    matched, power = (part[:, 0] for part in _matched(residual[:, None], noise.r[i : i + 1], later))
    k = int(np.abs(matched / np.sqrt(power)).argmax())
    factor, level = intervals.normal_factor(credible), float(past.level[i])
    error = s * float(np.sqrt((1 + r) / (1 - r) / max(past.weight[i], 1.0)))
    after = level + float(matched[k] / power[k]) * scale
    reach = factor * float(np.hypot(scale / np.sqrt(power[k]), error))
    unit, half = float(kinds.units[i]), factor * error
    if unit > 0 and after > level:  # more counts scatter more
        reach *= float(np.sqrt((after + unit) / (max(level, 0.0) + unit)))
    # a few frames scatter about the new level: below zero it would be no level at all
    return k + 1, kinds.within(i, level, half), kinds.within(i, after, reach)


def watch(
    past: Past, values: np.ndarray, frame: int, kinds: Kinds, credible: float
) -> tuple[Past, list[Change]]:
    """Take one frame's values (n,) in; changes that it shows, at most one a series.

    Frames that are missing are simply not given.
    """
    past = past.pushed(np.asarray(values, float), frame, kinds.floors)
    ready = past.ready()
    if not ready.any():
        return past, []
    noise = past.noise(kinds.floors)
    raw = _residuals(past, noise)
    residual = np.minimum(np.maximum(raw, -CLIP), CLIP)
    deviate = _deviates(past, kinds, noise, residual)
    unsure = UNSURE * noise.r / np.sqrt(np.maximum(past.spread_weight, 10.0))
    limit = LIMITS[:, None] * (1 + unsure)
    excess = np.abs(deviate) - limit
    over = ready & (excess > 0)
    if not over.any():
        return past, []
    over &= _several(residual, deviate > 0, noise.r)
    changes, length = [], np.zeros(len(values), np.int64)
    for i in np.flatnonzero(over.any(axis=0)).tolist():
        best = int(np.where(over[:, i], excess[:, i], -np.inf).argmax())
        k, before, after = _describe(past, i, kinds, noise, raw[:, i], credible)
        if k == 1:  # the newest frame alone: it may be a bad one
            continue
        length[i] = k
        changes.append(
            Change(
                series=kinds.names[i],
                frame=int(past.frames[k - 1]),
                reported=frame,
                before=before,
                after=after,
                deviate=float(deviate[best, i]),
                limit=float(limit[best, i]),
            )
        )
    return (past.restarted(length > 0, length) if changes else past), changes
