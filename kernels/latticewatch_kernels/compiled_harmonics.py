"""CUDA C kernels that refine a reciprocal lattice on a device; twins in `harmonics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch, launch_together, single
from latticewatch_kernels.transfers import table, up

#: As in the source: threads to a node, and numbers that each sums.
LANES, SUMS = 32, 14


def refined(
    images: Sequence[Array],
    reciprocal: np.ndarray,
    indices: np.ndarray,
    steps: int,
    highest: float,
    window: Callable[[int], np.ndarray],
    variance: Callable[[int], float],
) -> tuple[Array, Array]:
    """Take Newton's steps on each image in turn, then the amplitudes in the last.

    The twins are `harmonics.fit_reciprocal` and `harmonics.measure_harmonics`; only the sums run in
    another order, in double precision but for the product with the image.

    Parameters
    ----------
    images
        (rows, columns) each.
    reciprocal, indices
        (2, 2) cycles per pixel, and (n, 2) whole numbers of the nodes.
    steps
        On each image.
    highest
        Nodes beyond this frequency along an axis have no say in a step.
    window, variance
        Window of sum 1 along an axis of a size, and the variance of the place under it.

    Returns
    -------
    reciprocal, amplitudes
        float64 (2, 2) and (n, 2), real and imaginary part, on the device.
    """
    above, nodes = up(images[0], reciprocal.astype(float), indices.astype(np.int32))
    return above, refine(images, above, nodes, steps, highest, window, variance)


def refine(
    images: Sequence[Array],
    reciprocal: Array,
    indices: Array,
    steps: int,
    highest: float,
    window: Callable[[int], np.ndarray],
    variance: Callable[[int], float],
) -> Array:
    """Do what `refined` does with what lies on the device: float64 (2, 2) and int32 (n, 2).

    The reciprocal lattice is written over, and the amplitudes are given back.
    """
    xp, number = array_module(reciprocal), len(indices)
    amplitudes = xp.empty((number, 2), np.float64)
    sums = xp.empty((number, LANES, SUMS), np.float64)
    for image in images:
        rows, columns = image.shape
        floats, mean = single(image), image.mean(dtype=np.float32).reshape(1)
        down, across = (table(image, window, size) for size in image.shape)
        parts = xp.empty((4 * number, rows), np.float32)
        for step in range(steps + int(image is images[-1])):
            launch(
                "harmonics", "waves", number * rows, image,
                reciprocal, indices, number, down, rows, parts,
            )  # fmt: skip
            launch(
                "harmonics", "moments", number * LANES, image,
                reciprocal, indices, number, down, across, rows, columns, parts @ floats, sums,
            )  # fmt: skip
            launch_together(
                "harmonics", "newton", 1, image,
                sums, number, indices, mean, rows, columns, np.float64(variance(columns)),
                np.float64(variance(rows)), np.float64(highest), int(step < steps),
                reciprocal, amplitudes,
            )  # fmt: skip
    return amplitudes
