"""CUDA C kernels for values at points: samples, stamps and maxima of an image on a device.

Each saves several library calls, or a wait for a size that only the device knows. Each has a twin
in NumPy, which is what a host runs, and equals it to the last bit where nothing else is said.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch, single
from latticewatch_kernels.transfers import down

#: Entries of the buffer that is left to maxima, and cells of a heat map to an entry of theirs. A
#: simulated 512 x 512 frame of WS2 has 51 maxima in the Fourier plane, and 1,385 of 65,536 cells
#: above the threshold. Where a buffer does not suffice the kernel is run once more with enough.
MAXIMA, CELLS_TO_AN_ENTRY = 1024, 16


def bilinear(image: Array, x: Array, y: Array) -> Array:
    """Interpolate at places, float32 of their shape; twin: `sampling.bilinear`."""
    return _sampled("bilinear", image, x, y)


def cubic(image: Array, x: Array, y: Array) -> Array:
    """Interpolate at places, float32 of their shape; twin: `sampling.cubic`."""
    return _sampled("cubic", image, x, y)


def _sampled(name: str, image: Array, x: Array, y: Array) -> Array:
    values = array_module(image).empty(x.shape, np.float32)
    launch(
        "samples", name, x.size, image,
        single(image), *image.shape, single(x), single(y), x.size, values,
    )  # fmt: skip
    return values


def site_intensity(
    image: Array, x: Array, y: Array, host: Array, offset: Array, unit: float, crosstalk: float
) -> Array:
    """Intensity of columns, float32 (n,); twin: `columns.intensity_beside`.

    Parameters
    ----------
    image
        (rows, columns), the matched residual.
    x, y
        float32 (n, 7) pixels: each site, then its six nearest.
    host, offset
        float64 (n,): the undisturbed column's intensity, and what is taken off.
    unit, crosstalk
        As in `columns.ColumnMap`.
    """
    values = array_module(image).empty(len(host), np.float32)
    launch(
        "samples", "site_intensity", len(host), image,
        single(image), *image.shape, x, y, host, offset,
        np.float64(unit), np.float64(crosstalk), len(host), values,
    )  # fmt: skip
    return values


def patches(image: Array, points: Array, turns: Array, offsets: Array) -> Array:
    """Bilinear samples of an image around points; twin: `patches.lattice_patches`.

    Parameters
    ----------
    image
        (rows, columns).
    points
        float64 (n, 2) pixels (x, y).
    turns
        int32 (n,): which of the offsets each point takes.
    offsets
        float64 (turns, samples, 2) pixels (x, y) from the point.

    Returns
    -------
    Array
        float32 (n, samples).
    """
    count, samples = len(points), offsets.shape[1]
    result = array_module(image).empty((count, samples), np.float32)
    launch(
        "samples", "lattice_patches", count * samples, image,
        single(image), *image.shape, points, turns, offsets, count, samples, result,
    )  # fmt: skip
    return result


def stamps(
    points: Array, half: int, sigma: float, shape: tuple[int, int]
) -> tuple[Array, Array, Array, Array]:
    """Lay a Gaussian column on each point; twin: `stamps.stamps`.

    Parameters
    ----------
    points
        float64 (n, 2) pixels (x, y).
    half
        Pixels from the middle one to a square's edge.
    sigma
        Standard deviation, pixels.
    shape
        Of the frame, inside of which all squares lie.

    Returns
    -------
    row, column
        int32 (n,): each square's first pixel.
    down, across
        float32 (n, side) each, within 4 units in the last place of the twin's, whose exponential is
        one in single precision; here it is rounded once from double precision.
    """
    xp, number, scale = array_module(points), len(points), np.float32(-0.5 / sigma**2)
    found = []
    for axis, size in ((1, shape[0]), (0, shape[1])):
        side = min(2 * half + 1, size)
        first, heights = xp.empty(number, np.int32), xp.empty((number, side), np.float32)
        launch(
            "stamps", "stamp_heights", heights.size, points,
            points, axis, number, half, side, scale, size, first, heights,
        )  # fmt: skip
        found.append((first, heights))
    (row, down), (column, across) = found
    return row, column, down, across


def stamp_sums(image: Array, row: Array, column: Array, down: Array, across: Array) -> Array:
    """Sum an image times each column over its square, (n,) float32; twin: `stamps.Stamps.sums`.

    Its sums run in another order than the twin's. With k the square's side each of the k^2 terms
    passes 2 k roundings at most, so that each result is within ``2 k u sum |term|`` of the true sum
    to first order in ``u = 2**-24`` (Higham, Accuracy and Stability of Numerical Algorithms,
    ch. 4 (2002)), and the two within twice that of one another.
    """
    xp = array_module(image)
    lines = xp.empty(down.shape, np.float32)
    launch(
        "stamps", "stamp_lines", lines.size, image,
        single(image), image.shape[1], row, column, *down.shape, across.shape[1],
        down, across, lines,
    )  # fmt: skip
    return lines.sum(axis=1)


def draw_stamps(
    points: Array,
    heights: list[Array],
    reaches: list[tuple[int, float]],
    shape: tuple[int, int],
) -> Array:
    """Image (rows, columns) of columns that are sums of Gaussians, float32; twin: `stamps.draw`.

    ``heights`` float32 (n,) and ``reaches`` (half a square's side and standard deviation in pixels)
    are those of each Gaussian. Pixels are summed in float64 in any order, so that the result is
    within one unit in its last place of the twin's, beyond what the stamps differ by.
    """
    image = array_module(points).zeros(shape, np.float64)
    for height, (half, sigma) in zip(heights, reaches, strict=True):
        row, column, down, across = stamps(points, half, sigma, shape)
        launch(
            "stamps", "draw_stamps", down.size * across.shape[1], points,
            height, row, column, *down.shape, across.shape[1], down, across, image, shape[1],
        )  # fmt: skip
    return image.astype(np.float32)


def logits(heat: Array, x: Array, y: Array, surest: float) -> Array:
    """Logit of a heat map at places, float32 of their shape; twin: `segmentation.logit_at`.

    ``surest`` is how near to 0 and 1 probabilities are read. Logarithms are rounded once from
    double precision: within 4 units in the last place of the twin's at each cell.
    """
    values = array_module(heat).empty(x.shape, np.float32)
    launch(
        "samples", "logits", x.size, heat,
        single(heat), *heat.shape, np.float32(surest), single(x), single(y), x.size, values,
    )  # fmt: skip
    return values


def cells_above(
    heat: Array, offset: Array, threshold: float, *further: Array
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Cells of a heat map at or above a threshold; twin in `localisation.decode_heat_map`.

    Returns
    -------
    place, said
        int (n,) indices into the flattened map, rising, and float32 (n, 3): the cell's heat and its
        two offsets; on the host, after one wait.
    further
        What else was to come down with them.
    """
    sure, moved = single(heat), single(offset)
    room = MAXIMA + heat.size // CELLS_TO_AN_ENTRY
    given = (sure, moved, heat.size, np.float32(threshold))
    return _compacted("cells_above", heat, room, 3, given, further)


def maxima(
    judged: Array, shown: Array, threshold: float, half_plane: bool, *further: Array
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Local maxima of one map with what lies around them in another of the same shape.

    The twin is `localisation.maxima_around`, which says what the parameters are.

    Returns
    -------
    place, said
        int (n,) indices into the flattened map, rising, and float32 (n, 10): the maximum's value,
        then the 3 x 3 values around it; on the host, after one wait.
    further
        What else was to come down with them.
    """
    given = (single(judged), single(shown), *judged.shape, int(half_plane), np.float32(threshold))
    return _compacted("local_maxima", judged, MAXIMA, 10, given, further)


def _compacted(
    name: str,
    like: Array,
    room: int,
    width: int,
    given: tuple[Any, ...],
    further: tuple[Array, ...],
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Run a kernel that appends to a buffer of fixed size; entries come in any order."""
    xp = array_module(like)
    while True:
        # one buffer, so that it comes down in one piece: number, places, values
        buffer = xp.zeros(1 + room * (1 + width), np.int32)
        place, said = buffer[1 : 1 + room], buffer[1 + room :].view(np.float32)
        launch("maxima", name, like.size, like, *given, room, buffer, place, said)
        found, *rest = down(buffer, *further)
        number = int(found[0])
        if number <= room:
            break
        room = number
    place = found[1 : 1 + number]
    order = np.argsort(place)
    said = found[1 + room : 1 + room + number * width].view(np.float32).reshape(number, width)
    return place[order].astype(np.intp), said[order], tuple(rest)
