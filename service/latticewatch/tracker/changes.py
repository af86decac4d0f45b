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
from .baseline import Past

#: Lengths of jump that are tried, and the normal deviates beyond which each is reported. One frame
#: alone is never a change: it may be a bad frame. Three have the lowest threshold, for a jump of
#: three standard deviations is to be found in three frames. Measured with
#: `bench/estimating/changes.py`: 0.5 to 0.9 false reports in 1,000 frames of one series.
LENGTHS = np.array([2, 3, 4, 6, 8, 12])
LIMITS = np.array([3.8, 3.25, 4.2, 4.2, 4.2, 4.2])
#: Residuals, in s_e, beyond which one frame has no more weight in the search.
CLIP = 6.0
#: What the residuals of a jump but its greatest must amount to, in s_e (1 - r) a root frame: a
#: single bad frame followed by good ones is no jump. A jump of three has more in 98 %.
REST = 1.0
#: Raises the limits by this times r / sqrt(frames known): r is uncertain, and where it is told too
#: low chance excursions look like jumps.
UNSURE = 1.0
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
    """

    names: tuple[str, ...]
    units: np.ndarray
    floors: np.ndarray


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


@dataclass(frozen=True)
class _Search:
    """Deviates and limits by length and series, (len(LENGTHS), n), and the jump's size."""

    deviate: np.ndarray
    limit: np.ndarray
    jump: np.ndarray
    error: np.ndarray


def _normal(deviate: np.ndarray, skew: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Turn deviates of a sum that is skewed, and scaled by a measured s, into normal ones.

    Skewed: the signed root of the deviance of a Poisson variable of that skewness. Scaled:
    Wallace's normal approximation of Student's t (Ann. Math. Stat. 30, 1121 (1959)).
    """
    safe = np.maximum(skew, 1e-6)
    ratio = np.maximum(1.0 + deviate * safe, 0.0)
    logs = np.log(np.where(ratio > 0, ratio, 1.0))
    deviance = 2.0 / safe**2 * (ratio * logs - ratio + 1.0)
    size = np.where(skew > 1e-4, np.sqrt(np.maximum(deviance, 0.0)), np.abs(deviate))
    size = np.sqrt(freedom * np.log1p(size**2 / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
    return np.asarray(np.sign(deviate) * size)


def _search(past: Past, kinds: Kinds) -> _Search:
    """Hold the newest frames against the past, for each length of jump."""
    r, s = past.noise(kinds.floors)
    scale = s * np.sqrt(1 - r**2)
    off = past.recent - past.level
    before = np.concatenate([off[1:], (past.newest - past.level)[None]])
    residual = np.clip((off - r * before) / scale, -CLIP, CLIP)
    pick, later = LENGTHS - 1, (LENGTHS - 1)[:, None]
    total = np.cumsum(residual, axis=0)[pick]
    matched = residual[pick] * r + total * (1 - r)
    power, pull = 1 + later * (1 - r) ** 2, 1 + later * (1 - r)
    # The level itself is known to s_e / (1 - r) / sqrt(weight); half a count is what a sum of
    # whole numbers must be allowed.
    slack = kinds.units / 4 / scale
    matched = np.sign(matched) * np.maximum(np.abs(matched) - slack, 0.0)
    deviate = matched / np.sqrt(power + pull**2 / np.maximum(past.weight, 1.0))
    relative = s / np.maximum(np.abs(past.level), 1e-300)
    skew = np.minimum(relative, kinds.units / s) / np.sqrt(LENGTHS)[:, None]
    deviate = _normal(deviate, skew, np.maximum(past.spread_weight - 3.0, 2.0))
    greatest = np.maximum.accumulate(residual, axis=0)[pick]
    least = np.minimum.accumulate(residual, axis=0)[pick]
    rest = np.where(deviate > 0, total - greatest, least - total) / np.sqrt(later)
    limit = LIMITS[:, None] * (1 + UNSURE * r / np.sqrt(np.maximum(past.spread_weight, 10.0)))
    return _Search(
        np.where(past.ready() & (rest >= REST * (1 - r)), deviate, 0.0),
        limit,
        matched / power * scale,
        scale / np.sqrt(power),
    )


def watch(
    past: Past, values: np.ndarray, frame: int, kinds: Kinds, credible: float
) -> tuple[Past, list[Change]]:
    """Take one frame's values (n,) in; changes that it shows, at most one a series.

    Frames that are missing are simply not given.
    """
    past = past.pushed(np.asarray(values, float), frame, kinds.floors)
    found = _search(past, kinds)
    excess = np.abs(found.deviate) - found.limit
    best = excess.argmax(axis=0)
    chosen = np.take_along_axis(excess, best[None], axis=0)[0] > 0
    if not chosen.any():
        return past, []
    factor = intervals.normal_factor(credible)
    r, s = past.noise(kinds.floors)
    level_error = s * np.sqrt((1 + r) / (1 - r) / np.maximum(past.weight, 1.0))
    changes = []
    for i in np.flatnonzero(chosen):
        k, level = best[i], float(past.level[i])
        half = factor * float(level_error[i])
        after = level + float(found.jump[k, i])
        reach = factor * float(np.hypot(found.error[k, i], level_error[i]))
        if kinds.units[i] > 0 and after > level:  # more counts scatter more
            reach *= float(np.sqrt((after + kinds.units[i]) / (max(level, 0.0) + kinds.units[i])))
        changes.append(
            Change(
                series=kinds.names[i],
                frame=int(past.frames[LENGTHS[k] - 1]),
                reported=frame,
                before=(level, level - half, level + half),
                after=(after, after - reach, after + reach),
                deviate=float(found.deviate[k, i]),
                limit=float(found.limit[k, i]),
            )
        )
    return past.restarted(chosen, LENGTHS[best]), changes
