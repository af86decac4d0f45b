"""How far metal columns stand off the sites of the crystal around them, in fractions of a pixel.

Weighted least squares of one Gaussian column on an even background, linearised about its place: to
first order a column of height h that moved by d adds ``-h (d . grad) profile`` to the image (for
counting noise that is the maximum likelihood, e.g. Mortensen et al., Nat. Methods 7, 377 (2010)).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from latticewatch_kernels.column_fit import Columns, Windows, disc, fit_columns
from latticewatch_kernels.labelling import Labels
from latticewatch_kernels.lattice import Lattice
from latticewatch_kernels.noise import NoiseLine, fit_noise_line

#: A column of sublattice 0 and its six neighbours on it, these by their angle from a1 (from +x
#: towards +y) in the perfect crystal; cells from the first, (7, 2).
SEVEN_CELLS = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [-1, 0], [-1, -1], [0, -1]], np.int32)

#: Radius of the pixels that a column is fitted to, in distances to the nearest other site: half way
#: to the chalcogen columns, 2.5 standard deviations of a typical probe.
WINDOW = 0.5

#: Gauss-Newton steps of the fit. A noiseless column a third of its width off its site is told wrong
#: by 0.016 px after the first and by less than 0.001 px after the second.
STEPS = 2

#: A column lower than this, in units of the host's, or than this many of its standard errors, is
#: missing: nothing can be said of its place.
LEAST_HEIGHT, LEAST_SIGNIFICANCE = 0.15, 3.0

#: Columns farther off than this, lattice constants, are no columns of this site.
LONGEST = 0.2

#: Host columns across and down the frame that tell the noise over the intensity (dopants would make
#: it steeper) and on which errors are calibrated: 100 tell a spread to 12 %.
REFERENCES = 10

#: The spread of these is not believed to be less than this part of what counting noise gives.
LEAST_SPREAD = 0.5

#: Standard deviation, in host columns, that no pixel is better than: frames without noise.
LEAST_NOISE = 1e-3

#: Every pixel counts alike.
EVEN = NoiseLine(0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Displacements:
    """Displacement of a column and of its six neighbours from their sites; n of them.

    Attributes
    ----------
    shift
        float32 (n, 7, 2) pixels (x, y), in the order of `SEVEN_CELLS`, from where the frame's own
        periodic part has the column: the local average over 2 lattice constants, distortion of the
        scan included. NaN where the column is missing, in a hole or at the frame's border.
    error
        float32 (n, 7, 2), its standard error: that of counting noise, scaled along each axis to the
        spread that the frame's host columns show (scan lines that could not be put back widen x).
    """

    shift: np.ndarray
    error: np.ndarray

    def take(self, index: np.ndarray) -> Displacements:
        """Return the chosen ones in that order; -1 stands for one that was not measured."""
        blank = np.full((1, len(SEVEN_CELLS), 2), np.nan, np.float32)
        return Displacements(*(np.concatenate([p, blank])[index] for p in (self.shift, self.error)))


def column_displacements(labels: Labels, lattice: Lattice, cells: np.ndarray) -> Displacements:
    """Measure columns of sublattice 0 and their six neighbours.

    What other columns add is taken out with the periodic part.

    Parameters
    ----------
    labels, lattice
        `labelling.label` of a frame and its lattice.
    cells
        (n, 2), the columns in the middle.
    """
    return ColumnsInView.of(labels, lattice, cells).displacements(labels)


@dataclass(frozen=True)
class ColumnsInView:
    """Columns to be fitted, each with the pixels around it.

    Attributes
    ----------
    cells
        Columns that are asked for; of ``m`` in all, the others are host columns and neighbours.
    hosts
        The first so many of all are mostly host columns, whose pixels tell the noise.
    chosen
        Numbers (k,) of those whose pixels lie inside the frame.
    place
        (k, p) the pixels, as indices into the flattened frame.
    windows
        The same, from where each column is expected.
    host
        Height of a host column in units of the frame.
    limit
        Displacement in pixels beyond which a column is none of its site.
    """

    cells: int
    hosts: int
    chosen: np.ndarray
    place: np.ndarray
    windows: Windows
    host: float
    limit: float

    @classmethod
    def of(cls, labels: Labels, lattice: Lattice, cells: np.ndarray) -> ColumnsInView:
        """Choose the pixels for columns of sublattice 0 at cells (n, 2)."""
        cells = np.asarray(cells, int).reshape(-1, 2)
        hosts = _reference_cells(lattice, labels.residual.shape)
        wanted = (cells[:, None, :] + SEVEN_CELLS).reshape(-1, 2)
        every = np.concatenate([hosts, wanted]) if len(cells) else wanted
        points = lattice.site_positions(every, np.zeros(len(every), int))
        points = points + labels.order.displacement_at(points)
        pixels = disc(WINDOW * lattice.constant / np.sqrt(3.0))
        base, shape = np.rint(points).astype(int), labels.residual.shape
        last = np.array(shape[::-1]) - 1 - pixels.max()
        chosen = np.flatnonzero(((base >= pixels.max()) & (base <= last)).all(axis=1))
        base, points = base[chosen], points[chosen]
        around = pixels[:, 1] * shape[1] + pixels[:, 0]
        return cls(
            len(cells),
            len(every) - len(wanted),
            chosen,
            (base[:, 1] * shape[1] + base[:, 0])[:, None] + around,
            Windows.around(points, base, pixels, labels.columns.sigma),
            2.0 / (labels.columns.unit * float(labels.columns.host[0])),
            LONGEST * lattice.constant,
        )

    def displacements(self, labels: Labels) -> Displacements:
        """Fit the columns."""
        images = (labels.residual, labels.periodic, labels.hole)
        residual, periodic, hole = (image.reshape(-1).take(self.place) for image in images)
        hosts = self.hosts
        shift, error = self._fitted(residual, periodic, np.asarray(hole.any(axis=1)))
        z = np.abs(shift[:hosts] / error[:hosts])
        z = z[np.isfinite(z).all(axis=1)]
        if len(z):
            error *= np.maximum(1.4826 * np.median(z, axis=0), LEAST_SPREAD)
        parts = (shift[hosts:], error[hosts:])
        return Displacements(*(part.reshape(-1, 7, 2).astype(np.float32) for part in parts))

    def _fitted(
        self, residual: np.ndarray, periodic: np.ndarray, empty: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Displacement and its standard error by counting noise alone, (m, 2); NaN where none."""
        host, windows, chosen = self.host, self.windows, self.chosen
        # where the frame's own average has the column, which is what the column is held against
        start = Columns.at_middle(len(chosen), host)
        crystal, _ = fit_columns(windows, periodic, start, EVEN, host, 1)
        target = residual + windows.drawn(crystal)[0]
        plain = (chosen < self.hosts) & ~empty
        line = _noise(residual[plain], periodic[plain], host)
        found, deviation = fit_columns(windows, target, crystal, line, LEAST_HEIGHT * host, STEPS)
        moved = found.place - crystal.place
        least = np.maximum(LEAST_HEIGHT * host, LEAST_SIGNIFICANCE * deviation[:, 2])
        sound = (found.height > least) & (np.hypot(*moved.T) < self.limit) & ~empty
        shift, error = np.full((2, self.hosts + 7 * self.cells, 2), np.nan)
        shift[chosen[sound]], error[chosen[sound]] = moved[sound], deviation[sound, :2]
        return shift, error


def _reference_cells(lattice: Lattice, shape: tuple[int, ...]) -> np.ndarray:
    """Cells (m, 2) spread evenly over the frame."""
    span = (np.arange(REFERENCES) + 0.5) / REFERENCES
    x, y = np.meshgrid(span * shape[1], span * shape[0])
    fractional = lattice.to_fractional(np.stack([x.ravel(), y.ravel()], -1))
    return np.asarray(np.rint(fractional).astype(int))


def _noise(residual: np.ndarray, periodic: np.ndarray, host: float) -> NoiseLine:
    """Line of noise of host columns' own pixels, (m, k) each; flat where there are none."""
    least = (LEAST_NOISE * host) ** 2
    if not len(residual):
        return NoiseLine(0.0, least, least)
    line = fit_noise_line(residual.ravel(), periodic.ravel())
    return replace(line, least=max(line.least, least))
