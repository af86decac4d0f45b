"""CUDA C kernels for the deviations of columns, on a device; twins in `deviations`."""

from __future__ import annotations

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch, launch_together, single
from latticewatch_kernels.noise import NoiseLine


def inverse_variance(periodic: Array, hole: Array, noise: NoiseLine) -> Array:
    """Give one over each pixel's variance, 0 in holes.

    The twin is `deviations._weights`, to the last bit.
    """
    weight = array_module(periodic).empty(periodic.shape, np.float32)
    line = (np.float32(number) for number in (noise.slope, noise.base, noise.least))
    launch(
        "deviations", "inverse_variance", weight.size, periodic,
        periodic, hole.view(np.int8), *periodic.shape, *line, weight,
    )  # fmt: skip
    return weight


def block_means(image: Array, weight: Array | None, block: int) -> Array:
    """Means of whole blocks of an image times weights; twin: `conditioning.block_means`.

    The twin sums b x b pixels in single precision, so that the two are within ``b**2 2**-24`` of
    the mean of absolute values of one another.
    """
    high, wide = (size // block for size in image.shape)
    means = array_module(image).empty((high, wide), np.float32)
    image = single(image)
    launch(
        "deviations", "blocked_means", means.size, image,
        image, image if weight is None else weight, int(weight is not None), image.shape[1],
        block, high, wide, means,
    )  # fmt: skip
    return means


def less_mean(image: Array, weight: Array | None, means: Array, stride: int) -> Array:
    """Take a mean in cells, enlarged as by `order.enlarge`, off an image, and weigh what is left.

    Within six units in the last place of the greater of image and mean of the twin, which enlarges
    by products of matrices.
    """
    result = array_module(image).empty(image.shape, np.float32)
    image = single(image)
    launch(
        "deviations", "less_mean", result.size, image,
        image, image if weight is None else weight, int(weight is not None), *image.shape,
        single(means), *means.shape, stride, result,
    )  # fmt: skip
    return result


def strong_columns(squares: Array, responses: Array, ends: list[int], sigmas: float) -> Array:
    """Heights of the columns that stand out of their sublattice, float64 (n,), 0 of the others.

    Parameters
    ----------
    squares, responses
        float32 (n,) energies and responses of columns, one sublattice after the other.
    ends
        Where each of the three sublattices ends.
    sigmas
        Robust standard deviations beyond which a column stands out.

    Notes
    -----
    The twin is in `deviations.SitesInView.deviations`; equal to the last bit.
    """
    heights = array_module(squares).empty(squares.shape, np.float64)
    launch_together(
        "deviations", "strong_columns", len(ends), squares,
        squares, responses, *ends, np.float64(sigmas), heights,
    )  # fmt: skip
    return heights
