"""Which share of a frame's area is crystal, disorder and hole, from maps of local order.

A share that is counted in cells of such a map is wrong by as much of each border as the map is
blurred. What a blur does not change is the sum: the Bragg amplitude that a region lacks, added up
over the region and its surroundings, is its area.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

#: Area fractions of a frame that is crystal everywhere.
WHOLE = np.array([1.0, 0.0, 0.0])

#: Bragg amplitude, crystal 1, below which more is missing than point defects: what a hole with a
#: radius of 1.0 lattice constants leaves at its middle, and two metal vacancies side by side 0.76.
LESS_ORDER = 0.6

#: How far, in lattice constants, around such cells amplitude is missing: two standard deviations of
#: the average that the maps are.
REACH = 2.0

#: Standard deviation, lattice constants, of the average of the crystal's waves that a place's own
#: wave is held against: twice that of the maps, as slow as the distortion of a scan is.
REFERENCE = 2.0

#: Texture, in units of the amplitude that is missing (crystal 1 of both), below which matter is
#: missing too. On simulated frames of 0.03 and 0.06 nm a pixel holes keep 0.1 to 0.5 of it, for
#: their borders are a little rough, and columns at random have 1.3 to 1.9, for they overlap.
LEAST_TEXTURE = 0.9

#: Cells of undisturbed crystal that are enough to tell its level; where fewer are left, the most
#: crystalline are taken, as many as `QUANTILE` leaves.
LEAST_CELLS, QUANTILE = 20, 0.85

#: Square of a distance, cells, that stands for any beyond reach.
FAR = 2**14


def area_fractions(
    waves: np.ndarray, amplitude: np.ndarray, texture: np.ndarray, cell: float
) -> np.ndarray:
    """Crystalline, disordered and hole fraction of the area, float64 (3,).

    Amplitude is measured along the crystal's own waves near by, so that what is random in a
    disordered region cancels. Disorder is told from holes by its texture, since contamination may
    make a hole as bright as the crystal but not as rough.

    Parameters
    ----------
    waves
        Complex (3, h, w): local amplitude and phase of the first Bragg ring's waves.
    amplitude
        (h, w) their root-mean-square modulus, crystalline level about 1.
    texture
        (h, w) local variance of the image without its noise, any unit.
    cell
        Cells of these maps to a lattice constant.
    """
    seed = amplitude < LESS_ORDER
    if not seed.any():
        return WHOLE
    distance = _squared_distance(seed, REACH * cell)
    around = distance <= (REACH * cell) ** 2
    order = _along(waves, np.where(seed, 0.0, 1.0), REFERENCE * cell)
    inner = ~around
    if inner.sum() < LEAST_CELLS:
        inner = order >= np.quantile(order, QUANTILE)
    order, matter = order / order[inner].mean(), texture / texture[inner].mean(dtype=float)
    # borders are a little rough by themselves: what lacks most decides for its surroundings
    lacking, rough = (
        ndimage.gaussian_filter(np.where(seed, part, 0.0), cell)
        for part in (1.0 - order, matter - order)
    )
    hole = _squared_distance(seed & (rough < LEAST_TEXTURE * lacking), REACH * cell) <= distance
    missing = 1.0 - order
    return fractions_of(
        *(float(missing[around & where].sum()) / missing.size for where in (~hole, hole))
    )


def fractions_of(disordered: float, empty: float) -> np.ndarray:
    """Crystalline, disordered and hole fraction, float64 (3,), by what part of it all is missing.

    What noise takes below nothing, or above all, is cut off.
    """
    disordered, empty = (min(max(part, 0.0), 1.0) for part in (disordered, empty))
    total = max(disordered + empty, 1.0)
    disordered, empty = disordered / total, empty / total
    return np.array([1.0 - disordered - empty, disordered, empty])


def _squared_distance(cells: np.ndarray, reach: float) -> np.ndarray:
    """Square of the distance (h, w) to the nearest of some cells; `FAR` or more where none is near.

    Along rows and columns one after the other: within a reach of a few cells that is faster than a
    transform of the whole map, and nearest cells that are equally near need no choice.
    """
    steps, (high, wide) = int(reach), cells.shape
    squares = np.arange(-steps, steps + 1, dtype=np.int16) ** 2
    padded = np.full((high + 2 * steps, wide + 2 * steps), FAR, np.int16)
    padded[steps : steps + high, steps : steps + wide][cells] = 0
    lines = padded[:high] + squares[0]
    for k in range(1, 2 * steps + 1):
        np.minimum(lines, padded[k : k + high] + squares[k], out=lines)
    nearest = lines[:, :wide] + squares[0]
    for k in range(1, 2 * steps + 1):
        np.minimum(nearest, lines[:, k : k + wide] + squares[k], out=nearest)
    return np.asarray(nearest)


def _along(waves: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Amplitude (h, w) of the waves along their weighted local average."""

    def averaged(part: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(part * weight, sigma))

    reference = np.stack([averaged(wave.real) + 1j * averaged(wave.imag) for wave in waves])
    size = np.sqrt((np.abs(reference) ** 2).sum(axis=0))
    along = (waves * reference.conj()).real.sum(axis=0)
    return np.asarray(along / np.maximum(size, np.finfo(np.float32).tiny), float)
