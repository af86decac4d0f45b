"""Scenes to train on, drawn from labelled frames alone: no simulated specimen, no human.

A frame labelled by its Bragg peaks is taken apart into its periodic part, the deviation of each
labelled column, and the noise about both. From these new frames are put together: turned, at other
doses, with the frame's own defects also on other sites of their sublattice (as in copy-paste
augmentation: Ghiasi et al., CVPR (2021)). Some scenes keep the frame's own pixels as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.labelling import site_intensity
from latticewatch_kernels.noise import fit_noise_line
from latticewatch_kernels.patches import rescale
from latticewatch_models.augmentation import (
    BLUR_LIMIT,
    DOSE_RANGE,
    draw_background,
    draw_matrix,
    draw_warp,
)
from latticewatch_models.labelled import LabelledFrame
from latticewatch_models.scenes import CANONICAL_LATTICE_PX, Scene

#: Share of the scenes that keep the frame's own pixels, noise and all, flipped and turned by right
#: angles only: what the labels missed is in them, unlabelled.
OWN_PIXELS_SHARE = 0.3

#: Lattice constants that a scene is left at; others are resampled to the canonical one, as live
#: frames are.
KEPT_RANGE_PX = (8.9, 12.6)

#: Labelled defects that a new scene shows where they are, and defects put on other sites: up to
#: this share of the sites.
KEPT_SHARE = 0.7
PLANTED_LIMIT = 0.025

#: A planted defect deviates by this part of the measured one.
STRENGTH_RANGE = (0.75, 1.15)


@dataclass(frozen=True)
class Lesson:
    """What one labelled frame, or a part of it, teaches.

    Attributes
    ----------
    image, clean
        float32 (rows, columns): the conditioned frame, and its crystal without noise or defects.
    ignore
        bool: where the labels are silent.
    points, deviation, sublattice
        Labelled defects: (n, 2) pixels, (n,) in units of the image at the column's centre, (n,).
    sites, site_sublattice
        (m, 2) pixels and (m,): sites without a defect for certain.
    column_px, constant_px
        Gaussian width of a column; lattice constant.
    noise
        Variance of a pixel: slope over the clean intensity, and base at 0.
    contrast
        Height of the brightest columns above the empty site, units of the image.
    """

    image: np.ndarray
    clean: np.ndarray
    ignore: np.ndarray
    points: np.ndarray
    deviation: np.ndarray
    sublattice: np.ndarray
    sites: np.ndarray
    site_sublattice: np.ndarray
    column_px: float
    constant_px: float
    noise: tuple[float, float]
    contrast: float


def lesson_of(frame: LabelledFrame, rows: slice | None = None) -> Lesson:
    """Take a labelled frame apart; of ``rows`` alone, where they are given.

    Raises
    ------
    ValueError
        No defect is labelled in those rows.
    """
    rows = rows or slice(0, len(frame.image))
    labels, lattice, found = frame.labels, frame.lattice, frame.points
    inside = _in_rows(found.points, rows)
    if not inside.any():
        raise ValueError(f"no defect is labelled in rows {rows.start} to {rows.stop}: take others")
    columns = labels.columns
    value = site_intensity(labels, lattice, found.cells, found.sublattice)
    unit = 2.0 / columns.unit
    clean = labels.periodic.astype(np.float32, copy=True)
    lost = found.hole | found.untold
    smooth = ndimage.gaussian_filter(frame.image, columns.sigma)
    clean[lost] = smooth[lost]
    sites, sublattice = _host_sites(frame)
    chosen = _in_rows(sites, rows)
    shift = np.array([0.0, rows.start or 0])
    noise = fit_noise_line((frame.image - clean)[~lost], clean[~lost])
    return Lesson(
        np.ascontiguousarray(frame.image[rows]),
        np.ascontiguousarray(clean[rows]),
        found.ignore(lattice)[rows],
        found.points[inside] - shift,
        (value - columns.host[found.sublattice])[inside] * unit,
        found.sublattice[inside],
        sites[chosen] - shift,
        sublattice[chosen],
        columns.sigma,
        lattice.constant,
        (noise.slope, noise.base),
        unit,
    )


def lessons_of(parts: Iterable[tuple[LabelledFrame, slice]]) -> Lessons:
    """Take labelled frames, or some of their rows, apart; those without a defect teach none.

    Raises
    ------
    ValueError
        No defect is labelled in any.
    """
    teaching = [(frame, rows) for frame, rows in parts if _in_rows(frame.points.points, rows).any()]
    if not teaching:
        raise ValueError(
            "no defect is labelled in the frames to train on: give more frames, or others"
        )
    return Lessons(tuple(lesson_of(frame, rows) for frame, rows in teaching))


def _in_rows(points: np.ndarray, rows: slice) -> np.ndarray:
    return np.asarray((points[:, 1] >= rows.start - 0.5) & (points[:, 1] < rows.stop - 0.5))


def _host_sites(frame: LabelledFrame) -> tuple[np.ndarray, np.ndarray]:
    """Places (m, 2) and sublattices (m,) of the sites that neither hold a defect nor may."""
    lattice, found = frame.lattice, frame.points
    rows, columns = frame.image.shape
    corners = np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]], float)
    corner = lattice.to_fractional(corners)
    low, high = np.floor(corner.min(0)).astype(int), np.ceil(corner.max(0)).astype(int)
    i, j = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    cells = np.tile(np.stack([i.ravel(), j.ravel()], 1), (3, 1))
    sublattice = np.repeat(np.arange(3, dtype=np.int8), i.size)
    sites = lattice.site_positions(cells, sublattice)
    sites = sites + frame.labels.order.displacement_at(sites)
    inside = ((sites >= 0) & (sites <= np.array([columns - 1, rows - 1]))).all(axis=1)
    sites, sublattice = sites[inside], sublattice[inside]
    place = np.rint(sites).astype(int)
    taken = found.ignore(lattice) | found.hole | (frame.mask > 0)
    free = ~taken[place[:, 1], place[:, 0]]
    return sites[free], sublattice[free]


@dataclass(frozen=True)
class Lessons:
    """A source of scenes: call it with a generator and a shape.

    Attributes
    ----------
    parts
        What the labelled frames teach.
    """

    parts: Sequence[Lesson]

    def __call__(self, rng: np.random.Generator, shape: tuple[int, int]) -> Scene:
        """Draw a scene of ``shape`` at about the canonical scale, reproducible by ``rng``."""
        lesson = self.parts[int(rng.integers(len(self.parts)))]
        if rng.random() < OWN_PIXELS_SHARE:
            return _own_pixels(rng, lesson, shape)
        return _composed(rng, lesson, shape)


def _factor(constant: float) -> float:
    """Factor by which a frame of this lattice constant is resampled."""
    low, high = KEPT_RANGE_PX
    return 1.0 if low <= constant <= high else CANONICAL_LATTICE_PX / constant


def _drawn_shape(shape: tuple[int, int], factor: float) -> tuple[int, int]:
    """Pixels to be drawn so that ``shape`` are left after resampling."""
    rows, columns = (int(np.ceil(s / factor)) + (factor != 1.0) for s in shape)
    return rows, columns


def _own_pixels(rng: np.random.Generator, lesson: Lesson, shape: tuple[int, int]) -> Scene:
    """Cut the frame itself, flipped and turned; what it lacks is mirrored and silent."""
    factor = _factor(lesson.constant_px)
    rows, columns = _drawn_shape(shape, factor)
    top, left = (
        int(rng.integers(max(1, have - need + 1)))
        for have, need in zip(lesson.image.shape, (rows, columns), strict=True)
    )
    window = slice(top, top + rows), slice(left, left + columns)
    image, ignore = lesson.image[window], lesson.ignore[window]
    lacking = [(0, need - have) for need, have in zip((rows, columns), image.shape, strict=True)]
    image = np.pad(image, lacking, mode="reflect")
    ignore = np.pad(ignore, lacking, constant_values=True)
    points = lesson.points - [left, top]
    if rng.random() < 0.5:
        image, ignore = image[:, ::-1], ignore[:, ::-1]
        points = np.column_stack([columns - 1 - points[:, 0], points[:, 1]])
    turns = int(rng.integers(4)) if rows == columns else 2 * int(rng.integers(2))
    for _ in range(turns):
        # a quarter turn takes column x to row (columns - 1 - x)
        points = np.column_stack([points[:, 1], image.shape[1] - 1 - points[:, 0]])
        image, ignore = np.rot90(image), np.rot90(ignore)
    return _finish(np.ascontiguousarray(image), points, np.ascontiguousarray(ignore), factor, shape)


def _composed(rng: np.random.Generator, lesson: Lesson, shape: tuple[int, int]) -> Scene:
    """Put crystal, defects, background and noise together anew."""
    matrix = draw_matrix(rng)
    constant = lesson.constant_px * float(np.sqrt(abs(np.linalg.det(matrix))))
    factor = _factor(constant)
    drawn = _drawn_shape(shape, factor)
    source = (lesson.image.shape[0], lesson.image.shape[1])
    warp = draw_warp(rng, matrix, source, drawn, constant)
    places = warp.places(drawn)
    clean, points = _planted(rng, lesson)
    image = ndimage.map_coordinates(clean, places, order=3, mode="mirror", output=np.float32)
    nearest = np.rint(places).astype(int)
    limits = np.array(lesson.image.shape)[:, None, None]
    outside = ((nearest < 0) | (nearest >= limits)).any(axis=0)
    row, column = np.clip(nearest, 0, limits - 1)
    image += draw_background(rng, drawn, constant, lesson.contrast)
    if rng.random() < 0.5:
        image = ndimage.gaussian_filter(image, rng.uniform(0.0, BLUR_LIMIT) * constant)
    slope, base = lesson.noise
    dose = float(np.exp(rng.uniform(*np.log(DOSE_RANGE))))
    variance = np.maximum(slope * image + base, 0.1 * max(base, 1e-6)) / dose
    image += np.sqrt(variance) * rng.standard_normal(drawn).astype(np.float32)
    ignore = outside | lesson.ignore[row, column]
    return _finish(image, warp.points(points), ignore, factor, shape)


def _planted(rng: np.random.Generator, lesson: Lesson) -> tuple[np.ndarray, np.ndarray]:
    """Crystal with defects in it, some where they were and some elsewhere; and where they are."""
    kept = rng.random(len(lesson.points)) < KEPT_SHARE
    points, heights = [lesson.points[kept]], [lesson.deviation[kept]]
    number = rng.poisson(rng.uniform(0.0, PLANTED_LIMIT) * len(lesson.sites))
    for which in rng.integers(len(lesson.points), size=number):
        like = np.flatnonzero(lesson.site_sublattice == lesson.sublattice[which])
        if len(like):
            points.append(lesson.sites[rng.choice(like)][None])
            heights.append(lesson.deviation[[which]] * rng.uniform(*STRENGTH_RANGE))
    place, height = np.concatenate(points), np.concatenate(heights)
    _, first = np.unique(np.round(place, 3), axis=0, return_index=True)
    clean = lesson.clean.copy()
    for (x, y), value in zip(place[first], height[first], strict=True):
        _add_column(clean, x, y, value, lesson.column_px)
    return clean, place[first]


def _add_column(image: np.ndarray, x: float, y: float, height: float, sigma: float) -> None:
    """Add a Gaussian column in place."""
    reach = int(np.ceil(4 * sigma))
    rows = np.arange(max(0, round(y) - reach), min(image.shape[0], round(y) + reach + 1))
    columns = np.arange(max(0, round(x) - reach), min(image.shape[1], round(x) + reach + 1))
    if len(rows) and len(columns):
        down = np.exp(-((rows - y) ** 2) / (2 * sigma**2))
        across = np.exp(-((columns - x) ** 2) / (2 * sigma**2))
        image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += height * np.outer(
            down, across
        )


def _finish(
    image: np.ndarray,
    points: np.ndarray,
    ignore: np.ndarray,
    factor: float,
    shape: tuple[int, int],
) -> Scene:
    """Condition and resample as a live frame would be, and cut to ``shape``."""
    conditioned = condition(image)
    if factor != 1.0:
        conditioned = rescale(conditioned, factor)
        points = (points + 0.5) * factor - 0.5
        ignore = rescale(ignore.astype(np.float32), factor) > 0.5
    rows, columns = shape
    inside = ((points >= -0.5) & (points < np.array([columns, rows]) - 0.5)).all(axis=1)
    window = slice(0, rows), slice(0, columns)
    species = np.full(int(inside.sum()), "unknown")
    return Scene(conditioned[window], points[inside], species, ignore[window])
