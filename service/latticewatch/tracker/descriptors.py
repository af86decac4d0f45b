"""Patches to a few numbers: measured intensities and principal components.

Principal components are updated by batches with a correction for the moving mean (Ross, Lim, Lin
and Yang, Int. J. Comput. Vis. 77, 125 (2008)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

#: Sublattice as coordinates on a triangle of side 1: three marks equally far apart. The side is
#: several times any class's spread, so that no class straddles two sublattices.
SITE_MARKS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3.0) / 2.0]])
#: Length of the measured part of a descriptor: centre, three sorted neighbours, site mark.
MEASURED = 6
#: Where those stand.
CENTRE, AROUND, MARK = 0, slice(1, 4), slice(4, MEASURED)
#: Scores are divided by the root of the samples on one column (256 samples over 4.6 cells of three
#: sites), so that a column that changes by one host intensity moves a score by about one.
SCORE_SCALE = 1.0 / np.sqrt(18.0)


@dataclass(frozen=True)
class Basis:
    """Principal components of the patches seen so far.

    Attributes
    ----------
    mean
        (p,), mean patch.
    components
        (k, p), orthonormal rows, largest variance first.
    singular
        (k,), singular values of the centred data.
    count
        Patches behind it.
    squares
        Sum of squared deviations from the mean, in all directions.
    """

    mean: np.ndarray
    components: np.ndarray
    singular: np.ndarray
    count: int
    squares: float

    @cached_property
    def _axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Components, then the mean, as columns (p, k + 1), and where the mean lies on them."""
        axes = np.column_stack([*self.components, self.mean])
        return axes, self.mean @ axes

    def project(self, patches: np.ndarray) -> Projected:
        """Patches (n, p) or (n, rows, columns) in the basis, to the accuracy of their own type."""
        rows = patches.reshape(len(patches), math.prod(patches.shape[1:]))
        # One product in the patches' own type: to widen or centre them costs more than all the
        # rest, and what their type leaves out lies a thousand times below any noise.
        axes, offset = self._axes
        along = rows @ axes.astype(rows.dtype) - offset
        return Projected(along[:, :-1], along[:, -1])

    def residual_share(self, patches: np.ndarray, projected: Projected) -> float:
        """Share of the patches' squared deviation from the mean that the basis does not hold."""
        middle = 2.0 * float(projected.mean.sum()) + len(patches) * float(self._axes[1][-1])
        whole = float(np.vdot(patches, patches)) - middle
        held = float(np.vdot(projected.scores, projected.scores))
        return 1.0 - held / whole if whole > 0 else 0.0


@dataclass(frozen=True)
class Projected:
    """Scores (n, k) of patches in the basis, and products (n,) of deviation and mean patch."""

    scores: np.ndarray
    mean: np.ndarray

    def take(self, index: np.ndarray) -> Projected:
        """Return the chosen patches."""
        return Projected(self.scores[index], self.mean[index])


def update_basis(basis: Basis | None, rows: np.ndarray, k: int) -> Basis:
    """Fold a batch of rows (n, p) into the basis, keeping `k` components."""
    rows = np.asarray(rows, float)
    n = len(rows)
    mean = rows.mean(axis=0)
    stack, count, squares = rows - mean, n, float(((rows - mean) ** 2).sum())
    if basis is not None:
        count = basis.count + n
        between = np.sqrt(basis.count * n / count) * (basis.mean - mean)
        squares += basis.squares + float(between @ between)
        stack = np.vstack([basis.singular[:, None] * basis.components, stack, between])
        mean = (basis.count * basis.mean + n * mean) / count
    _, singular, right = np.linalg.svd(stack, full_matrices=False)
    right = right[:k]
    # A singular vector's sign is arbitrary: fix it, so that equal histories give equal bytes.
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    return Basis(
        mean, right * np.where(signs == 0, 1.0, signs)[:, None], singular[:k], count, squares
    )


def describe(
    centre: np.ndarray, neighbours: np.ndarray, sublattice: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """Descriptors (n, 6 + k): centre, sorted neighbours, site mark, scaled scores of the patch.

    All are in units of the host column, none depends on the gauge: neighbours are sorted and the
    patch is turned to its darkest neighbour.
    """
    first, second, third = neighbours.T
    low, high = np.minimum(first, second), np.maximum(first, second)
    # Number by number in memory: detections are many, numbers of each are few.
    points = np.empty((MEASURED + scores.shape[1], len(centre))).T
    points[:, CENTRE] = centre
    darkest, middle, brightest = points[:, AROUND].T
    np.minimum(low, third, out=darkest)
    np.maximum(low, np.minimum(high, third), out=middle)
    np.maximum(high, third, out=brightest)
    points[:, MARK] = SITE_MARKS.take(sublattice, axis=0)
    points[:, MEASURED:] = scores * SCORE_SCALE
    return points
