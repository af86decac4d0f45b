"""Sub-pixel positions of the maxima of a map, or of a coarse heat map with offsets."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from latticewatch_kernels.lattice import Array


def find_peaks(
    image: Array, threshold: float, min_distance: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """Local maxima of a map above a threshold, with sub-pixel positions.

    Parameters
    ----------
    image
        (rows, columns) map.
    threshold
        Least value of a maximum.
    min_distance
        Of two maxima nearer than this, in pixels, the greater one is kept.

    Returns
    -------
    points, values
        float64 (n, 2) positions (x, y) in pixels and float64 (n,) values of the map, in order of
        descending value, both on the host. The position is the vertex of the parabolas through the
        maximum and its neighbours along x and y (of their logarithms where all are positive, which
        is exact for a Gaussian).
    """
    rows, columns, _, around = maxima_around(image, image, threshold)
    if len(rows) == 0:
        return np.zeros((0, 2)), np.zeros(0)
    points = np.stack([columns, rows], 1) + _vertices(around)
    return _best_first(points, around[:, 1, 1], min_distance)


def decode_heat_map(
    heat: Array,
    offset: Array,
    stride: int,
    shape: tuple[int, int],
    threshold: float,
    min_distance: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Objects of a coarse heat map with offsets: the surest cell of every group that agrees.

    Every cell at or above the threshold points at an object; of those whose points lie together the
    surest speaks for all.

    Parameters
    ----------
    heat
        (h, w) probability. Cell (r, c) covers the pixels [stride c, stride (c + 1)) of the frame,
        and likewise rows; its centre lies at x = stride c + (stride - 1) / 2.
    offset
        (2, h, w): x and y from a cell's centre to the object, pixels of the frame.
    stride
        Pixels of the frame to a cell.
    shape
        (rows, columns) of the frame; what points out of it is dropped.
    threshold
        Least probability.
    min_distance
        Points nearer than this, in pixels of the frame, are one object.

    Returns
    -------
    points, probability
        float64 (n, 2) and (n,), surest first, both on the host.
    """
    return place_cells(heat_cells(heat, offset, threshold), stride, shape, min_distance)


def heat_cells(
    heat: np.ndarray, offset: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells of a heat map at or above a threshold, in reading order.

    Parameters
    ----------
    heat, offset, threshold
        As for `decode_heat_map`.

    Returns
    -------
    rows, columns, said
        int (n,) twice, and float64 (3, n): heat and both offsets of each.
    """
    rows, columns = np.nonzero(heat >= threshold)
    picked = np.concatenate([heat[rows, columns][None], offset[:, rows, columns]])
    return rows, columns, picked.astype(np.float64)


def place_cells(
    cells: tuple[np.ndarray, np.ndarray, np.ndarray],
    stride: int,
    shape: tuple[int, int],
    min_distance: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Objects that the cells of `heat_cells` point at, as `decode_heat_map` gives them."""
    rows, columns, host = cells
    place = np.stack([columns, rows], 1)
    points = stride * place + 0.5 * (stride - 1) + host[1:].T
    limits = np.array([shape[1], shape[0]]) - 0.5
    inside = ((points >= -0.5) & (points < limits)).all(axis=1)
    return _best_first(points[inside], host[0, inside], min_distance)


def _best_first(
    points: np.ndarray, values: np.ndarray, min_distance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Sort by descending value and drop what lies too near to something better."""
    order = np.argsort(-values, kind="stable")
    points, values = points[order], values[order]
    if min_distance <= 0.0:
        return points, values
    keep = suppress(points, min_distance)
    return points[keep], values[keep]


def suppress(points: np.ndarray, min_distance: float) -> np.ndarray:
    """Which of the points, given best first, stay when none may be near a better one; bool (n,).

    Greedy, in rounds: a point with no better one near it that is still in question stays, and what
    is near it goes.
    """
    keep = np.ones(len(points), bool)
    if len(points) < 2:
        return keep
    pairs = cKDTree(points).query_pairs(min_distance, output_type="ndarray")
    better, worse = pairs.min(axis=1), pairs.max(axis=1)
    open_ = np.ones(len(points), bool)
    while len(better):
        stays = open_.copy()
        stays[worse] = False
        gone = worse[stays[better]]
        keep[gone] = False
        open_[stays] = open_[gone] = False
        left = open_[better] & open_[worse]
        better, worse = better[left], worse[left]
    return keep


def _local_maxima(heat: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of cells at or above the threshold that no neighbour exceeds."""
    rows, columns = np.nonzero(heat >= threshold)
    centre = heat[rows, columns]
    highest = np.ones(rows.shape, bool)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            if down == right == 0:
                continue
            row, column = rows + down, columns + right
            inside = (row >= 0) & (row < heat.shape[0]) & (column >= 0) & (column < heat.shape[1])
            other = heat[row.clip(0, heat.shape[0] - 1), column.clip(0, heat.shape[1] - 1)]
            # On a plateau of equals the first in reading order is the maximum.
            beats = other >= centre if (down, right) < (0, 0) else other > centre
            highest &= ~(beats & inside)
    return rows[highest], columns[highest]


def maxima_around(
    judged: np.ndarray, shown: np.ndarray, threshold: float, half_plane: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Local maxima of one map, and what lies around them in another of its shape.

    Parameters
    ----------
    judged, shown
        (rows, columns) each.
    threshold
        Least value of a maximum.
    half_plane
        The maps are the half plane of a real image's spectrum (`spectrum`): rows go on at the other
        end, columns are mirrored about frequency 0. Else maps are mirrored about their borders,
        which shifts no maximum there.

    Returns
    -------
    rows, columns, values, around
        int (n,) twice, float64 (n,) and float64 (n, 3, 3), in reading order.
    """
    rows, columns = _local_maxima(judged, threshold)
    step = np.arange(-1, 2)
    row, column = rows[:, None] + step, columns[:, None] + step
    height, width = judged.shape
    if half_plane:
        row, column = row % height, np.abs(column).clip(0, width - 1)
    else:
        row, column = (
            (last - np.abs(last - np.abs(place))).clip(0)
            for place, last in ((row, height - 1), (column, width - 1))
        )
    around = shown[row[:, :, None], column[:, None, :]].astype(np.float64)
    return rows, columns, judged[rows, columns].astype(np.float64), around


def _vertices(around: np.ndarray) -> np.ndarray:
    """(n, 2) offsets (x, y) in cells, each within half a cell."""
    positive = around.min(axis=(1, 2)) > 0
    logs = np.where(positive[:, None, None], np.log(np.where(around > 0, around, 1.0)), around)
    shifts = []
    for before, after in ((logs[:, 1, 0], logs[:, 1, 2]), (logs[:, 0, 1], logs[:, 2, 1])):
        curvature = before - 2.0 * logs[:, 1, 1] + after
        flat = curvature >= 0.0
        shift = 0.5 * (before - after) / np.where(flat, -1.0, curvature)
        shifts.append(np.where(flat, 0.0, np.clip(shift, -0.5, 0.5)))
    return np.stack(shifts, 1)
