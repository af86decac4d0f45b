"""What classes are made from, and the sums that each class keeps of it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from latticewatch.detections import PATCH_SIZE

from .descriptors import AROUND, CENTRE

#: Numbers of the sublattices.
SITES = np.arange(3)


@dataclass(frozen=True)
class Sample:
    """The part of n detections that classes are made from; fields as in `Detections`.

    ``site`` (n,) are the keys of their sites: looks at one site are not independent.
    """

    centre: np.ndarray
    neighbours: np.ndarray
    sublattice: np.ndarray
    patches: np.ndarray
    site: np.ndarray

    @classmethod
    def empty(cls) -> Sample:
        """No detections."""
        blank = np.zeros(0, np.float32)
        patches = np.zeros((0, PATCH_SIZE, PATCH_SIZE), np.float32)
        return cls(blank, blank.reshape(0, 3), np.zeros(0, np.int8), patches, np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.centre)

    def take(self, index: np.ndarray) -> Sample:
        """Return the chosen detections."""
        return Sample(*(getattr(self, f.name)[index] for f in fields(self)))

    def joined(self, other: Sample) -> Sample:
        """Both samples, one after the other."""
        pairs = [(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return Sample(*(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True)
class ClassSums:
    """Responsibility-weighted sums over all detections of each class.

    Attributes
    ----------
    columns
        (room, 5, 3): by sublattice the members, and the sums of their column intensity and of its
        square; then the sums of the three neighbours, darkest first, and of their squares.
    image
        (room, PATCH_SIZE^2), sum of patches.
    """

    columns: np.ndarray
    image: np.ndarray

    @classmethod
    def empty(cls, k: int) -> ClassSums:
        """No members yet."""
        return cls(np.zeros((k, 5, 3)), np.zeros((k, PATCH_SIZE**2)))

    @property
    def weight(self) -> np.ndarray:
        """Members (room, 3) by sublattice."""
        return self.columns[:, 0]

    @property
    def centre(self) -> np.ndarray:
        """Sum (room, 3) of their column intensity, by sublattice."""
        return self.columns[:, 1]

    @property
    def squares(self) -> np.ndarray:
        """Sum (room, 3) of its square."""
        return self.columns[:, 2]

    @property
    def around(self) -> np.ndarray:
        """Sum (room, 3) of the three neighbours, darkest first."""
        return self.columns[:, 3]

    @property
    def around_squares(self) -> np.ndarray:
        """Sum (room, 3) of their squares."""
        return self.columns[:, 4]

    def add(self, r: np.ndarray, points: np.ndarray, sample: Sample) -> ClassSums:
        """Fold detections with responsibilities r (room, n) and descriptors (n, d) in."""
        n = len(sample)
        # One product for all that is kept by sublattice or of three neighbours.
        values = np.empty((5, 3, n))
        values[0] = SITES[:, None] == sample.sublattice
        values[1] = values[0] * points[:, CENTRE]
        values[2] = values[1] * points[:, CENTRE]
        values[3] = points[:, AROUND].T
        values[4] = values[3] ** 2
        fresh = (r @ values.reshape(15, n).T).reshape(-1, 5, 3)
        # Patches are not widened for their sum over a frame, which is many times as exact as they.
        patches, image = sample.patches.reshape(n, -1), self.image.copy()
        used = np.flatnonzero(fresh[:, 0].any(axis=1))
        image[used] += r[used].astype(patches.dtype) @ patches
        return ClassSums(self.columns + fresh, image)

    def merged(self, kept: int, gone: int) -> ClassSums:
        """Count the members of `gone` with those of `kept`."""
        sums = []
        for field in fields(self):
            value = getattr(self, field.name).copy()
            value[kept] += value[gone]
            value[gone] = 0.0
            sums.append(value)
        return ClassSums(*sums)

    def cleared(self, number: int) -> ClassSums:
        """Forget the members of a class."""
        sums = [getattr(self, field.name).copy() for field in fields(self)]
        for value in sums:
            value[number] = 0.0
        return ClassSums(*sums)
