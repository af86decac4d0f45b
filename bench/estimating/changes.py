"""Change points: false reports and how soon a jump of three standard deviations is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import poisson

from latticewatch.tracker.baseline import Past
from latticewatch.tracker.changes import Change, Kinds, watch

#: Jump in standard deviations of the series.
JUMP = 3.0
#: Most false reports a frame that are allowed.
ALLOWED = 1e-3


@dataclass(frozen=True)
class Noise:
    """A kind of series: AR(1) of mean 100 and standard deviation 1, or Poisson counts."""

    name: str
    correlation: float = 0.0
    mean: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether it is a Poisson variable."""
        return self.mean > 0

    def kinds(self, n: int) -> Kinds:
        """Give what the detector is told of n such series."""
        unit, floor = (1.0, 0.5) if self.counts else (0.0, 1e-3)
        names = tuple(str(i) for i in range(n))
        return Kinds(names, np.full(n, unit), np.full(n, floor))

    def draw(
        self, rng: np.random.Generator, frames: int, n: int, jump_at: int | None = None
    ) -> np.ndarray:
        """Values (frames, n), with a jump from frame `jump_at` on."""
        after = np.arange(frames) >= (frames if jump_at is None else jump_at)
        if self.counts:
            level = self.mean + after * JUMP * np.sqrt(self.mean)
            return rng.poisson(level[:, None], (frames, n)).astype(float)
        noise = rng.standard_normal((frames, n))
        fresh = np.sqrt(1 - self.correlation**2)
        for t in range(1, frames):
            noise[t] = self.correlation * noise[t - 1] + fresh * noise[t]
        return np.asarray(100.0 + noise + (after * JUMP)[:, None])

    def ideal(self) -> float:
        """Share that nobody can exceed on the third frame.

        A likelihood ratio test of the three frames that knows level, spread, correlation and the
        very frame of the change, and reports one frame in 1,000 by chance (half of them upwards).
        """
        if self.counts:
            law, other = (
                poisson(3 * m) for m in (self.mean, self.mean + JUMP * np.sqrt(self.mean))
            )
            least = int(law.isf(ALLOWED / 2))
            edge = (ALLOWED / 2 - law.sf(least)) / law.pmf(least)
            return float(other.sf(least) + edge * other.pmf(least))
        r = self.correlation
        distance = JUMP * np.sqrt((1 + 2 * (1 - r) ** 2) / (1 - r**2))
        return float(ndtr(distance + ndtri(ALLOWED / 2)))


NOISES = (
    Noise("white"),
    Noise("AR(1), r = 0.3", 0.3),
    Noise("AR(1), r = 0.6", 0.6),
    Noise("AR(1), r = 0.9", 0.9),
    Noise("Poisson, mean 0.5", mean=0.5),
    Noise("Poisson, mean 2", mean=2.0),
    Noise("Poisson, mean 10", mean=10.0),
)


def run(values: np.ndarray, kinds: Kinds, look: Callable[[int, list[Change]], None]) -> Past:
    """Give values (frames, n) to the detector; `look` gets each frame's changes."""
    past = Past.empty(values.shape[1])
    for frame, row in enumerate(values):
        past, changes = watch(past, row, frame, kinds, 0.95)
        look(frame, changes)
    return past


def false_reports(noise: Noise, frames: int, n: int, seed: int = 3) -> float:
    """Count reports, per frame, of series in which nothing changes."""
    found: list[Change] = []
    rng = np.random.default_rng(seed)
    run(noise.draw(rng, frames, n), noise.kinds(n), lambda _, changes: found.extend(changes))
    return len(found) / (frames * n)


@dataclass(frozen=True)
class Delays:
    """Of jumps: shares reported by the 1st, 2nd ... frame, with the right one, and covered."""

    jumps: int
    by_frame: np.ndarray
    frame_right: float
    covered: float


def delays(noise: Noise, before: int, n: int, seed: int = 4, after: int = 10) -> Delays:
    """Jumps after `before` frames; series that reported something just before are left out."""
    rng = np.random.default_rng(seed)
    seen: dict[str, Change] = {}
    spoilt: set[str] = set()

    def look(frame: int, changes: list[Change]) -> None:
        for change in changes:
            if frame < before:
                # Such a series is in its warm-up when the jump comes.
                spoilt.update([change.series] if frame >= before - 36 else [])
            else:
                seen.setdefault(change.series, change)

    run(noise.draw(rng, before + after, n, before), noise.kinds(n), look)
    found = [c for name, c in seen.items() if name not in spoilt]
    jumps = n - len(spoilt)
    late = np.array([c.reported - before + 1 for c in found])
    level = noise.mean + JUMP * np.sqrt(noise.mean) if noise.counts else 100.0 + JUMP
    return Delays(
        jumps,
        np.array([(late <= k).sum() / jumps for k in range(1, after + 1)]),
        float(np.mean([c.frame == before for c in found])),
        float(np.mean([c.after[1] <= level <= c.after[2] for c in found])),
    )


def table(noises: tuple[Noise, ...], long: tuple[int, int], jumps: int) -> str:
    """Rows of false reports over `long` (frames, series), and of `jumps` jumps."""
    frames, n = long
    head = (
        f"{'series':18s} {'false/1000':>10s} {'short':>6s} {'ideal':>6s} "
        f"{'2nd':>6s} {'3rd':>6s} {'4th':>6s} {'6th':>6s} {'10th':>6s} {'frame':>6s} "
        f"{'covered':>7s} {'3rd, early':>10s}"
    )
    lines = [head]
    for noise in noises:
        often = 1000 * false_reports(noise, frames, n)
        short = 1000 * false_reports(noise, 200, frames * n // 200)
        late, early = delays(noise, 300, jumps), delays(noise, 60, jumps)
        shares = " ".join(f"{late.by_frame[k - 1]:6.1%}" for k in (2, 3, 4, 6, 10))
        lines.append(
            f"{noise.name:18s} {often:10.2f} {short:6.2f} {noise.ideal():6.1%} {shares} "
            f"{late.frame_right:6.1%} {late.covered:7.1%} {early.by_frame[2]:10.1%}"
        )
    return "\n".join(lines)


def main_table(quick: bool) -> str:
    """Table over 200,000 frames and 4,000 jumps a kind; a twenty-fifth of it where `quick`."""
    body = table(NOISES, (400, 20), 200) if quick else table(NOISES, (4000, 50), 4000)
    return (
        f"{body}\n\nFalse reports in 1,000 frames of one series: in long runs, and in runs of 200 "
        "frames. 2nd to 10th:\njumps of three standard deviations, after 300 frames, reported by "
        "that frame at the new level;\nearly: after 60 frames. ideal: the most that is possible by "
        "the third if all but the change is known.\nframe, covered: reports with the right first "
        "frame, and whose interval holds the new level."
    )
