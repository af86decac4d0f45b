"""Ways in which a frame may differ from another of the same specimen, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

#: Change of magnification, and of the two axes against each other: shear and unequal steps of the
#: scan, or drift while the frame is scanned.
SCALE_RANGE = (0.82, 1.22)
SHEAR_LIMIT = 0.05

#: Standard deviation of the shift of a scan line, pixels, and of the slow wander of the specimen
#: under the beam, lattice constants.
JITTER_LIMIT, WANDER_LIMIT = 0.4, 0.08

#: Dose in units of the frame's own.
DOSE_RANGE = (0.12, 3.0)

#: Widening of the probe: standard deviation of a Gaussian, lattice constants; in half of the draws.
BLUR_LIMIT = 0.08

#: Uneven background or contamination: its amplitude, in units of the frame's own contrast, and the
#: length over which it changes, lattice constants.
BACKGROUND_LIMIT = 0.8
BACKGROUND_LENGTHS = (1.5, 12.0)


@dataclass(frozen=True)
class Warp:
    """From a new frame's pixels to those of the frame that it is drawn from.

    Attributes
    ----------
    matrix
        (2, 2): source pixels (x, y) from the source's centre, to new pixels from the new centre.
    source, target
        Centres (x, y) of both, pixels.
    shifts
        (rows,) shift along x of each row of the new frame, pixels.
    """

    matrix: np.ndarray
    source: np.ndarray
    target: np.ndarray
    shifts: np.ndarray

    def places(self, shape: tuple[int, int]) -> np.ndarray:
        """Source places of every pixel of the new frame, (2, rows, columns) as (row, column)."""
        y, x = np.indices(shape, dtype=np.float64)
        x -= self.shifts[:, None]
        back = np.linalg.inv(self.matrix)
        x, y = x - self.target[0], y - self.target[1]
        return np.stack(
            [
                back[1, 0] * x + back[1, 1] * y + self.source[1],
                back[0, 0] * x + back[0, 1] * y + self.source[0],
            ]
        )

    def points(self, points: np.ndarray) -> np.ndarray:
        """Where points (n, 2) of the source stand in the new frame."""
        moved = (points - self.source) @ self.matrix.T + self.target
        row = np.clip(np.rint(moved[:, 1]).astype(int), 0, len(self.shifts) - 1)
        moved[:, 0] += self.shifts[row]
        return np.asarray(moved)


def draw_matrix(rng: np.random.Generator) -> np.ndarray:
    """Draw rotation, magnification, flip and shear, (2, 2)."""
    angle = rng.uniform(0.0, 2.0 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flip = np.diag([1.0, rng.choice([-1.0, 1.0])])
    shear = np.eye(2) + rng.uniform(-SHEAR_LIMIT, SHEAR_LIMIT, (2, 2))
    scale = np.exp(rng.uniform(*np.log(SCALE_RANGE)))
    return np.asarray(scale * shear @ turn @ flip)


def draw_warp(
    rng: np.random.Generator,
    matrix: np.ndarray,
    source: tuple[int, int],
    target: tuple[int, int],
    constant: float,
) -> Warp:
    """Draw a place in the source, the jitter of scan lines and the specimen's wander.

    Parameters
    ----------
    rng
        Where every setting comes from.
    matrix
        From `draw_matrix`.
    source, target
        (rows, columns) of the frame drawn from and of the new one.
    constant
        Lattice constant of the new frame, pixels.
    """
    middle = 0.5 * (np.array(source[::-1], float) - 1.0)
    # half the extent of the new frame in the source, so that it lies inside where it can
    reach = np.abs(np.linalg.inv(matrix)) @ (0.5 * np.array(target[::-1], float))
    room = np.maximum(middle + 0.5 - reach, 0.0)
    jitter = rng.uniform(0.0, JITTER_LIMIT) * rng.standard_normal(target[0])
    slow = ndimage.gaussian_filter1d(rng.standard_normal(target[0]), target[0] / 8, mode="wrap")
    slow *= rng.uniform(0.0, WANDER_LIMIT) * constant / max(float(slow.std()), 1e-12)
    centre = 0.5 * (np.array(target[::-1], float) - 1.0)
    return Warp(matrix, middle + rng.uniform(-room, room), centre, jitter + slow)


def draw_background(
    rng: np.random.Generator, shape: tuple[int, int], constant: float, contrast: float
) -> np.ndarray:
    """Draw a smooth, uneven addition to a frame, float32; contamination only ever adds."""
    length = float(np.exp(rng.uniform(*np.log(BACKGROUND_LENGTHS)))) * constant
    coarse = max(1, int(length / 3))
    small = [s // coarse + 2 for s in shape]
    field = ndimage.gaussian_filter(rng.standard_normal(small), length / coarse, mode="wrap")
    field = ndimage.zoom(field, coarse, order=1)[: shape[0], : shape[1]]
    field = np.maximum(field / max(float(field.std()), 1e-12), 0.0)
    amplitude = BACKGROUND_LIMIT * rng.random() ** 2 * contrast
    return np.asarray((amplitude * field).astype(np.float32))
