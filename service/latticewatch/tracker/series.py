"""Running sums of a vector over frames: enough for its mean and an honest interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import intervals


@dataclass(frozen=True)
class Series:
    """Sums of x, x^2 and x(t) x(t - 1) over frames, and the last x."""

    n: int
    total: np.ndarray
    squares: np.ndarray
    products: np.ndarray
    last: np.ndarray

    @classmethod
    def empty(cls, length: int) -> Series:
        """No frames yet."""
        blank = np.zeros(length)
        return cls(0, blank, blank, blank, blank)

    def add(self, x: np.ndarray) -> Series:
        """Fold one frame in."""
        x = np.asarray(x, float)
        products = self.products + (self.last * x if self.n else 0.0)
        return Series(self.n + 1, self.total + x, self.squares + x**2, products, x)

    def summary(
        self, index: int, credible: float, highest: float = np.inf
    ) -> dict[str, float | None]:
        """Value now, mean over time, and the mean's interval; None where nothing is known.

        All that is kept in a series (counts, areas, lengths) lies between 0 and `highest`; the
        interval is cut there.
        """
        if not self.n:
            return {"now": None, "mean": None, "low": None, "high": None}
        pick = slice(index, index + 1)
        sums = (self.total[pick], self.squares[pick], self.products[pick])
        values = (float(v[0]) for v in intervals.time_mean(self.n, *sums, credible))
        values = (min(max(v, 0.0), highest) if np.isfinite(v) else v for v in values)
        mean, low, high = (v if np.isfinite(v) else None for v in values)
        return {"now": float(self.last[index]), "mean": mean, "low": low, "high": high}
