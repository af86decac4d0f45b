"""A frame as a small 8-bit image, for eyes."""

from __future__ import annotations

import numpy as np

#: Share of the pixels clipped to black and to white, percent: a bright adatom or a dead line must
#: not take the contrast from the columns.
CLIP_PERCENT = 0.5

#: Pixels looked at for the limits; 1/sqrt(n) of a percentile's spread is enough for the eye.
_SAMPLE = 20_000


def block_of(shape: tuple[int, ...], longest_px: int) -> int:
    """Pixels of a frame of that shape that a pixel of its preview covers a side."""
    return -(-max(shape) // longest_px)


def preview(frame: np.ndarray, longest_px: int, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Shrink a frame by whole blocks until its longest side fits, and map it to 0..255.

    Parameters
    ----------
    frame
        (rows, columns), any real dtype.
    longest_px
        Bound on the longer side of the result.
    shape
        Rows and columns of the frame that these are rows of; None for a whole one.

    Returns
    -------
    ndarray
        uint8; one pixel covers `block_of` the shape pixels of the frame a side.
    """
    block = block_of(shape or frame.shape, longest_px)
    rows, columns = (side // block * block for side in frame.shape)
    image = frame[:rows, :columns].astype(np.float32)
    if block > 1:
        image = image.reshape(rows // block, block, columns // block, block).mean((1, 3))
    sample = image.ravel()[:: max(1, image.size // _SAMPLE)]
    low, high = np.percentile(sample, [CLIP_PERCENT, 100.0 - CLIP_PERCENT])
    scale = 255.0 / max(float(high - low), float(np.finfo(np.float32).tiny))
    return np.asarray(np.clip((image - low) * scale, 0.0, 255.0), np.uint8)
