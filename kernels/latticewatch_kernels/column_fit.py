"""Least squares of many Gaussian columns at once, each in a window of its own; on the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.noise import NoiseLine

#: Longest Gauss-Newton step, in widths of the column: beyond it a Gaussian is not straight.
LONGEST_STEP = 0.5


def disc(radius: float) -> np.ndarray:
    """Pixels (k, 2) within ``radius`` of the one in the middle."""
    reach = int(radius)
    step = np.arange(-reach, reach + 1)
    grid = np.stack(np.meshgrid(step, step), -1).reshape(-1, 2)
    return np.asarray(grid[(grid**2).sum(axis=1) <= radius**2])


@dataclass(frozen=True)
class Columns:
    """Gaussian columns on an even background; m of them.

    Attributes
    ----------
    place
        (m, 2) pixels (x, y) from the middle of their windows.
    height, background
        (m,) in units of the image.
    """

    place: np.ndarray
    height: np.ndarray
    background: np.ndarray

    @classmethod
    def at_middle(cls, number: int, height: float) -> Columns:
        """Columns at the middle of their windows."""
        return cls(np.zeros((number, 2)), np.full(number, height), np.zeros(number))


@dataclass(frozen=True)
class Windows:
    """Pixels around m columns, and how wide these are.

    Attributes
    ----------
    x, y
        float32 (m, k), pixels from the middle.
    sigma
        Standard deviation of a column, pixels.
    """

    x: np.ndarray
    y: np.ndarray
    sigma: float

    @classmethod
    def around(
        cls, points: np.ndarray, base: np.ndarray, pixels: np.ndarray, sigma: float
    ) -> Windows:
        """Windows about points (m, 2), from the pixels (k, 2) about the nearest ones ``base``."""
        rest, near = (base - points).astype(np.float32), pixels.astype(np.float32)
        return cls(rest[:, :1] + near[:, 0], rest[:, 1:] + near[:, 1], sigma)

    def drawn(self, columns: Columns) -> tuple[np.ndarray, ...]:
        """Image of the columns, and of unit columns the shape and its slopes by x and by y."""
        place = columns.place.astype(np.float32)
        u, v = self.x - place[:, :1], self.y - place[:, 1:]
        shape = u * u
        shape += v * v
        shape *= np.float32(-0.5 / self.sigma**2)
        np.exp(shape, out=shape)
        image = shape * columns.height.astype(np.float32)[:, None]
        image += columns.background.astype(np.float32)[:, None]
        steep = shape * np.float32(self.sigma**-2)
        u *= steep
        v *= steep
        return image, shape, u, v


def fit_columns(
    windows: Windows, image: np.ndarray, start: Columns, line: NoiseLine, least: float, steps: int
) -> tuple[Columns, np.ndarray]:
    """Fit height, place and background of every column.

    Parameters
    ----------
    windows
        Pixels of m columns.
    image
        (m, k) at these pixels.
    start
        Where to begin.
    line
        Variance of a pixel over its intensity; the fit weighs by its inverse.
    least
        Height below which a column counts as this high, where its place is moved.
    steps
        Gauss-Newton steps, at least 1.

    Returns
    -------
    Columns, ndarray
        And the standard errors (m, 3) of x, y and height, as far as ``line`` holds.
    """
    columns, limit = start, LONGEST_STEP * windows.sigma
    for _ in range(steps):
        drawn, *regressors = windows.drawn(columns)
        moment, raised, outer, inner = _solved(
            regressors, 1.0 / line.variance(drawn), image - drawn
        )
        height = columns.height + raised[0]
        moved = np.clip(moment / np.maximum(height, least), -limit, limit)
        columns = Columns(columns.place + moved.T, height, columns.background + raised[1])
    variance = np.stack([outer[0, 0], outer[1, 1], inner[0, 0]], axis=1)
    errors = np.sqrt(np.maximum(variance, 0.0))
    errors[:, :2] /= np.maximum(height, least)[:, None]
    return columns, errors


def _solved(
    regressors: list[np.ndarray], weight: np.ndarray, rest: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Moments of the place (2, m), change of height and background (2, m), and covariances of both.

    Block elimination in two by two: what height and background explain goes first (Schur
    complement). The second covariance leaves out that the place is not known, which a column's
    symmetry makes small.
    """
    shape, by_x, by_y = regressors
    level, across, down, pulled = shape * weight, by_x * weight, by_y * weight, rest * weight
    ones = np.ones(weight.shape[1], np.float32)  # a product sums short rows faster than a sum does
    even = _matrix(_sum(level, shape), level @ ones, weight @ ones)
    slopes = _matrix(_sum(across, by_x), _sum(across, by_y), _sum(down, by_y))
    cross = np.array(
        [[_sum(across, shape), _sum(down, shape)], [across @ ones, down @ ones]], float
    )
    first = np.array([_sum(pulled, shape), pulled @ ones], float)
    second = np.array([_sum(pulled, by_x), _sum(pulled, by_y)], float)
    inner = _inverse(even)
    carried = np.einsum("ijm,jkm->ikm", inner, cross)
    outer = _inverse(slopes - np.einsum("jim,jkm->ikm", cross, carried))
    moment = np.einsum("ijm,jm->im", outer, second - np.einsum("jim,jm->im", carried, first))
    raised = np.einsum("ijm,jm->im", inner, first) - np.einsum("ijm,jm->im", carried, moment)
    return moment, raised, outer, inner


def _sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("mk,mk->m", a, b))


def _matrix(first: np.ndarray, mixed: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Symmetric (2, 2, m) in double precision."""
    return np.array([[first, mixed], [mixed, last]], float)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverses of symmetric (2, 2, m); of singular ones something large."""
    (a, b), (_, d) = matrix
    determinant = np.maximum(a * d - b * b, np.finfo(float).tiny)
    return np.asarray(np.array([[d, -b], [-b, a]]) / determinant)
