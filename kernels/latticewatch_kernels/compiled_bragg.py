"""CUDA C kernels around the Fourier transforms of a frame's periodic part, on a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch_kernels.arrays import array_module, irfft2, rfft2
from latticewatch_kernels.extension import Side
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch, single
from latticewatch_kernels.sampling import LEAST_WEIGHT
from latticewatch_kernels.transfers import up


@dataclass(frozen=True)
class Filter:
    """What the filter of one frame is made of; small, on the host.

    Attributes
    ----------
    means
        float32 (1 or 3, h, w): local mean in cells and, where there are holes, the weight of the
        pixels and what it averages to.
    empty
        bool (h, w): cells in holes.
    stride
        Pixels to a cell.
    sides
        How the frame is continued along columns, then along rows.
    nodes, width
        (n, 2) frequencies (x, y) that are passed, and the standard deviation of the Gaussian about
        each.
    least_cover
        The average of the weights counts as this much at least.
    """

    means: np.ndarray
    empty: np.ndarray
    stride: int
    sides: tuple[Side, Side]
    nodes: np.ndarray
    width: float
    least_cover: float


def rebuilt(image: Array, by: Filter) -> tuple[Array, Array, Array]:
    """Periodic part of an image, what is left of it, and which pixels are in a hole.

    The twin is `periodic.rebuilt`. Between the two transforms and after them one launch each does
    what masks, and what rebuilds and subtracts.

    Returns
    -------
    periodic, residual, hole
        float32 twice and bool, of the image's shape.

    Notes
    -----
    Differs from the twin as sums of single precision in another order do: by no more than
    ``2**-16`` of the image's greatest value, of which the transforms, which are the twin's, take
    the greater part.
    """
    xp = array_module(image)
    image = single(image)
    rows, columns = image.shape
    across, down = by.sides
    means, empty, nodes, *tables = up(
        image,
        by.means.astype(np.float32),
        by.empty.astype(np.float32),
        by.nodes.astype(float),
        *(part for side in by.sides for part in (side.taps(), side.weights)),
    )
    cells = (*by.means.shape[1:], by.stride)
    work = xp.empty(image.shape, np.float32)
    launch(
        "bragg", "levelled", work.size, image,
        image, rows, columns, means, len(by.means), *cells, work,
    )  # fmt: skip
    for axis, side in ((1, across), (0, down)):
        tapped = tables[:2] if axis else tables[2:]
        work = extended(work, axis, side.before, side.longer, tapped[0], tapped[1])
    filtered = _passed(work, nodes, by.width)
    periodic, residual = xp.empty((2, rows, columns), np.float32)
    hole = xp.empty(image.shape, np.int8)
    launch(
        "bragg", "rebuilt", image.size, image,
        filtered, filtered.shape[1], down.before, across.before, image, rows, columns,
        means, len(by.means), *cells, np.float32(by.least_cover), empty, int(by.empty.any()),
        periodic, residual, hole,
    )  # fmt: skip
    return periodic, residual, hole.view(np.bool_)


def extended(
    image: Array, axis: int, before: int, longer: int, taps: Array, weights: Array
) -> Array:
    """Continue an image along one axis (0 rows, 1 columns); twin: `extension.extend`.

    The other parameters are those of `extension.Side`; rounded like the twin, but for the order of
    sums in double precision.
    """
    rows, columns = image.shape
    shape = (rows, longer) if axis else (longer, columns)
    result = array_module(image).empty(shape, np.float32)
    launch(
        "bragg", "extended", result.size, image,
        image, rows, columns, axis, before, longer, taps, weights, result,
    )  # fmt: skip
    return result


def _passed(image: Array, nodes: Array, width: float) -> Array:
    """Pass what lies near the nodes of an image's Fourier plane."""
    xp, shape, number = array_module(image), (image.shape[0], image.shape[1]), len(nodes)
    spectrum = xp.ascontiguousarray(rfft2(image))
    weights = []
    for axis, (size, bins) in ((1, (shape[0],) * 2), (0, (shape[1], spectrum.shape[1]))):
        weights.append(xp.empty((bins, number), np.float32))
        launch(
            "bragg", "node_gaussians", bins * number, image,
            nodes, number, axis, size, bins, np.float64(width), np.float64(LEAST_WEIGHT),
            weights[-1],
        )  # fmt: skip
    launch(
        "bragg", "nodes_passed", spectrum.size, image,
        spectrum.view(np.float32), *spectrum.shape, *weights, number,
    )  # fmt: skip
    return single(irfft2(spectrum, shape))
