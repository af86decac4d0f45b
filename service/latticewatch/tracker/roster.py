"""Class numbers: given out once, kept for the session."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Roster:
    """Class numbers.

    Attributes
    ----------
    numbers
        (K,), number of each component of the mixture.
    since
        (room,), last frame without the class, after which its number holds; -1 for numbers that
        were not given out yet.
    into
        (room,), class that it merged into, -1 for none; such a number is never given out again.
    bic
        Bayesian information criterion of every number of classes that was tried at warm-up.
    """

    numbers: np.ndarray
    since: np.ndarray
    into: np.ndarray
    bic: dict[int, float]

    @classmethod
    def empty(cls, room: int) -> Roster:
        """No class yet."""
        return cls(np.zeros(0, np.int64), np.full(room, -1), np.full(room, -1), {})

    def spread(self, by_component: np.ndarray) -> np.ndarray:
        """Rows by class number (room, n) of what is known by component (K, n)."""
        result = np.zeros((len(self.since), by_component.shape[1]))
        result[self.numbers] = by_component
        return result

    def next_number(self) -> int | None:
        """Find the number for a new class, None if all are given out."""
        given = int((self.since >= 0).sum())
        return given if given < len(self.since) else None

    def place(self, number: int) -> int:
        """Component of the mixture that bears a number."""
        return int(np.flatnonzero(self.numbers == number)[0])

    def given(self, numbers: np.ndarray | list[int], frame: int) -> Roster:
        """Note that these numbers hold after `frame`."""
        since = self.since.copy()
        since[numbers] = frame
        return replace(self, since=since)

    def merged(self, kept: int, gone: int) -> Roster:
        """Retire a number."""
        into = self.into.copy()
        into[gone] = kept
        return replace(self, numbers=self.numbers[self.numbers != gone], into=into)

    def appended(self, number: int) -> Roster:
        """Give a new last component its number."""
        return replace(self, numbers=np.append(self.numbers, number))
