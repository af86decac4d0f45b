"""Patches of a frame in the lattice's own frame, and frames at another scale."""

from __future__ import annotations

import math

import numpy as np

from latticewatch_kernels.lattice import Lattice
from latticewatch_kernels.sampling import bilinear

#: Frames are brought to one of these scales, each so many times the last. A network that was
#: trained over a range of them does not mind 2 %, and a constant that is measured anew in every
#: frame (to 0.01 to 0.04 % at 512 x 512) gives the next another shape only where it is near a step.
SCALE_STEP = 1.04


def lattice_patches(
    image: np.ndarray,
    points: np.ndarray,
    lattice: Lattice,
    turns: np.ndarray | int = 0,
    size: int = 16,
    span: float = 2.0,
) -> np.ndarray:
    """Cut patches whose crystal is the same perfect hexagonal one whatever the frame's lattice.

    The lattice's matrix maps the perfect crystal onto the frame's, so that rotation, scale and
    shear are undone. Columns run along a1 and rows 90 degrees on, from +x towards +y in the perfect
    crystal. Bilinear interpolation; beyond the frame its edge value is repeated.

    Parameters
    ----------
    image
        (rows, columns).
    points
        (n, 2) centres (x, y) in pixels.
    lattice
        The frame's lattice.
    turns
        (n,), or one number: the crystal's direction at ``turns * 120`` degrees
        from a1 (from +x towards +y) comes to lie along +columns.
    size, span
        Samples along a side, and lattice constants from the patch's edge to its other edge;
        samples are the centres of ``size`` equal intervals.

    Returns
    -------
    ndarray
        float32 (n, size, size).
    """
    points = np.asarray(points, float).reshape(-1, 2)
    steps = ((np.arange(size) + 0.5) / size - 0.5) * span
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    # Perfect crystal of lattice constant 1: vectors at 0 and 120 degrees as columns.
    perfect = np.array([[1.0, -0.5], [0.0, np.sqrt(0.75)]])
    to_frame = lattice.matrix @ np.linalg.inv(perfect)
    angle = np.radians(120.0) * np.arange(3)
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
    offsets = grid @ np.swapaxes(to_frame @ turned, 1, 2)
    which = np.broadcast_to(np.asarray(turns, int) % 3, (len(points),))
    places = (points[:, None, :] + offsets[which]).astype(np.float32)
    patches = bilinear(image, places[..., 0], places[..., 1])
    return np.asarray(patches.reshape(len(points), size, size), np.float32)


def scale_for(constant: float, served: float, kept: tuple[float, float]) -> float:
    """Scale that a frame is shown to a network at.

    Parameters
    ----------
    constant, served
        The frame's lattice constant and that which the network serves, px.
    kept
        Between which parts of the latter a frame stays as it is.

    Returns
    -------
    float
        1 for such a frame; else the power of `SCALE_STEP` that is nearest to ``served / constant``.
    """
    low, high = kept
    factor = served / constant
    if low <= 1.0 / factor <= high:
        return 1.0
    step = math.log(SCALE_STEP)
    return math.exp(round(math.log(factor) / step) * step)


def rescaled_shape(shape: tuple[int, int], factor: float) -> tuple[int, int]:
    """Shape that `rescale` gives to an image of ``shape``."""
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def rescale(image: np.ndarray, factor: float) -> np.ndarray:
    """Resample an image to another scale; smoothed against aliasing where it shrinks.

    A point (x, y) of the image lies at ``(x + 0.5) * factor - 0.5`` in the result, and likewise y,
    exactly, whatever the rounding of the shape; beyond the frame the edge value is repeated.

    Parameters
    ----------
    image
        (rows, columns).
    factor
        Pixels of the result to one pixel of the image, above 0.

    Returns
    -------
    ndarray
        float32 of shape `rescaled_shape`.
    """
    if not factor > 0.0:
        raise ValueError(f"factor {factor} does not scale an image: give a number above 0")
    image = image.astype(np.float32, copy=False)
    if factor == 1.0:
        return image.copy()
    rows, columns = rescaled_shape(tuple(image.shape), factor)
    down = _resampling(image.shape[0], rows, factor)
    across = _resampling(image.shape[1], columns, factor)
    return np.asarray(down @ image @ across.T)


def _resampling(size: int, new_size: int, factor: float) -> np.ndarray:
    """(new_size, size) weights: cubic convolution, widened by 1/factor where it shrinks."""
    widen = max(1.0, 1.0 / factor)
    centre = (np.arange(new_size) + 0.5) / factor - 0.5
    reach = int(np.ceil(2.0 * widen))
    base = np.floor(centre).astype(int)
    index = base[:, None] + np.arange(-reach, reach + 1)
    distance = np.abs(index - centre[:, None]) / widen
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1.0
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4.0 * distance + 2.0
    weight = np.where(distance <= 1.0, near, np.where(distance < 2.0, far, 0.0))
    weight /= weight.sum(1, keepdims=True)
    matrix = np.zeros((new_size, size), np.float32)
    np.add.at(
        matrix,
        (np.arange(new_size)[:, None], np.clip(index, 0, size - 1)),
        weight.astype(np.float32),
    )
    return matrix
