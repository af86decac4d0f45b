"""Continue a frame beyond its borders by lattice translations of itself.

A Fourier filter wraps round the frame's borders, where a crystal does not fit to itself. Shifted by
a lattice vector it does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.fft import next_fast_len

from latticewatch_kernels.lattice import Lattice, NoLatticeError
from latticewatch_kernels.sampling import cubic_weights

#: Lattice vectors up to this many lattice constants longer than the padding, and half as far aside,
#: are looked at for one that is nearly whole pixels.
SEARCH_CELLS = 5.0

#: What a lattice constant of extra length counts for, in pixels of rounding: near content suits a
#: distorted scan better.
LENGTH_COST = 0.02


def extend(
    image: np.ndarray, lattice: Lattice, padding: float
) -> tuple[np.ndarray, tuple[int, int]]:
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
    across, down = sides((image.shape[0], image.shape[1]), lattice, padding)
    for axis, side in ((1, across), (0, down)):
        image = _extend_axis(image, axis, side)
    return image, (down.before, across.before)


@dataclass(frozen=True)
class Side:
    """How an image is continued along one axis.

    Attributes
    ----------
    before, longer
        Pixels that are added before it, and its size afterwards.
    vectors
        (4, 2) lattice translations (rows, columns): before the image of the first and of the second
        half along the other axis, then the same behind it. They lead aside towards the middle and
        so never out of the frame at its corners.
    """

    before: int
    longer: int
    vectors: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """Weights float32 (4, 2, 4) along rows and columns for what vectors are off whole pixels.

        By cubic convolution.
        """
        parts = (self.vectors - np.rint(self.vectors)) % 1.0
        return np.array(
            [[cubic_weights(float(part)) for part in pair] for pair in parts], np.float32
        )

    def taps(self) -> np.ndarray:
        """Pixels int32 (4, 2) from a place to the first of the four that the weights are of."""
        return np.asarray(np.floor(self.vectors) - 1.0, np.int32)


def sides(shape: tuple[int, int], lattice: Lattice, padding: float) -> tuple[Side, Side]:
    """Tell how an image of a shape is continued along columns, then along rows.

    Raises
    ------
    NoLatticeError
        The frame is too small against the lattice constant.
    """
    found = []
    for axis in (1, 0):
        size, other = shape[axis], shape[1 - axis]
        longer = longer_px(size, padding)
        before = before_px(size, longer)
        room = (size - 2, other // 2 - 2)
        least = max(before, longer - size - before)
        exact = {side: _translation(lattice, axis, least, room, side) for side in (1, -1)}
        vectors = [sign * exact[sign * side] for sign in (1, -1) for side in (1, -1)]
        found.append(Side(before, longer, np.stack(vectors)))
        shape = (shape[0], longer) if axis else (longer, shape[1])
    return found[0], found[1]


def longer_px(size: int, padding: float) -> int:
    """Pixels along an axis of `size` to which `padding`, a third at most, is added at both ends."""
    return int(next_fast_len(size + 2 * min(int(padding), size // 3), real=True))


def before_px(size: int, longer: int) -> int:
    """Pixels of these that come before the axis: half of them, whatever the padding was."""
    return (longer - size) // 2


def _extend_axis(image: np.ndarray, axis: int, side: Side) -> np.ndarray:
    """Continue an image along one axis (0 rows, 1 columns)."""
    size, other = image.shape[axis], image.shape[1 - axis]
    ends = (np.arange(-side.before, 0), np.arange(size, side.longer - side.before))
    halves = (np.arange(other // 2), np.arange(other // 2, other))
    parts = iter(zip(side.vectors, side.weights, strict=True))
    pieces = [
        np.concatenate(
            [_moved(image, axis, along, aside, *next(parts)) for aside in halves], axis=1 - axis
        )
        for along in ends
    ]
    return np.concatenate([pieces[0], image, pieces[1]], axis=axis)


def _moved(
    image: np.ndarray,
    axis: int,
    along: np.ndarray,
    aside: np.ndarray,
    vector: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Values of an image at places (along, aside) moved by a vector (rows, columns).

    ``weights`` are the vector's of `Side.weights`.
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
    band = image[tuple(windows)]
    for which, part in enumerate(vector - step):
        # the first of the four weights belongs to the pixel before the one that holds the place
        origin = -1 - int(np.floor(part))
        band = ndimage.correlate1d(band, weights[which], which, mode="nearest", origin=origin)
    return np.asarray(band[tuple(cut)])


def too_small(size: int, constant: float) -> NoLatticeError:
    """Say that a frame of `size` pixels along an axis is too small for its lattice."""
    return NoLatticeError(
        f"a frame of {size} px holds too few cells of {constant:.1f} px to be continued beyond its "
        "border",
        "choose a field of view of at least 5 lattice constants a side",
    )


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
        raise too_small(room[0] + 2, a)
    rounding = np.hypot(*(steps - np.rint(steps)).T)
    cost = np.where(fits, rounding + LENGTH_COST * (along - least + aside) / a, np.inf)
    return np.asarray(steps[np.argmin(cost)])
