"""The lattice of one frame by the conventions of `lattice.Lattice`: vectors, phase and motif."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from latticewatch_kernels.bragg import BraggPeaks, find_lattice_and_harmonics
from latticewatch_kernels.harmonics import Harmonics, measure_harmonics
from latticewatch_kernels.lattice import HEXAGONAL_SITES, Array, Lattice

#: Points along a side of the unit cell on which the motif is looked at for its brightest column;
#: a multiple of 3, so that all three sites lie on the grid.
MOTIF_SIDE = 24

#: Below this difference of height, in units of sublattice 0, the two sublattices count as equal
#: (graphene) and the gauge is settled by direction alone.
EQUAL_HEIGHTS = 0.1

#: Rounds of site heights and phase in turn; the third changes the origin by less than 0.001 px.
PHASE_ROUNDS = 3


def register(image: Array, peaks: BraggPeaks | None = None) -> Lattice:
    """Find the lattice of an image: vectors, phase, and which column is which.

    Parameters
    ----------
    image
        (rows, columns) real; conditioned or raw.
    peaks
        What `bragg.find_lattice` found in it, where that is known already.

    Returns
    -------
    Lattice
        Sublattice 0 is the brightest column, the second-brightest stands at (1/3, 2/3). Where the
        two are equally high to 10 % (graphene) that choice is void: a1 is then the lattice vector
        within 30 degrees of +x.

    Raises
    ------
    NoLatticeError
        No hexagonal lattice stands out of the noise.
    """
    return registered(image, peaks)[0]


def registered(image: np.ndarray, peaks: BraggPeaks | None = None) -> tuple[Lattice, Harmonics]:
    """Give what `register` gives, and the harmonics that it was found from."""
    if peaks is None:
        found, harmonics = find_lattice_and_harmonics(image)
    else:
        found, harmonics = peaks, measure_harmonics(image, peaks.reciprocal)
    significance = float(found.significance[found.indexed].max(initial=0.0))
    shape = (image.shape[0], image.shape[1])
    return from_harmonics(harmonics, found.reciprocal, significance, shape), harmonics


def from_harmonics(
    harmonics: Harmonics, reciprocal: np.ndarray, significance: float, shape: tuple[int, int]
) -> Lattice:
    """Give the lattice of a frame of (rows, columns) by its harmonics, as `register` has it.

    ``reciprocal`` is that of `bragg.BraggPeaks`.
    """
    vectors = np.linalg.inv(reciprocal).T
    brightest = _brightest_place(harmonics)
    # Vectors about 60 degrees apart in reciprocal space are about 120 degrees apart in real space.
    lattice = Lattice(
        a1=_pair(vectors[0]),
        a2=_pair(vectors[1]),
        origin=_pair(brightest @ vectors),
        significance=significance,
    )
    lattice = _refine(lattice, harmonics, reciprocal)
    lattice = _settle_gauge(lattice, harmonics)
    return _origin_near_centre(lattice, shape)


def drift(before: Lattice, now: Lattice) -> np.ndarray:
    """Shift (x, y) in pixels of the lattice from one frame to the next, modulo the lattice.

    Of all shifts that differ by a lattice vector the shortest is given; a specimen that moves by
    more than half a lattice constant a frame needs a prediction from the frames before.
    """
    gap = now.to_fractional(np.array(before.origin))
    gap = -(gap - np.rint(gap))
    corners = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 2)
    shifts = (gap + corners) @ now.matrix.T
    return np.asarray(shifts[np.argmin(np.hypot(*shifts.T))])


def site_heights(lattice: Lattice, harmonics: Harmonics) -> np.ndarray:
    """Motif at the three sites, (3,), arbitrary zero: differences are those of the columns.

    Every site has three neighbours of each other kind, so tails of the probe add the same multiple
    of a height to each site and differences stay in proportion.
    """
    places = lattice.to_pixels(HEXAGONAL_SITES)
    waves = np.exp(2j * np.pi * places @ harmonics.nodes.T)
    return np.asarray(2.0 * (waves * harmonics.amplitudes).real.sum(1))


def _pair(vector: np.ndarray) -> tuple[float, float]:
    return float(vector[0]), float(vector[1])


def _brightest_place(harmonics: Harmonics) -> np.ndarray:
    """Fractional place, on a grid, of the brightest column."""
    grid = np.arange(MOTIF_SIDE) / MOTIF_SIDE
    # exp(2 pi i (h u + k v)) splits into a product of a row and a column
    along_u, along_v = (np.exp(2j * np.pi * np.outer(grid, index)) for index in harmonics.indices.T)
    motif = ((along_u * harmonics.amplitudes) @ along_v.T).real
    u, v = np.unravel_index(np.argmax(motif), motif.shape)
    return np.array([grid[u], grid[v]])


def _refine(lattice: Lattice, harmonics: Harmonics, reciprocal: np.ndarray) -> Lattice:
    """Move the origin so that the phases agree with columns that stand on the three sites."""
    site_waves = np.exp(-2j * np.pi * HEXAGONAL_SITES @ harmonics.indices.T)
    for _ in range(PHASE_ROUNDS):
        heights = site_heights(lattice, harmonics)
        structure = (heights - heights.min()) @ site_waves
        expected = structure * np.exp(-2j * np.pi * harmonics.nodes @ np.array(lattice.origin))
        phase = np.angle(harmonics.amplitudes * expected.conj())
        weight = np.abs(harmonics.amplitudes * expected)
        design = -2.0 * np.pi * harmonics.indices
        weighted = design.T * weight
        step = np.linalg.solve(weighted @ design, weighted @ phase)
        moved = np.array(lattice.origin) + step @ np.linalg.inv(reciprocal).T
        lattice = replace(lattice, origin=_pair(moved))
    return lattice


def _settle_gauge(lattice: Lattice, harmonics: Harmonics) -> Lattice:
    """Turn (a1, a2) by a multiple of 60 degrees to the choice that the conventions demand."""
    best = _nearest_to_x(lattice, harmonics)
    if best.heights[1] < 1.0 - EQUAL_HEIGHTS or abs(best.rotation) <= 30.0:
        return best
    # Two equal sublattices: from the other one the lattice looks the same turned by 60 degrees.
    other = replace(best, origin=_pair(best.to_pixels(HEXAGONAL_SITES[1])))
    return _nearest_to_x(other, harmonics)


def _nearest_to_x(lattice: Lattice, harmonics: Harmonics) -> Lattice:
    """Of the three choices with the second-brightest column at (1/3, 2/3), a1 nearest to +x."""
    a1, a2 = np.array(lattice.a1), np.array(lattice.a2)
    ring = [a1, a1 + a2, a2, -a1, -a1 - a2, -a2]
    choices = []
    for k in range(6):
        turned = replace(lattice, a1=_pair(ring[k]), a2=_pair(ring[(k + 2) % 6]))
        level = site_heights(turned, harmonics)
        level = (level - level.min()) / (level[0] - level.min())
        if level[1] > level[2]:
            heights = (float(level[0]), float(level[1]), float(level[2]))
            choices.append(replace(turned, heights=heights))
    return min(choices, key=lambda choice: abs(choice.rotation))


def _origin_near_centre(lattice: Lattice, shape: tuple[int, int]) -> Lattice:
    """Cell (0, 0) is the one whose brightest column is nearest to the frame's centre."""
    centre = np.array([0.5 * (shape[1] - 1), 0.5 * (shape[0] - 1)])
    base = np.rint(lattice.to_fractional(centre))
    corners = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 2)
    places = lattice.to_pixels(base + corners)
    return replace(lattice, origin=_pair(places[np.argmin(np.hypot(*(places - centre).T))]))
