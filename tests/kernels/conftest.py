"""Synthetic crystals whose truth is known, made without any of the kernels under test."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from latticewatch_kernels.lattice import HEXAGONAL_SITES, Lattice


def hexagonal(
    constant: float,
    rotation: float,
    origin: tuple[float, float] = (0.0, 0.0),
    strain: np.ndarray | None = None,
) -> Lattice:
    """A lattice of given constant (px), rotation (degrees) and linear distortion (2, 2)."""
    angle = np.radians([rotation, rotation + 120.0])
    vectors = constant * np.stack([np.cos(angle), np.sin(angle)], 1)
    if strain is not None:
        vectors = vectors @ np.asarray(strain).T
    return Lattice(a1=tuple(vectors[0]), a2=tuple(vectors[1]), origin=origin)


@dataclass
class Crystal:
    """A drawn crystal: its image and where its columns stand."""

    image: np.ndarray
    lattice: Lattice
    cells: np.ndarray
    sublattice: np.ndarray
    points: np.ndarray
    intensity: np.ndarray
    changed: np.ndarray = field(default_factory=lambda: np.zeros(0, int))


def all_sites(
    lattice: Lattice, shape: tuple[int, int], margin: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells, sublattices and places of every site within ``margin`` px around the frame."""
    corners = np.array([[0, 0], [shape[1], 0], [0, shape[0]], [shape[1], shape[0]]], float)
    reach = np.abs(lattice.to_fractional(corners)).max() + margin / lattice.constant * 2 + 2
    span = np.arange(-int(reach), int(reach) + 1)
    cells = np.stack(np.meshgrid(span, span), -1).reshape(-1, 2)
    cells = np.repeat(cells, len(HEXAGONAL_SITES), axis=0)
    sublattice = np.tile(np.arange(3), len(cells) // 3)
    points = lattice.site_positions(cells, sublattice)
    inside = (
        (points > -margin).all(1)
        & (points[:, 0] < shape[1] + margin)
        & (points[:, 1] < shape[0] + margin)
    )
    return cells[inside], sublattice[inside], points[inside]


def draw(
    shape: tuple[int, int], points: np.ndarray, intensity: np.ndarray, sigma: float
) -> np.ndarray:
    """Sum of Gaussians of peak ``intensity``, exact at pixel centres, float64."""
    image = np.zeros(shape)
    reach = int(np.ceil(5 * sigma))
    steps = np.arange(-reach, reach + 1)
    lit = intensity != 0
    for (x, y), height in zip(points[lit], intensity[lit], strict=True):
        columns = round(x) + steps
        rows = round(y) + steps
        columns = columns[(columns >= 0) & (columns < shape[1])]
        rows = rows[(rows >= 0) & (rows < shape[0])]
        if columns.size and rows.size:
            across = np.exp(-((columns - x) ** 2) / (2 * sigma**2))
            down = np.exp(-((rows - y) ** 2) / (2 * sigma**2))
            image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += height * np.outer(
                down, across
            )
    return image


def make_crystal(
    shape: tuple[int, int] = (256, 256),
    *,
    constant: float = 10.5,
    rotation: float = 7.0,
    origin: tuple[float, float] = (0.3, 0.7),
    strain: np.ndarray | None = None,
    heights: tuple[float, float, float] = (1.0, 0.15, 0.0),
    sigma: float | None = None,
    counts: float = 0.0,
    background: float = 0.05,
    changes: dict[int, list[float]] | None = None,
    hole: tuple[float, float, float] | None = None,
    seed: int = 1,
) -> Crystal:
    """Draw a crystal.

    ``changes`` lists, by sublattice, intensities that take the place of as many host columns drawn
    at random, no two within three lattice constants. ``hole`` is (x, y, radius) without columns.
    ``counts`` is the mean number of electrons at the peak of a column of intensity 1 (Poisson
    noise); 0 for none.
    """
    rng = np.random.default_rng(seed)
    lattice = hexagonal(constant, rotation, origin, strain)
    sigma = sigma if sigma is not None else 0.135 * constant
    cells, sublattice, points = all_sites(lattice, shape, 5 * sigma)
    intensity = np.asarray(heights)[sublattice].astype(float)
    changed = _change(rng, shape, constant, sublattice, points, intensity, changes or {})
    image_hole = np.zeros(len(points), bool)
    if hole is not None:
        image_hole = np.hypot(points[:, 0] - hole[0], points[:, 1] - hole[1]) < hole[2]
        intensity[image_hole] = 0.0
    image = draw(shape, points, intensity, sigma) + background
    if hole is not None:
        y, x = np.indices(shape)
        image[np.hypot(x - hole[0], y - hole[1]) < hole[2]] -= background
        image = np.maximum(image, 0.0)
    if counts:
        image = rng.poisson(image * counts) / counts
    return Crystal(image, lattice, cells, sublattice, points, intensity, changed)


def _change(
    rng: np.random.Generator,
    shape: tuple[int, int],
    constant: float,
    sublattice: np.ndarray,
    points: np.ndarray,
    intensity: np.ndarray,
    changes: dict[int, list[float]],
) -> np.ndarray:
    """Change sites in place; return which."""
    margin = 1.5 * constant
    free = (points > margin).all(1) & (points < np.array(shape[::-1]) - margin).all(1)
    changed = []
    for site, values in changes.items():
        for value in values:
            index = int(rng.choice(np.flatnonzero(free & (sublattice == site))))
            intensity[index] = value
            changed.append(index)
            free &= np.hypot(*(points - points[index]).T) > 3 * constant
    return np.array(changed, int)


def modulo_lattice(lattice: Lattice, gap: np.ndarray) -> np.ndarray:
    """Shortest vector(s) that differ from ``gap`` by a lattice vector."""
    fractional = np.atleast_2d(gap) @ np.linalg.inv(lattice.matrix).T
    fractional -= np.rint(fractional)
    corners = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 1, 2)
    options = (fractional + corners) @ lattice.matrix.T
    lengths = np.hypot(options[..., 0], options[..., 1])
    return options[np.argmin(lengths, 0), np.arange(options.shape[1])]


@pytest.fixture(scope="session")
def tungsten_disulphide() -> Crystal:
    """A noisy 256-px frame of WS2 without defects."""
    return make_crystal(counts=30.0)


@pytest.fixture(scope="session")
def synthesis() -> SimpleNamespace:
    """The functions above, for tests that draw crystals of their own."""
    return SimpleNamespace(
        crystal=make_crystal,
        hexagonal=hexagonal,
        sites=all_sites,
        draw=draw,
        modulo=modulo_lattice,
    )
