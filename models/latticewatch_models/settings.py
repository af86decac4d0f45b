"""What a simulated movie depends on, beside its seed: the specimen's and the imaging's settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from latticewatch_models.crystal import Crystal, column_intensity
from latticewatch_models.imaging import FWHM_PER_SIGMA, Detector, Probe
from latticewatch_models.kinetics import Rates
from latticewatch_models.specimen import Doping


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
    disordered_fraction, disorder_radius_cells
        Share of the area in round patches without order, and the radius of each, lattice constants.
    disorder_pm
        Standard deviation, per axis, of the displacement of columns there: at 150 pm the first
        Bragg ring keeps 0.3 % of its amplitude in WS2, at 100 pm 7 % (Debye and Waller's factor).
    margin_nm
        Width of specimen simulated around the first field of view; after a drift by twice as much
        the specimen's content repeats.
    """

    rates: Rates = field(default_factory=Rates)
    dopant_shift_pm: float = 10.0
    edge_disorder_pm: float = 15.0
    disordered_fraction: float = 0.0
    disorder_radius_cells: float = 4.0
    disorder_pm: float = 150.0
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
    film
        Uniform signal of a support or of an even amorphous layer, in units of a W column's peak.
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
    film: float = 0.02
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
