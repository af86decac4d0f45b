"""CUDA C kernels that refine a reciprocal lattice on a device; twins in `harmonics`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.harmonics import (
    HIGHEST_FREQUENCY,
    REFINEMENTS,
    hann_variance,
    unit_window,
)
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch, launch_together, single
from latticewatch_kernels.resident.tables import table

#: As in the source: threads to a node, and numbers that each sums.
LANES, SUMS = 32, 14


def refine(images: Sequence[Array], reciprocal: Array, indices: Array) -> Array:
    """Take Newton's steps on each image in turn, then the amplitudes in the last.

    The twins are `harmonics.fit_reciprocal` and `harmonics.measure_harmonics`; only the sums run in
    another order, in double precision but for the product with the image. Nothing is waited for.

    Parameters
    ----------
    images
        (rows, columns) each, on the device.
    reciprocal
        float64, four numbers in cycles per pixel, which are written over.
    indices
        int32 (n, 2), whole numbers of the nodes.

    Returns
    -------
    Array
        float64 (n, 2): real and imaginary part of the amplitudes in the last image.
    """
    xp, number = array_module(reciprocal), len(indices)
    amplitudes = xp.empty((number, 2), np.float64)
    sums = xp.empty((number, LANES, SUMS), np.float64)
    for image in images:
        rows, columns = image.shape
        floats, mean = single(image), image.mean(dtype=np.float32).reshape(1)
        down, across = (table(image, unit_window, size) for size in image.shape)
        parts = xp.empty((4 * number, rows), np.float32)
        for step in range(REFINEMENTS + int(image is images[-1])):
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
                sums, number, indices, mean, rows, columns, np.float64(hann_variance(columns)),
                np.float64(hann_variance(rows)), np.float64(HIGHEST_FREQUENCY),
                int(step < REFINEMENTS),
                reciprocal, amplitudes,
            )  # fmt: skip
    return amplitudes
