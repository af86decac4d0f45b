"""The simulated microscope: a movie of a specimen that changes, with its truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from latticewatch_models.contamination import Contamination, grained
from latticewatch_models.crystal import Crystal, crystal_named
from latticewatch_models.imaging import render_columns
from latticewatch_models.kinetics import Kinetics
from latticewatch_models.recording import Recorder
from latticewatch_models.settings import ImagingConfig, SpecimenConfig
from latticewatch_models.specimen import kinds_of, place_defects, site_table
from latticewatch_models.truth import Truth
from latticewatch_models.view import (
    RIM_NM,
    cell_window,
    drift_matrix,
    lattice_of,
    lattice_vectors,
    look,
)

__all__ = ["Columns", "ImagingConfig", "Microscope", "SimulatedFrame", "SpecimenConfig"]

#: Supercells come in steps of this many cells, so that few neighbour tables are ever built.
SUPERCELL_STEP = 4

#: Width of contamination's grain, in standard deviations of the probe's core: the probe blurs
#: whatever the carbon atoms do.
GRAIN_WIDTH = 1.5


@dataclass(frozen=True)
class Columns:
    """Every column that shines inside a frame; m of them.

    Attributes
    ----------
    points
        (m, 2), pixels.
    sublattice
        (m,).
    weight
        (m,), intensity in units of the host column of sublattice 0.
    """

    points: np.ndarray
    sublattice: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class SimulatedFrame:
    """One frame as acquired, its truth, and what the publisher's header says of it.

    Attributes
    ----------
    image
        (rows, columns), counts; uint16 or float32 as the detector was set.
    truth, columns
        Defects and lattice; all atomic columns.
    header
        ``pixel_size_nm, frame_time_s, dose_e_per_A2``.
    expected
        (rows, columns) float32, mean electrons in each pixel, before the detector drew any.
    row_shift_px
        (rows,) scan-line jitter: how far each row was written to the right.
    """

    image: np.ndarray
    truth: Truth
    columns: Columns
    header: dict[str, float]
    expected: np.ndarray = field(repr=False)
    row_shift_px: np.ndarray = field(repr=False)

    @property
    def seq(self) -> int:
        """Number of the frame in its movie, from 0."""
        return self.truth.frame

    @property
    def time_s(self) -> float:
        """Start of the acquisition, seconds from the start of the movie."""
        return self.truth.time_s


class Microscope:
    """An endless, reproducible movie; iterating yields `SimulatedFrame`.

    Parameters
    ----------
    crystal
        Name in `CRYSTALS`, or a `Crystal`.
    shape
        (rows, columns) of a frame.
    seed
        The same seed and settings give the same movie, bit for bit.
    specimen, imaging
        Settings.

    Raises
    ------
    ValueError
        The crystal is not known, or a frame is less than four cells wide.
    """

    def __init__(
        self,
        crystal: str | Crystal = "WS2",
        shape: tuple[int, int] = (256, 256),
        seed: int = 0,
        specimen: SpecimenConfig | None = None,
        imaging: ImagingConfig | None = None,
    ) -> None:
        self.crystal = crystal_named(crystal) if isinstance(crystal, str) else crystal
        self.shape = shape
        self.specimen = specimen or SpecimenConfig()
        self.imaging = imaging or ImagingConfig()
        start, motion, self._stage, self._optics, self._camera = (
            np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5)
        )
        self._pixel = self.imaging.pixel_size_nm
        turned = lattice_vectors(self.crystal, self._pixel, self.imaging.rotation_deg)
        scan = np.array([[1.0, self.imaging.skew], [0.0, self.imaging.stretch]])
        self._vectors = scan @ turned
        self._place = self._first_place(start)
        angle = start.random() * 2.0 * np.pi
        speed = self.imaging.drift_nm_per_frame / self._pixel
        self._drift = speed * np.array([np.cos(angle), np.sin(angle)])
        self._wander = speed * self.imaging.drift_wander
        self._contamination = Contamination(start)
        self.kinetics = self._make_specimen(start, motion)
        self._recorder = Recorder(self.kinetics, start, self.specimen, self._pixel)
        self._next = 0

    def _first_place(self, rng: np.random.Generator) -> np.ndarray:
        """Place (x, y) of cell (0, 0), the column nearest to the centre of a still frame."""
        centre = (np.array(self.shape[::-1]) - 1) / 2.0
        steps = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
        gaps = (rng.random(2) - 0.5 + steps) @ self._vectors.T
        return np.asarray(centre + gaps[np.hypot(*gaps.T).argmin()])

    def _make_specimen(self, start: np.random.Generator, motion: np.random.Generator) -> Kinetics:
        lattice = lattice_of(self._vectors, self._place, self.crystal)
        rim = (self.specimen.margin_nm + RIM_NM) / self._pixel
        i0, i1, j0, j1 = cell_window(lattice, self.shape, rim)
        needed = max(i1 - i0, j1 - j0) + 1
        table = site_table(-(-needed // SUPERCELL_STEP) * SUPERCELL_STEP)
        kinds = kinds_of(self.crystal)
        return Kinetics(
            place_defects(table, kinds, self.specimen, start),
            table,
            kinds,
            self.specimen.rates,
            self.imaging.dose_e_per_nm2 / self.imaging.frame_time_s,
            motion,
        )

    def __iter__(self) -> Iterator[SimulatedFrame]:
        while True:
            yield self.acquire()

    def frames(self, count: int) -> Iterator[SimulatedFrame]:
        """Yield the next ``count`` frames."""
        for _ in range(count):
            yield self.acquire()

    def acquire(self) -> SimulatedFrame:
        """Scan the next frame; the specimen is as it stands when the frame starts."""
        time_s = self._next * self.imaging.frame_time_s
        if self._next:
            self.kinetics.advance(time_s - self.kinetics.time_s)
        rows = self.shape[0]
        drift = self._drift + self._wander * self._stage.standard_normal(2)
        bend = drift_matrix(drift, rows)
        lattice = lattice_of(bend @ self._vectors, bend @ self._place, self.crystal)
        view = look(lattice, self.shape, RIM_NM / self._pixel, self.kinetics.table)
        points = self._recorder.displaced(view)
        kinetics = self.kinetics
        weight = kinetics.kinds.weight[kinetics.kind[view.site], view.sublattice]
        lit = weight > 0.0
        columns = Columns(points[lit], view.sublattice[lit], weight[lit])
        jitter = self.imaging.jitter_px * self._optics.standard_normal(self.shape[0])
        expected = self._expected(columns, lattice.origin, jitter)
        image = self.imaging.detector.expose(expected, self._camera)
        truth = self._recorder.record(view, points, self._next, time_s, self.shape)
        self._place = self._place + drift
        self._next += 1
        return SimulatedFrame(image, truth, self._within(columns), self.header, expected, jitter)

    def _within(self, columns: Columns) -> Columns:
        high = np.array(self.shape[::-1]) - 1
        inside = ((columns.points >= 0) & (columns.points <= high)).all(axis=1)
        return Columns(columns.points[inside], columns.sublattice[inside], columns.weight[inside])

    @property
    def header(self) -> dict[str, float]:
        """What a publisher's header says of every frame."""
        return {
            "pixel_size_nm": self._pixel,
            "frame_time_s": self.imaging.frame_time_s,
            "dose_e_per_A2": self.imaging.dose_e_per_nm2 / 100.0,
        }

    def _expected(
        self, columns: Columns, origin: tuple[float, float], jitter: np.ndarray
    ) -> np.ndarray:
        """Mean electrons in each pixel, float32."""
        imaging = self.imaging
        image = render_columns(
            self.shape,
            columns.points,
            columns.weight,
            imaging.probe,
            jitter if imaging.jitter_px > 0.0 else None,
        )
        image *= np.float32(imaging.electrons_per_unit(self.crystal))
        unit = imaging.dose_e_per_pixel * imaging.collected_share
        image += np.float32(unit * imaging.film)
        if imaging.contamination > 0.0:
            patches = self._contamination.patches(self.shape, origin, self._pixel)
            patches *= np.float32(unit * imaging.contamination)
            sigma = GRAIN_WIDTH * imaging.probe.core_sigma_px
            image += grained(patches, imaging.amorphous, sigma, self._optics)
        return image
