"""How many detections each class has, frame by frame: sums that survive a merge exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from . import intervals


@dataclass(frozen=True)
class Members:
    """Sums over frames of the counts x of each class.

    Attributes
    ----------
    n
        Frames.
    began
        (room,): frames before the class was there; they do not count for its mean.
    total, last
        (room,): sum of x, and the last x.
    squares, products
        (room, room): sums of x x^T and of x(t) x(t - 1)^T. With products across classes too, the
        sums of two classes taken as one are those that one class would have.
    """

    n: int
    began: np.ndarray
    total: np.ndarray
    last: np.ndarray
    squares: np.ndarray
    products: np.ndarray

    @classmethod
    def empty(cls, room: int) -> Members:
        """No frames yet."""
        none, square = np.zeros(room), np.zeros((room, room))
        return cls(0, np.zeros(room, np.int64), none, none, square, square)

    def add(self, x: np.ndarray) -> Members:
        """Fold the counts (room,) of one frame in."""
        x = np.asarray(x, float)
        return Members(
            self.n + 1,
            self.began,
            self.total + x,
            x,
            self.squares + x[:, None] * x,
            self.products + x[:, None] * self.last,
        )

    def merged(self, kept: int, gone: int) -> Members:
        """Count the members of `gone` with those of `kept`."""
        fold = np.eye(len(self.total))
        fold[kept, gone], fold[gone, gone] = 1.0, 0.0
        began = self.began.copy()
        began[kept] = min(began[kept], began[gone])
        return Members(
            self.n,
            began,
            fold @ self.total,
            fold @ self.last,
            fold @ self.squares @ fold.T,
            fold @ self.products @ fold.T,
        )

    def started(self, number: int) -> Members:
        """Let a class begin now."""
        began = self.began.copy()
        began[number] = self.n
        return replace(self, began=began)

    def summary(self, number: int, credible: float) -> dict[str, float | None]:
        """Members now, mean since the class was there, and the mean's interval; None: unknown."""
        n = self.n - int(self.began[number])
        if not n:
            return {"now": None, "mean": None, "low": None, "high": None}
        pick = slice(number, number + 1)
        sums = (self.total[pick], self.squares[number, pick], self.products[number, pick])
        values = (float(v[0]) for v in intervals.time_mean(n, *sums, credible))
        mean, low, high = (max(v, 0.0) if np.isfinite(v) else None for v in values)
        return {"now": float(self.last[number]), "mean": mean, "low": low, "high": high}
