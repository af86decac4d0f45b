"""Continue a frame beyond its borders by lattice translations of itself.

A Fourier filter wraps round the frame's borders, where a crystal does not fit to itself. Shifted by
a lattice vector it does.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import next_fast_len

from latticewatch_kernels.arrays import array_module, ndimage_module
from latticewatch_kernels.lattice import Array, Lattice, NoLatticeError
from latticewatch_kernels.sampling import cubic_weights
from latticewatch_kernels.transfers import up

#: Lattice vectors up to this many lattice constants longer than the padding, and half as far aside,
#: are looked at for one that is nearly whole pixels.
SEARCH_CELLS = 5.0

#: What a lattice constant of extra length counts for, in pixels of rounding: near content suits a
#: distorted scan better.
LENGTH_COST = 0.02


def extend(image: Array, lattice: Lattice, padding: float) -> tuple[Array, tuple[int, int]]:
    """Continue an image on all sides.

    Parameters
    ----------
    image
        (rows, columns) float32.
    lattice
        Its lattice.
    padding
        Pixels to add on each side, a third of the frame at most; rounded up to sides that suit the
        FFT.

    Returns
    -------
    extended, corner
        The larger image, and row and column of the original's first pixel in it.

    Raises
    ------
    NoLatticeError
        The frame is too small against the lattice constant.
    """
    corner = []
    for axis in (1, 0):
        size = image.shape[axis]
        before = min(int(padding), size // 3)
        after = next_fast_len(size + 2 * before, real=True) - size - before
        image = _extend_axis(image, axis, before, after, lattice)
        corner.append(before)
    return image, (corner[1], corner[0])


def _extend_axis(image: Array, axis: int, before: int, after: int, lattice: Lattice) -> Array:
    """Continue an image along one axis (0 rows, 1 columns).

    The two halves along the other axis have translations of their own, which lead aside towards the
    middle and so never out of the frame at its corners.
    """
    xp = array_module(image)
    size, other = image.shape[axis], image.shape[1 - axis]
    room = (size - 2, other // 2 - 2)
    exact = {side: _translation(lattice, axis, max(before, after), room, side) for side in (1, -1)}
    vectors = [sign * exact[sign * side] for sign in (1, -1) for side in (1, -1)]
    weights = iter(up(image, np.stack([_fractions(vector) for vector in vectors]))[0])
    pieces = []
    for sign, along in ((1, np.arange(-before, 0)), (-1, np.arange(size, size + after))):
        halves = []
        for side, aside in ((1, np.arange(other // 2)), (-1, np.arange(other // 2, other))):
            vector = sign * exact[sign * side]
            halves.append(_moved(image, axis, along, aside, vector, next(weights)))
        pieces.append(xp.concatenate(halves, axis=1 - axis))
    return xp.concatenate([pieces[0], image, pieces[1]], axis=axis)


def _moved(
    image: Array,
    axis: int,
    along: np.ndarray,
    aside: np.ndarray,
    vector: np.ndarray,
    weights: Array,
) -> Array:
    """Values of an image at places (along, aside) moved by a vector (rows, columns).

    ``weights`` are the vector's `_fractions`.
    """
    step = np.rint(vector).astype(int)
    windows = [slice(0), slice(0)]
    cut = [slice(0), slice(0)]
    for which, places in ((axis, along), (1 - axis, aside)):
        first = int(places[0]) + int(step[which])
        # Two pixels more on either side, where there are any, for the interpolation.
        low = max(first - 2, 0)
        windows[which] = slice(low, min(first + len(places) + 2, image.shape[which]))
        cut[which] = slice(first - low, first - low + len(places))
    band, ndimage = image[tuple(windows)], ndimage_module(image)
    for which, part in enumerate(vector - step):
        # the first of the four weights belongs to the pixel before the one that holds the place
        origin = -1 - int(np.floor(part))
        band = ndimage.correlate1d(band, weights[which], which, mode="nearest", origin=origin)
    return band[tuple(cut)]


def _fractions(vector: np.ndarray) -> np.ndarray:
    """Weights (2, 4) along rows and columns for what a vector is off whole pixels, by `cubic`."""
    parts = (vector - np.rint(vector)) % 1.0
    return np.array([cubic_weights(float(part)) for part in parts], np.float32)


def _translation(
    lattice: Lattice, axis: int, least: int, room: tuple[int, int], side: int
) -> np.ndarray:
    """Lattice vector (rows, columns) that is long enough along an axis and nearly whole pixels.

    It leads aside to larger indices for ``side`` 1, to smaller ones for -1, and is no longer than
    ``room`` along and aside.
    """
    a = lattice.constant
    reach = int(np.ceil((least + (SEARCH_CELLS + 1) * a) / a * 1.5)) + 2
    span = np.arange(-reach, reach + 1)
    steps = np.stack(np.meshgrid(span, span), -1).reshape(-1, 2) @ lattice.matrix.T[:, ::-1]
    along, aside = steps[:, axis], side * steps[:, 1 - axis]
    fits = (along >= least + 1) & (along <= min(least + SEARCH_CELLS * a, room[0]))
    fits &= (aside >= -0.5) & (aside <= min(0.5 * SEARCH_CELLS * a, room[1]))
    if not fits.any():
        raise NoLatticeError(
            f"a frame of {room[0] + 2} px holds too few cells of {a:.1f} px to be continued beyond "
            "its border",
            "choose a field of view of at least 5 lattice constants a side",
        )
    rounding = np.hypot(*(steps - np.rint(steps)).T)
    cost = np.where(fits, rounding + LENGTH_COST * (along - least + aside) / a, np.inf)
    return np.asarray(steps[np.argmin(cost)])
