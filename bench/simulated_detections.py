"""Detections of a simulated specimen in time, without images: who is who is known.

The specimen and its kinetics are those of `latticewatch_models`; what is left out is the imaging,
so that hundreds of frames of hundreds of defects cost seconds. Intensities are those that an ideal
measurement would find, with Gaussian noise of a column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from latticewatch.detections import PATCH_SIZE, PATCH_SPAN, Detections, FrameInfo
from latticewatch_kernels.lattice import Lattice
from latticewatch_models.crystal import crystal_named
from latticewatch_models.kinetics import Kinetics, Rates
from latticewatch_models.specimen import HOST, Doping, kinds_of, place_defects, site_table
from latticewatch_models.view import cell_window, lattice_of, lattice_vectors, look

#: Defects a unit cell of the default `Doping`, by which a frame is made as large as its number of
#: defects asks for: 3 % dopants, 1.2 % vacancies beside them, 1 % others, 0.6 % missing metal
#: atoms, 0.2 % adatoms.
DEFECTS_PER_CELL = 0.06
#: Cells of specimen around the field of view; the supercell repeats beyond.
MARGIN_CELLS = 12
#: Standard deviation of a column's image in lattice constants, of the drawn patches only.
COLUMN_WIDTH = 0.14


@dataclass(frozen=True)
class Scene:
    """What is simulated.

    Attributes
    ----------
    defects
        About how many stand in a frame. At `crowding` 1 the specimen is the simulator's default one
        and the frame as large as that asks for; at 3 they stand on a third of the area.
    missed, false
        Share of the defects that go undetected in a frame, and false detections as a share of them.
        A false detection stands on an undisturbed site of sublattice 1 and measures like a vacancy.
    noise
        Standard deviation of a column's intensity, in units of the host column of sublattice 0. A
        single S vacancy of WS2 differs by 0.074.
    position_px
        Standard deviation of a position along an axis.
    drift_px
        Drift a frame along x and y.
    jumps
        Largest whole number of lattice vectors by which a frame's own numbering jumps.
    """

    defects: int = 500
    crowding: float = 1.0
    missed: float = 0.05
    false: float = 0.02
    noise: float = 0.025
    position_px: float = 0.3
    drift_px: tuple[float, float] = (0.7, -0.3)
    jumps: int = 2
    rates: Rates = field(default_factory=Rates)
    frame_time_s: float = 2.25
    pixel_size_nm: float = 0.03
    crystal: str = "WS2"


@dataclass(frozen=True)
class Shot:
    """One frame: what the tracker gets, and which defect each detection truly is (-1: none).

    ``cells`` (n, 2) number the sites in a gauge that is the same in all frames.
    """

    info: FrameInfo
    detections: Detections
    ident: np.ndarray
    cells: np.ndarray


def simulate(scene: Scene, seed: int) -> Iterator[Shot]:
    """Endless frames of a specimen; the seed says all."""
    rng = np.random.default_rng([seed, 4])
    crystal = crystal_named(scene.crystal)
    matrix = lattice_vectors(crystal, scene.pixel_size_nm, 12.0)
    cell_area = abs(np.linalg.det(matrix))
    cells = scene.defects / (DEFECTS_PER_CELL * scene.crowding)
    side = int(np.sqrt(cells * cell_area))
    middle = lattice_of(matrix, np.full(2, side / 2), crystal)
    i0, i1, j0, j1 = cell_window(middle, (side, side), 0.0)
    table, kinds = site_table(max(i1 - i0, j1 - j0) + 2 * MARGIN_CELLS), kinds_of(crystal)
    kinetics = Kinetics(
        place_defects(table, kinds, _doping(scene.crowding), rng),
        table,
        kinds,
        scene.rates,
        1600.0 / scene.pixel_size_nm**2 / scene.frame_time_s,
        rng,
    )
    frame = 0
    while True:
        drift = np.array(scene.drift_px) * frame
        lattice = lattice_of(matrix, np.full(2, side / 2) + drift, crystal)
        info = FrameInfo(
            frame,
            frame * scene.frame_time_s,
            (side, side),
            scene.pixel_size_nm,
            scene.frame_time_s,
        )
        yield _shoot(scene, kinetics, lattice, info, rng)
        kinetics.advance(scene.frame_time_s)
        frame += 1


def _doping(crowding: float) -> Doping:
    """Give the default doping, so many times as dense."""
    plain = Doping()
    return replace(
        plain,
        dopant_fraction=crowding * plain.dopant_fraction,
        vacancy_fraction=crowding * plain.vacancy_fraction,
        metal_vacancy_fraction=crowding * plain.metal_vacancy_fraction,
        adatom_per_cell=crowding * plain.adatom_per_cell,
    )


def _shoot(
    scene: Scene, kinetics: Kinetics, lattice: Lattice, info: FrameInfo, rng: np.random.Generator
) -> Shot:
    """Detect what stands in the frame, some of it not, and some that does not stand there."""
    view = look(lattice, info.shape, -0.5 * lattice.constant, kinetics.table)
    kind = kinetics.kind[view.site]
    real = np.flatnonzero((kind != HOST) & (kind != kinetics.kinds.removed))
    real = real[rng.random(len(real)) >= scene.missed]
    host = np.flatnonzero((kind == HOST) & (view.sublattice == 1))
    false = rng.choice(host, rng.binomial(scene.defects, scene.false), replace=False)
    rows = rng.permutation(np.concatenate([real, false]))
    seen_kind = np.where(np.isin(rows, false), kinetics.kinds.mobile, kind[rows])
    site, sublattice, cell = view.site[rows], view.sublattice[rows], view.cell[rows]
    weight = kinetics.kinds.weight
    around = kinetics.table.bonded[site]
    around[sublattice == 2] = around[sublattice == 2][:, [2, 0, 1]]
    other = np.array([1, 0, 0])[sublattice]
    n, hosts = len(rows), weight[HOST]
    centre = weight[seen_kind, sublattice] + scene.noise * rng.standard_normal(n)
    neighbours = weight[kinetics.kind[around], other[:, None]]
    neighbours = neighbours + scene.noise * rng.standard_normal((n, 3))
    # the frame's own numbering begins anywhere
    jump = rng.integers(-scene.jumps, scene.jumps + 1, 2)
    origin = np.array(lattice.origin) + lattice.matrix @ jump
    own = replace(lattice, origin=(float(origin[0]), float(origin[1])), significance=50.0)
    points = view.points[rows] + scene.position_px * rng.standard_normal((n, 2))
    turns = neighbours.argmin(axis=1).astype(np.int8)
    detections = Detections(
        lattice=own,
        x_px=points[:, 0],
        y_px=points[:, 1],
        probability=np.linspace(0.99, 0.6, n),
        cells=(cell - jump).astype(np.int32),
        sublattice=sublattice.astype(np.int8),
        centre=centre.astype(np.float32),
        neighbours=neighbours.astype(np.float32),
        noise=np.full(3, scene.noise),
        patches=_patches(
            centre - hosts[sublattice],
            neighbours - hosts[other][:, None],
            turns,
            sublattice,
            scene.noise,
            rng,
        ),
        turns=turns,
        fractions=np.array([0.95, 0.05, 0.0]),
        in_hole=np.zeros(n, bool),
    )
    ident = np.where(np.isin(rows, false), -1, kinetics.ident[site])
    return Shot(info, detections, ident, cell)


def _patches(
    centre: np.ndarray,
    neighbours: np.ndarray,
    turns: np.ndarray,
    sublattice: np.ndarray,
    noise: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw how four columns around each site differ from the host, the darkest neighbour first."""
    side = (np.arange(PATCH_SIZE) + 0.5) / PATCH_SIZE * PATCH_SPAN - PATCH_SPAN / 2
    x, y = np.meshgrid(side, side)
    angle = np.pi / 2 + 2 * np.pi * np.arange(3) / 3
    place = np.vstack([[0.0, 0.0], np.stack([np.cos(angle), np.sin(angle)], 1) / np.sqrt(3)])
    order = (np.arange(3) + turns[:, None]) % 3
    heights = np.hstack([centre[:, None], np.take_along_axis(neighbours, order, axis=1)])
    patches = np.zeros((len(centre), PATCH_SIZE, PATCH_SIZE), np.float32)
    for sign, here in ((1.0, sublattice != 1), (-1.0, sublattice == 1)):
        gap = (x - sign * place[:, 0, None, None]) ** 2 + (y - sign * place[:, 1, None, None]) ** 2
        columns = np.exp(-gap / (2 * COLUMN_WIDTH**2))
        patches[here] = np.tensordot(heights[here], columns, axes=1)
    return patches + (2 * noise * rng.standard_normal(patches.shape)).astype(np.float32)
