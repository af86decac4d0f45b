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
from latticewatch_kernels.launch import blocks_of, launch, launch_together, single
from latticewatch_kernels.resident.tables import table

#: As in the source: threads to a node, numbers that each sums, and nodes that there is room for.
LANES, SUMS, MOST = 256, 14, 64

#: As there: nodes and columns that a thread folds an image for, threads beside each other, shares
#: of the rows that a block has, and blocks that have all.
NODES, BESIDE, STRIP, JOINED, KEPT = 3, 4, 32, 4, 4


def refine(
    images: Sequence[Array], means: Sequence[Array], reciprocal: Array, indices: Array
) -> Array:
    """Take Newton's steps on each image in turn, then the amplitudes in the last.

    The twins are `harmonics.fit_reciprocal` and `harmonics.measure_harmonics`. Products with the
    image are in single precision, as theirs, and summed in another order. Nothing is waited for.

    Parameters
    ----------
    images, means
        (rows, columns) each, on the device, and their means, float64 (1,) or more of which the
        first is read.
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
    sums = xp.empty((number, SUMS), np.float64)
    for image, mean in zip(images, means, strict=True):
        rows, columns = image.shape
        floats, parts = single(image), xp.empty((number, rows, 4), np.float32)
        down, across = (table(image, unit_window, size) for size in image.shape)
        plain = xp.empty((number, rows + columns, 2), np.float64)
        strips = blocks_of(columns, BESIDE * STRIP)
        folded = xp.empty((4, number, KEPT, columns), np.float32)
        for step in range(REFINEMENTS + int(image is images[-1])):
            launch(
                "harmonics", "waves", number * (rows + columns), image,
                reciprocal, indices, number, down, across, rows, columns, plain, parts,
            )  # fmt: skip
            launch_together(
                "harmonics", "folded_image", blocks_of(number, NODES) * KEPT * strips, image,
                floats, parts, number, rows, columns, folded, threads=STRIP * JOINED,
            )  # fmt: skip
            launch_together(
                "harmonics", "moments", number, image,
                plain, number, rows, columns, folded, sums, threads=LANES,
            )  # fmt: skip
            launch_together(
                "harmonics", "newton", 1, image,
                sums, number, indices, mean, rows, columns, np.float64(hann_variance(columns)),
                np.float64(hann_variance(rows)), np.float64(HIGHEST_FREQUENCY),
                int(step < REFINEMENTS),
                reciprocal, amplitudes, threads=MOST,
            )  # fmt: skip
    return amplitudes
