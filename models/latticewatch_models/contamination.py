"""Hydrocarbon contamination: smooth bright patches that stay with the specimen."""

from __future__ import annotations

import numpy as np

from latticewatch_models.imaging import smooth_noise, upsample

#: The patches are smooth: they are computed on every eighth pixel.
STEP = 8

#: Plane waves that make up the patches, and the range of their wavelengths in nm: the patches in
#: the frames at hand are 2 to 6 nm across.
WAVES = 16
WAVELENGTHS_NM = (3.0, 12.0)

#: Where the sum of waves, of unit variance, lies below this the specimen is clean.
CLEAN_BELOW = 0.3


class Contamination:
    """A fixed random pattern of patches, of any extent.

    Parameters
    ----------
    rng
        Draws the pattern.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        length = rng.uniform(*WAVELENGTHS_NM, WAVES)
        angle, phase = rng.random((2, WAVES)) * 2.0 * np.pi
        self._wave = 2.0 * np.pi / length * np.array([np.cos(angle), np.sin(angle)])
        self._phase = phase

    def patches(
        self, shape: tuple[int, int], origin: tuple[float, float], pixel_size_nm: float
    ) -> np.ndarray:
        """Height of the patches, float32 ``shape``; about 1 in a typical one, 0 between them.

        Parameters
        ----------
        shape
            (rows, columns).
        origin
            Place (x, y) in pixels of the specimen's fixed point.
        pixel_size_nm
            Distance between pixels.
        """
        rows, columns = (np.arange(-(-side // STEP) + 1) * STEP for side in shape)
        x, y = (columns - origin[0]) * pixel_size_nm, (rows - origin[1]) * pixel_size_nm
        # exp(i (kx x + ky y)) splits into a product of a row and a column
        along_x = np.exp(1j * (np.outer(self._wave[0], x) + self._phase[:, None]))
        along_y = np.exp(1j * np.outer(self._wave[1], y))
        waves = (along_y.T @ along_x).real * np.sqrt(2.0 / WAVES)
        return upsample(np.maximum(waves - CLEAN_BELOW, 0.0), STEP, shape)


def grained(
    patches: np.ndarray, grain: float, sigma_px: float, rng: np.random.Generator
) -> np.ndarray:
    """Give amorphous patches their grain: contrast ``grain`` relative to their local height."""
    if grain <= 0.0:
        return patches
    rows, columns = patches.shape
    texture = smooth_noise((rows, columns), sigma_px, rng, step=2)
    return np.asarray(patches * np.maximum(1.0 + np.float32(grain) * texture, 0.0))
