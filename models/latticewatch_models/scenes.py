"""Simulated scenes to train on: every range wide enough that real frames lie inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.patches import rescale
from latticewatch_models.crystal import CRYSTALS, Crystal
from latticewatch_models.imaging import Detector
from latticewatch_models.microscope import ImagingConfig, Microscope, SpecimenConfig
from latticewatch_models.truth import Truth

#: Lattice constant in pixels that frames are brought to: WS2 at 0.03 nm a pixel.
CANONICAL_LATTICE_PX = 10.5

#: Lattice constants trained on. Live frames are resampled outside 0.85-1.2 of the canonical scale;
#: a measured lattice may be off, and the crystal differ over the frame.
LATTICE_RANGE_PX = (8.5, 13.0)

#: Frames acquired at other scales reach the network resampled, their noise smoothed: this share of
#: the scenes is made so, from lattice constants in these ranges.
RESAMPLED_SHARE = 0.3
COARSE_RANGE_PX, FINE_RANGE_PX = (6.0, 8.5), (13.0, 26.0)

#: Crystals trained on; WS2, the specimen of the published movie, comes up most.
TRAINING_CRYSTALS = ("WS2", "MoS2", "WSe2", "graphene")
_CRYSTAL_SHARES = (0.5, 0.25, 0.15, 0.1)

#: Electrons counted with the probe on a host column, per pixel of the canonical scale: from 200
#: electrons a pixel of which 1.5 % are collected on W to 20,000 of which 2 % are.
ELECTRON_RANGE = (3.0, 400.0)

#: Power of Z that intensity goes by. In published frames of MoS2 sulphur columns stand at 0.25 to
#: 0.32 of the molybdenum columns, where a power of 1.7 gives 0.39 and one of 2.15 gives 0.25.
EXPONENT_RANGE = (1.5, 2.15)

#: Scan distortion along y. What published frames ask for is 0.82 to 1.2.
STRETCH_RANGE = (0.8, 1.22)

#: Highest uniform signal, in units of the crystal's own host column.
FILM_LIMIT = 0.25

#: Rim around a hole's lost columns in which no answer is right or wrong, and the depth in it, from
#: its outer border, from which a hole is empty for certain; lattice constants.
HOLE_RIM, HOLE_DEPTH = 0.9, 1.9


#: What a specimen usually holds: probabilities are calibrated on it. How likely a faint mark is a
#: vacancy depends on how many there are, and the ranges of training hold too many.
USUAL_SPECIMEN = SpecimenConfig(margin_nm=0.3)


@dataclass(frozen=True)
class Scene:
    """A conditioned frame and what is true of it.

    Attributes
    ----------
    image
        Conditioned, float32 (rows, columns).
    points, species
        True defects: (n, 2) pixels (x, y), and their names (n,).
    ignore
        Boolean (rows, columns): where no answer is right or wrong.
    columns
        (m, 2): every atomic column that shines, pixels (x, y); None where nobody knows them, as in
        scenes composed of labelled frames.
    """

    image: np.ndarray
    points: np.ndarray
    species: np.ndarray
    ignore: np.ndarray
    columns: np.ndarray | None = None

    def crop(self, row: int, column: int, side: int) -> Scene:
        """Cut a square; points in its outermost half pixel belong to it."""
        corner, shape = np.array([column, row]), (side, side)
        moved = self.points - corner
        inside = _inside(moved, shape)
        columns = None if self.columns is None else self.columns - corner
        window = slice(row, row + side), slice(column, column + side)
        return Scene(
            np.ascontiguousarray(self.image[window]),
            moved[inside],
            self.species[inside],
            self.ignore[window],
            None if columns is None else columns[_inside(columns, shape)],
        )


def _inside(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(((points >= -0.5) & (points < np.array(shape[::-1]) - 0.5)).all(axis=1))


#: Draws a scene of a shape (rows, columns) by a generator, and by it alone. Workers get a copy.
SceneSource = Callable[[np.random.Generator, tuple[int, int]], Scene]


def draw_crops(
    rng: np.random.Generator, side: int, number: int, draw: SceneSource | None = None
) -> list[Scene]:
    """Draw a scene and cut ``number`` crops of ``side`` pixels from a grid over it.

    Scenes come from `draw`, or where there is none from `draw_scene`.
    """
    across = int(np.ceil(np.sqrt(number)))
    down = -(-number // across)
    scene = (draw or draw_scene)(rng, (down * side, across * side))
    return [scene.crop(side * (k // across), side * (k % across), side) for k in range(number)]


def draw_scene(
    rng: np.random.Generator,
    shape: tuple[int, int],
    leave_out: tuple[str, ...] = (),
    *,
    usual: bool = False,
) -> Scene:
    """Draw one scene from the ranges of training, reproducible by ``rng``.

    Species named in ``leave_out`` stand in none. ``usual`` takes the usual specimen in place of one
    drawn from the ranges; how it is imaged is drawn all the same.
    """
    crystal = CRYSTALS[str(rng.choice(TRAINING_CRYSTALS, p=_CRYSTAL_SHARES))].without(leave_out)
    if rng.random() < 0.5:
        crystal = replace(crystal, exponent=float(rng.uniform(*EXPONENT_RANGE)))
    lattice_px = float(rng.uniform(*LATTICE_RANGE_PX))
    factor = 1.0
    if rng.random() < RESAMPLED_SHARE:
        source = FINE_RANGE_PX if rng.random() < 0.7 else COARSE_RANGE_PX
        factor = lattice_px / float(rng.uniform(*source))
    # one pixel more than is kept, so that rounding leaves no edge value repeated
    drawn = tuple(int(np.ceil(s / factor)) + 1 for s in shape)
    microscope = Microscope(
        crystal,
        (drawn[0], drawn[1]),
        int(rng.integers(2**62)),
        USUAL_SPECIMEN if usual else draw_specimen(rng),
        draw_imaging(rng, crystal, lattice_px, factor),
    )
    frame = microscope.acquire()
    image = scanner_faults(frame.image.astype(np.float32), rng)
    return scene_of(image, frame.truth, factor, shape, frame.columns.points)


def scene_of(
    image: np.ndarray,
    truth: Truth,
    factor: float = 1.0,
    shape: tuple[int, int] | None = None,
    columns: np.ndarray | None = None,
) -> Scene:
    """Condition a frame, bring it to another scale by ``factor``, and cut it to ``shape``.

    Exactly what a live frame meets before the network sees it. ``columns`` are those of the frame,
    (m, 2) in its pixels.
    """
    conditioned = condition(image)
    points = truth.points
    rim = truth.hole_mask(HOLE_RIM * truth.lattice.constant)
    if rim.any():
        deep = ndimage.distance_transform_edt(rim) > HOLE_DEPTH * truth.lattice.constant
        ignore = rim & ~deep
    else:
        ignore = rim
    if factor != 1.0:
        conditioned = rescale(conditioned, factor)
        points = (points + 0.5) * factor - 0.5
        ignore = rescale(ignore, factor) > 0.5
        columns = None if columns is None else (columns + 0.5) * factor - 0.5
    kept = shape or conditioned.shape
    window = slice(0, kept[0]), slice(0, kept[1])
    inside = _inside(points, kept)
    return Scene(
        conditioned[window],
        points[inside],
        truth.species[inside],
        ignore[window],
        None if columns is None else columns[_inside(columns, kept)],
    )


def draw_specimen(rng: np.random.Generator) -> SpecimenConfig:
    """Draw what the specimen holds: from nearly perfect to heavily damaged."""
    holed = rng.random() < 0.25
    return SpecimenConfig(
        dopant_fraction=float(rng.uniform(0.0, 0.05)),
        vacancy_fraction=float(np.exp(rng.uniform(np.log(0.003), np.log(0.04)))),
        divacancy_share=float(rng.uniform(0.0, 0.4)),
        metal_vacancy_fraction=float(rng.uniform(0.0, 0.014)),
        adatom_per_cell=float(rng.uniform(0.0, 0.006)),
        bound_share=float(rng.uniform(0.0, 0.7)),
        hole_fraction=float(rng.uniform(0.02, 0.25)) if holed else 0.0,
        hole_radius_cells=float(rng.uniform(1.5, 8.0)),
        dopant_shift_pm=float(rng.uniform(0.0, 20.0)),
        edge_disorder_pm=float(rng.uniform(5.0, 30.0)),
        # one frame is taken of each specimen: nothing needs to drift in
        margin_nm=0.3,
    )


def draw_imaging(
    rng: np.random.Generator, crystal: Crystal, lattice_px: float, factor: float
) -> ImagingConfig:
    """Draw how the specimen is imaged, its lattice constant ``lattice_px / factor``."""
    skewed = rng.random() < 0.6
    # drift, and a scan generator that is not calibrated
    stretch = float(rng.uniform(*STRETCH_RANGE)) if skewed else 1.0
    pixel_nm = crystal.lattice_constant_nm * np.sqrt(stretch) / lattice_px * factor
    electrons = np.exp(rng.uniform(*np.log(ELECTRON_RANGE)))
    usual = ImagingConfig(dose_e_per_pixel=1.0)
    unit = usual.electrons_per_unit(crystal)
    return ImagingConfig(
        pixel_size_nm=float(pixel_nm),
        # a finer pixel holds as much less as its area is smaller, to within a factor of two
        dose_e_per_pixel=float(electrons / unit * factor**2 * rng.uniform(1.0, 2.0)),
        probe_fwhm_nm=float(rng.uniform(0.065, 0.13)),
        tail_share=float(rng.uniform(0.1, 0.5)),
        tail_sigma_nm=float(rng.uniform(0.1, 0.2)),
        jitter_px=float(rng.uniform(0.0, 0.5)),
        drift_nm_per_frame=float(rng.uniform(0.0, 0.1)),
        rotation_deg=float(rng.uniform(-60.0, 60.0)),
        stretch=stretch,
        # squared: most specimens hang free
        film=float(FILM_LIMIT * rng.random() ** 2 * unit / usual.collected_share),
        skew=float(rng.uniform(-0.1, 0.1)) if skewed else 0.0,
        contamination=float(np.exp(rng.uniform(np.log(0.01), np.log(0.5)))),
        amorphous=float(rng.uniform(0.0, 0.4)),
        detector=Detector(read_noise=float(rng.uniform(4.0, 40.0)), dtype="float32"),
    )


def scanner_faults(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add, in some scenes, what real scans show: afterglow along a row, flicker from row to row."""
    if rng.random() < 0.25:
        # a scintillator's decay over a share of the dwell time: each pixel keeps some of the last
        kept = rng.uniform(0.05, 0.4)
        image = ndimage.convolve1d(image, np.array([1.0 - kept, kept]), axis=1, origin=-1)
    if rng.random() < 0.25:
        # emission noise of a cold field emitter: a few per cent
        flicker = 1.0 + rng.uniform(0.0, 0.04) * rng.standard_normal((len(image), 1))
        image = image * flicker.astype(np.float32)
    return image
