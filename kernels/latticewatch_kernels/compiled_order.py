"""CUDA C kernel that demodulates an image by the waves of the first Bragg ring, on a device."""

from __future__ import annotations

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch, single
from latticewatch_kernels.transfers import up

#: Maps that it gives.
MAPS = 8


def demodulated(
    image: Array, mean: Array, stride: int, down: np.ndarray, across: np.ndarray
) -> Array:
    """Block means of an image times waves, and of the product of each pixel with the one below.

    Parameters
    ----------
    image
        (rows, columns).
    mean
        float32 (1,), what is taken off.
    stride
        Pixels along a side of a block.
    down, across
        Complex (3, rows) and (3, columns): the waves are products of both.

    Returns
    -------
    Array
        float32 (8, h, w): mean, real and imaginary part with each wave, and the product.

    Notes
    -----
    Within ``2 (s + 4) 2**-24`` of the greatest pixel (of its square, for the product) of the twins,
    `order._demodulate` and `order._covariance`, whose sums over s pixels of a side are in single
    precision.
    """
    xp = array_module(image)
    high, wide = image.shape[0] // stride, image.shape[1] // stride
    parts = (
        np.ascontiguousarray(wave[:, : size * stride], np.complex64).view(np.float32)
        for wave, size in ((down, high), (across, wide))
    )
    waves = up(image, *parts)
    maps = xp.empty((MAPS, high, wide), np.float32)
    launch(
        "order", "demodulated", high * wide, image,
        single(image), mean, image.shape[1], stride, high, wide, waves[0], waves[1], maps,
    )  # fmt: skip
    return maps
