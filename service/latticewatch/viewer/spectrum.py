"""The preview's Fourier plane with its Bragg peaks."""

from __future__ import annotations

import numpy as np
import rerun as rr

from latticewatch.client.messages import Overlay
from latticewatch.viewer.drawing import Entry, rgb
from latticewatch_kernels.bragg import BraggPeaks, find_lattice
from latticewatch_kernels.lattice import NoLatticeError
from latticewatch_kernels.spectrum import hann_power

#: Pixels of the picture a side: a bin of a 512 x 512 preview's middle each.
SIDE = 256

#: What is shown of the plane, over the radius of the first ring of peaks.
_REACH = 2.4

#: What is shown where there is no lattice, cycles per pixel.
_BLIND_REACH = 0.25

#: Percent of the logarithms of power that are clipped to black and to white: the noise floor is
#: dark grey, and the peaks do not take its contrast.
_CLIP = (30.0, 99.8)

#: Peaks that the lattice explains, and those that it does not.
_INDEXED, _ODD = "#56B4E9", "#E69F00"


def spectrum_entries(overlay: Overlay) -> list[Entry]:
    """Draw the power of the Hann-windowed preview, zero in the middle, and rings around its peaks.

    A preview without a lattice is drawn without rings.
    """
    image = overlay.image.astype(np.float32)
    try:
        bragg = find_lattice(image)
    except NoLatticeError:
        bragg = None
    reach = _BLIND_REACH if bragg is None else min(0.5, _REACH * bragg.radius)
    picture = rr.Image(_picture(image, reach), color_model="L")
    return [("spectrum/image", picture), ("spectrum/peaks", _rings(bragg, reach))]


def _picture(image: np.ndarray, reach: float) -> np.ndarray:
    """uint8 (SIDE, SIDE) of frequencies up to `reach` cycles per pixel, zero at its centre."""
    rows, columns = image.shape
    log_power = np.log(hann_power(image) + 1e-6)
    frequency = (np.arange(SIDE) + 0.5 - SIDE / 2) * (2 * reach / SIDE)
    gy, gx = np.meshgrid(frequency, frequency, indexing="ij")
    # the half plane holds gx >= 0; the other half is the same turned by 180 degrees
    sign = np.where(gx < 0, -1.0, 1.0)
    row = np.round(sign * gy * rows).astype(int) + rows // 2
    column = np.round(sign * gx * columns).astype(int)
    plane = log_power[np.clip(row, 0, rows - 1), np.clip(column, 0, log_power.shape[1] - 1)]
    low, high = np.percentile(plane, _CLIP)
    return np.asarray(np.clip((plane - low) * (255 / max(high - low, 1e-6)), 0, 255), np.uint8)


def _rings(bragg: BraggPeaks | None, reach: float) -> rr.Ellipses2D:
    if bragg is None:
        return rr.Ellipses2D(half_sizes=np.empty((0, 2)))
    both = np.concatenate([bragg.peaks, -bragg.peaks])
    indexed = np.concatenate([bragg.indexed, bragg.indexed])
    inside = np.abs(both).max(axis=1) < reach
    centres = both[inside] * (SIDE / (2 * reach)) + SIDE / 2
    colours = np.where(indexed[inside, None], rgb(_INDEXED), rgb(_ODD)).astype(np.uint8)
    half_sizes = np.full((len(centres), 2), SIDE / 45)
    return rr.Ellipses2D(
        half_sizes=half_sizes, centers=centres, colors=colours, line_radii=rr.Radius.ui_points(0.8)
    )
