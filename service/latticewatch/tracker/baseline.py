"""The past that a series is held against: level, spread and correlation, and its newest frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

#: Newest frames, which are searched for a jump and do not belong to the past yet.
RECENT = 12
#: Frames from the start, and after a change from its first frame, before a change can be reported.
WARM_UP = 36
#: Frames over which the past is forgotten, so that a slow trend is followed and not reported.
MEMORY = 300.0
#: Frames' worth of knowledge of s and r that outlives a change: they may have changed with it.
KEPT = 30.0
#: Residuals, in s_e, beyond which one frame has no more weight in the past.
CLIP_PAST = 4.0
#: Largest correlation told apart from a random walk.
MOST_R = 0.98


@dataclass(frozen=True)
class Noise:
    """Correlation, standard deviation, and that of residuals, of n series; each (n,)."""

    r: np.ndarray
    s: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Past:
    """What is remembered of n series.

    Attributes
    ----------
    weight, level
        (n,), frames' worth of knowledge of the level since its last change, and the level.
    spread_weight, spread, along
        (n,), frames' worth behind, and sums of squared deviations and of products of neighbours.
    newest
        (n,), the last value that went into the past.
    recent, frames
        (RECENT, n) and (RECENT,), newest first: values that did not yet, and their frames.
    held
        int (n,), how many of `recent` belong to the present level.
    """

    weight: np.ndarray
    level: np.ndarray
    spread_weight: np.ndarray
    spread: np.ndarray
    along: np.ndarray
    newest: np.ndarray
    recent: np.ndarray
    frames: np.ndarray
    held: np.ndarray

    @classmethod
    def empty(cls, n: int) -> Past:
        """No frames yet."""
        blank = np.zeros(n)
        return cls(*(blank,) * 6, np.zeros((RECENT, n)), np.full(RECENT, -1), np.zeros(n, np.int64))

    @cached_property
    def _measured(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lag-1 correlation r, sqrt(1 - r^2) and variance, each (n,).

        Wanted in this frame and in the next.
        """
        frames = np.maximum(self.spread_weight, 10.0)
        r = self.along / np.maximum(self.spread, 1e-300)
        r = np.minimum(np.maximum(r, 0.0), MOST_R)
        r = np.minimum(r + (1 + 4 * r) / frames, MOST_R)
        variance = self.spread / np.maximum(self.spread_weight - 1.0, 1.0)
        return r, np.sqrt(1 - r**2), variance

    def noise(self, floors: np.ndarray) -> Noise:
        """How the series scatter, by no less than `floors` (n,).

        The correlation's bias of -(1 + 4 r) / frames (Marriott and Pope, Biometrika 41, 390 (1954))
        is taken out; a negative one is taken for none.
        """
        r, left, variance = self._measured
        s = np.sqrt(np.maximum(variance, floors**2))
        return Noise(r, s, s * left)

    def ready(self) -> np.ndarray:
        """Tell which series, bool (n,), are known well enough to report a change."""
        return np.asarray((self.held >= RECENT) & (self.weight > WARM_UP - RECENT - 0.5))

    def pushed(self, values: np.ndarray, frame: int, floors: np.ndarray) -> Past:
        """Take in a frame; the oldest recent value goes into the past."""
        aged = self._aged(self.held >= RECENT, floors)
        recent, frames = np.empty_like(self.recent), np.empty_like(self.frames)
        recent[0], recent[1:] = values, self.recent[:-1]
        frames[0], frames[1:] = frame, self.frames[:-1]
        held = np.minimum(self.held + 1, RECENT)
        return replace(self, recent=recent, frames=frames, held=held, **aged)

    def _aged(self, chosen: np.ndarray, floors: np.ndarray) -> dict[str, np.ndarray]:
        """Give what changes as the oldest recent value of the chosen goes into the past."""
        if not chosen.any():
            return {}
        noise = self.noise(floors)
        begun = self.weight > 0
        expected = self.level + noise.r * (self.newest - self.level)
        reach = CLIP_PAST * noise.scale
        # Until a level is known nothing can be called an outlier.
        reach[(self.weight < 10) | (self.spread_weight < 10)] = np.inf
        value = np.minimum(np.maximum(self.recent[-1], expected - reach), expected + reach)
        keep = 1.0 - 1.0 / MEMORY
        weight = self.weight * keep + 1.0
        off = value - self.level
        level = self.level + off / weight
        moved = begun * (value - level)
        fresh = {
            "weight": weight,
            "level": level,
            "spread_weight": self.spread_weight * keep + begun,
            "spread": self.spread * keep + off * moved,
            "along": self.along * keep + (self.newest - level) * moved,
            "newest": value,
        }
        if chosen.all():
            return fresh
        return {k: np.where(chosen, v, getattr(self, k)) for k, v in fresh.items()}

    def restarted(self, chosen: np.ndarray, length: np.ndarray) -> Past:
        """Begin a new level with the last `length` (n,) frames, for the chosen (n,) series."""
        share = np.minimum(1.0, KEPT / np.maximum(self.spread_weight, 1.0))
        return replace(
            self,
            weight=np.where(chosen, 0.0, self.weight),
            level=np.where(chosen, 0.0, self.level),
            held=np.where(chosen, length, self.held),
            **{
                k: getattr(self, k) * np.where(chosen, share, 1.0)
                for k in ("spread_weight", "spread", "along")
            },
        )
