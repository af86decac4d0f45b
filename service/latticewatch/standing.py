"""What the checks of a stream add up to: the agreement with its interval, and whether it is low.

Pure functions of the checks in order: the writer applies them, and a replay of the same frames, or
a session that was resumed, comes to the same. See docs/self-calibration.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from latticewatch.agreement import Counts
from latticewatch.tracker.intervals import share

#: Correlation of a column's outcomes from check to check, as its defect stays: k checks of the same
#: columns count as k / (1 + (k - 1) times this) (the design effect of Kish, "Survey Sampling"
#: (1965)). On simulated movies it is 0.69 and 0.73 for two poor models, 0.36 for the shipped one:
#: docs/self-calibration.md.
REPEAT_SHARE = 0.7

#: Probability inside the published intervals.
CREDIBLE = 0.95


@dataclass(frozen=True)
class Rule:
    """Which frames are checked, and when the service says that agreement is low.

    Attributes
    ----------
    every
        Every so many frames one is checked; 0: none.
    window
        Newest checks that are pooled.
    limit
        Least agreement that is well.
    patience
        Checks in a row whose whole interval lies below the limit before it is called low.
    """

    every: int = 10
    window: int = 12
    limit: float = 0.85
    patience: int = 3

    def checks(self, frame: int) -> bool:
        """Whether the frame of that number is checked: its number alone decides."""
        return self.every > 0 and frame % self.every == 0


@dataclass(frozen=True)
class Estimate:
    """A share with its interval; None where nothing was counted."""

    mean: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Check:
    """Counts of one checked frame."""

    frame: int
    counts: Counts


@dataclass(frozen=True)
class Standing:
    """What is known of the model in use.

    Attributes
    ----------
    checks
        The newest checks of this model, oldest first.
    streak
        Last checks in a row after which the interval lay below the limit.
    low
        Whether the service says that agreement is low: since the streak was long enough, until the
        estimate is at the limit again.
    """

    checks: tuple[Check, ...] = ()
    streak: int = 0
    low: bool = False

    @property
    def counts(self) -> Counts:
        """Counts of the checks together."""
        return pooled(check.counts for check in self.checks)

    @property
    def estimate(self) -> Estimate:
        """Agreement by the checks together."""
        return agreement_of(self.counts, self._informative)

    def after(self, check: Check, rule: Rule) -> Standing:
        """Take in the next check."""
        now = replace(self, checks=(*self.checks, check)[-rule.window :])
        estimate = now.estimate
        streak = self.streak + 1 if estimate.high < rule.limit else 0
        recovered = estimate.mean is not None and estimate.mean >= rule.limit
        low = (self.low and not recovered) or streak >= rule.patience
        return replace(now, streak=streak, low=low)

    def afresh(self) -> Standing:
        """Begin anew with another model; low stays low until that one is shown to be well."""
        return Standing(low=self.low)

    def summary(self, rule: Rule) -> dict[str, Any]:
        """Return plain values for the statistics."""
        counts, repeats = self.counts, self._informative
        found = counts.agreed + counts.missed
        marked = counts.agreed + counts.unlabelled
        return {
            "every": rule.every,
            "checks": len(self.checks),
            "frame": self.checks[-1].frame if self.checks else None,
            "agreement": vars(self.estimate),
            "labels_found": {"counted": found, **vars(_share(counts.agreed, found, repeats))},
            "marks_labelled": {"counted": marked, **vars(_share(counts.agreed, marked, repeats))},
            "limit": rule.limit,
            "streak": self.streak,
            "low": self.low,
        }

    @property
    def _informative(self) -> int:
        return sum(check.counts.total > 0 for check in self.checks)


def pooled(counts: Iterable[Counts]) -> Counts:
    """Add up counts."""
    return reduce(Counts.__add__, counts, Counts())


def agreement_of(counts: Counts, checks: int) -> Estimate:
    """Harmonic mean of the share of labels found and the share of marks labelled.

    With a columns agreed on and d not, the harmonic mean is 2 a / (2 a + d) = 2 J / (1 + J), where
    J = a / (a + d) is a plain share: its Jeffreys interval, carried over, is that of the harmonic
    mean.

    Parameters
    ----------
    counts
        Of all checks together.
    checks
        Checks that they come from.
    """
    plain = _share(counts.agreed, counts.total, checks)
    mean = None if plain.mean is None else _harmonic(plain.mean)
    return Estimate(mean, _harmonic(plain.low), _harmonic(plain.high))


def _harmonic(jaccard: float) -> float:
    return 2.0 * jaccard / (1.0 + jaccard)


def _share(part: int, whole: int, checks: int) -> Estimate:
    """Share with its Jeffreys interval; nothing counted leaves it between 0 and 1."""
    if not whole:
        return Estimate(None, 0.0, 1.0)
    effect = 1.0 + REPEAT_SHARE * max(0, checks - 1)
    trials = np.array(whole / effect)
    _, low, high = (float(value) for value in share(part / whole * trials, trials, CREDIBLE))
    # Brown, Cai and DasGupta, Statist. Sci. 16, 101 (2001): the ends are part of it
    return Estimate(part / whole, 0.0 if part == 0 else low, 1.0 if part == whole else high)


def describe(estimate: Estimate, limit: float) -> str:
    """Say in words how an agreement stands to the limit."""
    if estimate.mean is None:
        return f"no column of the newest checks could be judged (limit {limit:.2f})"
    return (
        f"segmenter and labels agree on {estimate.mean:.2f} "
        f"({estimate.low:.2f} to {estimate.high:.2f}), limit {limit:.2f}"
    )
