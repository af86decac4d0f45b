"""The simulated microscope: a movie of a specimen that changes, with its truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from latticewatch_models.crystal import Crystal, column_intensity, crystal_named
from latticewatch_models.imaging import (
    FWHM_PER_SIGMA,
    Detector,
    Probe,
    render_columns,
    smooth_noise,
    upsample,
)
from latticewatch_models.kinetics import Kinetics, Rates
from latticewatch_models.recording import Recorder
from latticewatch_models.specimen import Doping, kinds_of, place_defects, site_table
from latticewatch_models.truth import Truth
from latticewatch_models.view import (
    RIM_NM,
    cell_window,
    drift_matrix,
    lattice_of,
    lattice_vectors,
    look,
)

#: Contamination is smooth: it is computed on every eighth pixel.
CONTAMINATION_STEP = 8

#: Plane waves that make up the contamination, and the range of their wavelengths in nm.
CONTAMINATION_WAVES = 16
CONTAMINATION_WAVELENGTHS_NM = (3.0, 12.0)


@dataclass(frozen=True)
class SpecimenConfig(Doping):
    """What the specimen holds at the start (see `Doping`) and how it changes (see `Rates`).

    Attributes
    ----------
    rates
        Rates of all processes.
    dopant_shift_pm
        How far a dopant stands off its site toward the vacancy that it holds.
    edge_disorder_pm
        Standard deviation, per axis, of the displacement of columns at a hole's edge.
    margin_nm
        Width of specimen simulated around the first field of view; after a drift by twice as much
        the specimen's content repeats.
    """

    rates: Rates = field(default_factory=Rates)
    dopant_shift_pm: float = 10.0
    edge_disorder_pm: float = 15.0
    margin_nm: float = 3.0


@dataclass(frozen=True)
class ImagingConfig:
    """How the specimen is imaged.

    Attributes
    ----------
    pixel_size_nm
        Distance between pixels.
    dose_e_per_pixel
        Electrons in the probe during one dwell time (30 pA for 8.6 us are 1,600).
    collected_share
        Share of them that the annular detector counts with the probe on a lone W column; other
        columns go by Z^1.7.
    probe_fwhm_nm, tail_share, tail_sigma_nm
        Core's full width at half maximum; share of the current in a Gaussian tail and its width.
    jitter_px
        Standard deviation of the shift of a scan line along x.
    drift_nm_per_frame, drift_wander
        Mean drift in a direction that the seed draws; standard deviation per axis of its change
        from frame to frame, relative to the mean. Drift goes on while a frame is scanned.
    rotation_deg
        Angle of the lattice vector a1 from +x towards +y.
    stretch, skew
        Scan distortion: y is stretched by ``stretch``, and x gains ``skew * y``.
    contamination
        Typical height of hydrocarbon patches, in units of a W column's peak.
    amorphous
        Grain of that contamination, relative to its local height; drawn anew for each frame.
    frame_time_s
        Time from the start of a frame to that of the next.
    detector
        Gain, dark level, read noise and type of the output.
    """

    pixel_size_nm: float = 0.03
    dose_e_per_pixel: float = 1600.0
    collected_share: float = 0.02
    probe_fwhm_nm: float = 0.085
    tail_share: float = 0.3
    tail_sigma_nm: float = 0.13
    jitter_px: float = 0.25
    drift_nm_per_frame: float = 0.02
    drift_wander: float = 0.3
    rotation_deg: float = 12.0
    stretch: float = 1.0
    skew: float = 0.0
    contamination: float = 0.08
    amorphous: float = 0.1
    frame_time_s: float = 2.25
    detector: Detector = field(default_factory=Detector)

    @property
    def dose_e_per_nm2(self) -> float:
        """Dose of one frame, electrons per square nanometre."""
        return self.dose_e_per_pixel / self.pixel_size_nm**2

    @property
    def probe(self) -> Probe:
        """The probe's profile in pixels."""
        return Probe(
            core_sigma_px=self.probe_fwhm_nm / FWHM_PER_SIGMA / self.pixel_size_nm,
            tail_sigma_px=self.tail_sigma_nm / self.pixel_size_nm,
            tail_share=self.tail_share,
        )

    def electrons_per_unit(self, crystal: Crystal) -> float:
        """Electrons counted with the probe on a lone host column of sublattice 0."""
        relative = column_intensity(crystal.columns[0]) / column_intensity((74,))
        return self.dose_e_per_pixel * self.collected_share * relative


@dataclass(frozen=True)
class SimulatedFrame:
    """One frame as acquired, its truth, and what the publisher's header says of it."""

    image: np.ndarray
    truth: Truth
    header: dict[str, float]

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
        centre = (np.array(shape[::-1]) - 1) / 2.0
        self._place = centre + self._vectors @ (start.random(2) - 0.5)
        self._place = lattice_of(self._vectors, self._place, self.crystal).to_pixels(
            -np.round(lattice_of(self._vectors, self._place, self.crystal).to_fractional(centre))
        )
        angle = start.random() * 2.0 * np.pi
        speed = self.imaging.drift_nm_per_frame / self._pixel
        self._drift = speed * np.array([np.cos(angle), np.sin(angle)])
        self._wander = speed * self.imaging.drift_wander
        self._waves = _contamination_waves(start)
        self.kinetics = self._make_specimen(start, motion)
        self._recorder = Recorder(self.kinetics, start, self.specimen, self._pixel)
        self._next = 0

    def _make_specimen(self, start: np.random.Generator, motion: np.random.Generator) -> Kinetics:
        lattice = lattice_of(self._vectors, self._place, self.crystal)
        rim = (self.specimen.margin_nm + RIM_NM) / self._pixel
        i0, i1, j0, j1 = cell_window(lattice, self.shape, rim)
        table = site_table(max(i1 - i0, j1 - j0) + 1)
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
        expected = self._expected(view.site, view.sublattice, points, lattice.origin)
        image = self.imaging.detector.expose(expected, self._camera)
        truth = self._recorder.record(view, points, self._next, time_s, self.shape)
        self._place = self._place + drift
        self._next += 1
        return SimulatedFrame(image, truth, self.header)

    @property
    def header(self) -> dict[str, float]:
        """What a publisher's header says of every frame."""
        return {
            "pixel_size_nm": self._pixel,
            "frame_time_s": self.imaging.frame_time_s,
            "dose_e_per_A2": self.imaging.dose_e_per_nm2 / 100.0,
        }

    def _expected(
        self,
        site: np.ndarray,
        sublattice: np.ndarray,
        points: np.ndarray,
        origin: tuple[float, float],
    ) -> np.ndarray:
        """Mean electrons in each pixel, float32."""
        imaging = self.imaging
        weight = self.kinetics.kinds.weight[self.kinetics.kind[site], sublattice]
        shining = weight > 0.0
        jitter = imaging.jitter_px * self._optics.standard_normal(self.shape[0])
        image = render_columns(
            self.shape,
            points[shining],
            weight[shining],
            imaging.probe,
            jitter if imaging.jitter_px > 0.0 else None,
        )
        image *= np.float32(imaging.electrons_per_unit(self.crystal))
        if imaging.contamination > 0.0:
            image += self._contamination(origin)
        return image

    def _contamination(self, origin: tuple[float, float]) -> np.ndarray:
        """Electrons from hydrocarbon patches, which move with the specimen; float32."""
        step = CONTAMINATION_STEP
        rows, columns = (np.arange(-(-side // step) + 1) * step for side in self.shape)
        wave, phase = self._waves
        x = (columns - origin[0]) * self._pixel
        y = (rows - origin[1]) * self._pixel
        # exp(i (kx x + ky y)) splits into a product of a row and a column
        along_x = np.exp(1j * (np.outer(wave[:, 0], x) + phase[:, None]))
        along_y = np.exp(1j * np.outer(wave[:, 1], y))
        field = (along_y.T @ along_x).real * np.sqrt(2.0 / len(wave))
        patches = np.maximum(field - 0.3, 0.0)
        unit = self.imaging.dose_e_per_pixel * self.imaging.collected_share
        height = upsample(patches * self.imaging.contamination * unit, step, self.shape)
        if self.imaging.amorphous > 0.0:
            sigma = self.imaging.probe.core_sigma_px * 1.5
            grain = smooth_noise(self.shape, sigma, self._optics, step=2)
            height *= np.clip(1.0 + np.float32(self.imaging.amorphous) * grain, 0.0, None)
        return height


def _contamination_waves(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Wave vectors (n, 2) in radians per nm and phases (n,)."""
    length = rng.uniform(*CONTAMINATION_WAVELENGTHS_NM, CONTAMINATION_WAVES)
    angle, phase = rng.random((2, CONTAMINATION_WAVES)) * 2.0 * np.pi
    return (2.0 * np.pi / length * np.stack([np.cos(angle), np.sin(angle)])).T, phase
