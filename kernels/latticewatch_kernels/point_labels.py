"""From labelled pixels to labelled points: defects on sites, told from holes and contamination."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from latticewatch_kernels.columns import site_intensity
from latticewatch_kernels.conditioning import block_means
from latticewatch_kernels.labelling import LABEL_SIGMAS, Labels
from latticewatch_kernels.lattice import Lattice
from latticewatch_kernels.localisation import find_peaks
from latticewatch_kernels.order import OrderMap, enlarge
from latticewatch_kernels.sampling import bilinear

#: Significance from which on a site is in doubt: of 400 sites without a defect 5 are.
DOUBT_SIGMAS = 2.5

#: A point defect's peak lies this near to its site, in lattice constants; peaks farther off are in
#: doubt. On simulated frames of 1,600 electrons a pixel 99.8 % of the dopants lie nearer.
SITE_REACH = 0.25

#: Of maxima nearer than this, in lattice constants, the greater is kept; sites are 0.577 apart.
PEAK_DISTANCE = 0.4

#: A connected area of one sign that covers more than this many unit cells is no point defect: a
#: single column of 17 standard deviations covers 0.4.
EXTENDED_CELLS = 1.5

#: Local mean, in units of the crystal's above the empty site, from which on there is something
#: on or under the crystal. An adatom raises its cell of the order map by about 0.07.
CONTAMINATED_LEVEL = 1.35

#: What lies within this distance of a hole, of contamination or of disorder is left undecided;
#: lattice constants.
RIM_CELLS = 0.9

#: Local Bragg amplitude, crystalline level 1, below which the scan jumped or several columns are
#: gone: the periodic part does not follow there. A missing column takes 0.14 off it.
SOUND_AMPLITUDE = 0.65

#: Standard deviation of the window, in lattice constants, over which the residual's own spread is
#: taken, and the significance at which it is clipped, so that defects do not count as noise.
LOCAL_CELLS, LOCAL_CLIP = 2.0, 2.5

#: Blocks of pixels to a standard deviation of that window. Sites of 12 simulated frames read 0.1 to
#: 0.3 % differently than from pixels (root mean square; 1.3 % at most), in 1.5 for 11.5 ms.
BLOCKS_PER_SIGMA = 5


@dataclass(frozen=True)
class PointLabels:
    """Point labels of one frame; n defects, m sites in doubt.

    Attributes
    ----------
    points
        (n, 2) pixels (x, y): the defects' sites, displaced as the scan is there; surest first.
    significance
        (n,) by how many standard deviations the column differs; negative where it is darker.
    cells, sublattice
        (n, 2) and (n,): the sites.
    doubtful
        (m, 2) pixels: sites that may or may not hold a defect.
    hole, contamination, disorder
        bool, of the frame's shape: no specimen; something bright on it; order lost or several
        columns gone, but no hole.
    untold
        bool: contamination so uneven, or disorder, that no point defect can be told in it. Where
        the crystal shows through an even film it can.
    """

    points: np.ndarray
    significance: np.ndarray
    cells: np.ndarray
    sublattice: np.ndarray
    doubtful: np.ndarray
    hole: np.ndarray
    contamination: np.ndarray
    disorder: np.ndarray
    untold: np.ndarray

    def ignore(self, lattice: Lattice) -> np.ndarray:
        """Pixels about which the labels say nothing, bool: rims, untold areas, sites in doubt.

        The inside of a hole is not among them: it holds no point defect for certain.
        """
        silent = _grown(self.untold, RIM_CELLS * lattice.constant)
        silent |= _grown(self.hole, RIM_CELLS * lattice.constant) & ~self.hole
        rows, columns = silent.shape
        reach = PEAK_DISTANCE * lattice.constant
        for x, y in self.doubtful:
            top, left = max(0, int(y - reach)), max(0, int(x - reach))
            bottom, right = min(rows, int(y + reach) + 2), min(columns, int(x + reach) + 2)
            down, across = np.ogrid[top:bottom, left:right]
            silent[top:bottom, left:right] |= (across - x) ** 2 + (down - y) ** 2 <= reach**2
        return silent


def points_of_labels(
    labels: Labels,
    lattice: Lattice,
    threshold: float = LABEL_SIGMAS,
    doubt: float = DOUBT_SIGMAS,
) -> PointLabels:
    """Find the point defects among labelled pixels.

    Peaks of the significance map are put on their sites, and each site is judged by its column's
    intensity against the spread over the frame's own columns, and against the residual's spread
    around it, which rises where the scan jumped or something lies on the crystal.

    Parameters
    ----------
    labels, lattice
        `labelling.label` of a frame and its lattice.
    threshold, doubt
        Standard deviations from which a site holds a defect, and from which it may.

    Returns
    -------
    PointLabels
        On the host.

    Raises
    ------
    ValueError
        The threshold does not exceed `doubt`, or `doubt` is not positive.
    """
    if not 0.0 < doubt < threshold:
        raise ValueError(
            f"threshold {threshold:g} and doubt {doubt:g} standard deviations: "
            "give a threshold above the doubt, and a doubt above 0"
        )
    z, hole = labels.z, labels.hole
    contamination, disorder, untold = _areas(labels.order, lattice, threshold, z, hole)
    cells, sublattice, gap, height = _candidates(labels, lattice, z, doubt)
    sites = lattice.site_positions(cells, sublattice)
    sites = sites + labels.order.displacement_at(sites)
    usable, (rows, columns) = _usable(sites, untold | hole, lattice)
    amplitude = enlarge(labels.order.amplitude, labels.order.stride, z.shape)
    sound = gap <= SITE_REACH * lattice.constant
    sound &= amplitude[rows, columns] >= SOUND_AMPLITUDE
    significance = _significance(labels, lattice, cells, sublattice)
    significance /= _local_spread(z, lattice.constant, rows, columns)
    size = np.abs(significance)
    told = sound & (size >= threshold)
    sure = np.flatnonzero(usable & told)
    sure = sure[np.argsort(-size[sure], kind="stable")]
    unsure = usable & ~told & ((size >= doubt) | (height >= threshold))
    return PointLabels(
        sites[sure],
        significance[sure],
        cells[sure],
        sublattice[sure],
        sites[unsure],
        hole,
        contamination,
        disorder,
        untold,
    )


def _usable(
    sites: np.ndarray, left_out: np.ndarray, lattice: Lattice
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Which sites (n, 2) are in view and clear of what is left out, and the pixel of each."""
    shape = left_out.shape
    inside = ((sites >= -0.5) & (sites < np.array(shape[::-1]) - 0.5)).all(axis=1)
    rows, columns = (
        np.clip(np.rint(sites[:, axis]).astype(int), 0, shape[1 - axis] - 1) for axis in (1, 0)
    )
    # what is bright takes the local mean up with it, and leaves a shadow around it
    clear = ~_grown(left_out, RIM_CELLS * lattice.constant)[rows, columns]
    return inside & clear, (rows, columns)


def _candidates(
    labels: Labels, lattice: Lattice, z: np.ndarray, doubt: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cells, sublattice, distance of the peak and its height, of each site that a peak lies on.

    Of several peaks on one site the highest speaks.
    """
    peaks, height = find_peaks(np.abs(z), doubt, PEAK_DISTANCE * lattice.constant)
    cells, sublattice, gap = lattice.nearest_site(peaks - labels.order.displacement_at(peaks))
    _, first = np.unique(np.column_stack([cells, sublattice]), axis=0, return_index=True)
    chosen = np.sort(first)
    return cells[chosen], sublattice[chosen], gap[chosen], height[chosen]


def _significance(
    labels: Labels, lattice: Lattice, cells: np.ndarray, sublattice: np.ndarray
) -> np.ndarray:
    """Deviation of columns from their host over its standard deviation, (n,)."""
    columns = labels.columns
    deviation = site_intensity(labels, lattice, cells, sublattice) - columns.host[sublattice]
    # An empty site has little counting noise, but jitter carries its neighbours' into it.
    noise = columns.noise_by_site.copy()
    noise[2] = max(noise[1], noise[2])
    return np.asarray(deviation / noise[sublattice], float)


def _local_spread(
    z: np.ndarray, constant: float, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Root mean square of the clipped significance around each of n pixels, at least 1; (n,)."""
    sigma = LOCAL_CELLS * constant
    block = max(1, int(sigma / BLOCKS_PER_SIGMA))
    clipped = np.minimum(z * z, LOCAL_CLIP**2)
    # mirrored pixel by pixel before blocks are made, whose border is not the frame's
    reach = block * int(np.ceil(2.0 * sigma / block))
    pads = [(reach, reach + -side % block) for side in z.shape]
    blocks = block_means(np.pad(clipped, pads, mode="symmetric"), block)
    mean = ndimage.gaussian_filter(blocks, sigma / block, mode="nearest", truncate=2.0)
    x, y = ((place + reach + 0.5) / block - 0.5 for place in (columns, rows))
    local = bilinear(mean, x, y)
    return np.asarray(np.sqrt(np.maximum(local, 1.0)))


def _areas(
    order: OrderMap, lattice: Lattice, threshold: float, z: np.ndarray, hole: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contamination and disorder (none on another or in a hole), and where no point can be told."""
    shape = (z.shape[0], z.shape[1])
    lost = enlarge(~order.crystalline & ~order.hole, order.stride, shape) > 0.5
    raised = enlarge(order.level, order.stride, shape) > CONTAMINATED_LEVEL
    least = EXTENDED_CELLS * lattice.cell_area
    bright = _large(z > threshold, least)
    dark = _large(z < -threshold, least)
    contamination = (bright | _large(raised, least)) & ~hole
    disorder = (dark | lost) & ~hole & ~contamination
    return contamination, disorder, (bright & ~hole) | disorder


def _large(mask: np.ndarray, least: float) -> np.ndarray:
    """Keep connected areas of at least so many pixels."""
    parts, _ = ndimage.label(mask, structure=np.ones((3, 3), int))
    size = np.bincount(parts.ravel())
    size[0] = 0
    large = size >= least
    return np.asarray(large[parts]) if large.any() else np.zeros(mask.shape, bool)


def _grown(mask: np.ndarray, reach: float) -> np.ndarray:
    """Every pixel within ``reach`` of the mask."""
    if not mask.any():
        return mask.copy()
    return np.asarray(ndimage.distance_transform_edt(~mask) <= reach)
