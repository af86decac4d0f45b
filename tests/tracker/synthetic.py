"""Synthetic detections with known truth: a WS2 lattice, defects that hop and change, and faults.

Intensities are drawn where an ideal measurement would find them, with Gaussian column noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from latticewatch.detections import PATCH_SIZE, PATCH_SPAN, Detections, FrameInfo
from latticewatch.tracker.anchor import TURN
from latticewatch_kernels.lattice import HEXAGONAL_SITES, NEIGHBOUR_CELLS, Lattice
from latticewatch_models.crystal import Crystal, crystal_named

SITES = HEXAGONAL_SITES


@dataclass
class Specimen:
    """Defects on true sites; the truth that the tracker has to recover."""

    crystal: Crystal
    metal: dict[tuple[int, int], str] = field(default_factory=dict)
    vacancies: list[tuple[int, int]] = field(default_factory=list)
    adatoms: list[tuple[int, int]] = field(default_factory=list)

    def intensity(self, cell: tuple[int, int], site: int) -> float:
        own = {r.species: r for r in self.crystal.readings if r.sublattice == site}
        if site == 0 and cell in self.metal:
            return self.crystal.reading_intensity(own[self.metal[cell]])
        if site == 1 and cell in self.vacancies:
            return self.crystal.reading_intensity(own[self.crystal.vacancy])
        if site == 2 and cell in self.adatoms:
            return self.crystal.reading_intensity(own["adatom"])
        return self.crystal.host_intensity(site)

    def defects(self) -> list[tuple[tuple[int, int], int]]:
        return (
            [(c, 0) for c in self.metal]
            + [(c, 1) for c in self.vacancies]
            + [(c, 2) for c in self.adatoms]
        )

    def state(self, cell: tuple[int, int]) -> str:
        for k, step in enumerate(NEIGHBOUR_CELLS[0]):
            if (cell[0] + step[0], cell[1] + step[1]) in self.vacancies:
                return f"{self.crystal.dopant}+{self.crystal.vacancy}/{k}"
        return self.crystal.dopant


def make_specimen(seed: int = 0, name: str = "WS2", radius: int = 10, counts=(20, 6, 15, 4)):
    """MoW, VW, VS and adatoms on distinct sites, at least three cells apart."""
    rng = np.random.default_rng(seed)
    crystal = crystal_named(name)
    grid = [
        (3 * i, 3 * j)
        for i in range(-radius // 3, radius // 3 + 1)
        for j in range(-radius // 3, radius // 3 + 1)
    ]
    order = iter(rng.permutation(len(grid)))

    def pick(n):
        return [grid[next(order)] for _ in range(n)]

    specimen = Specimen(crystal)
    heavy = [r.species for r in crystal.readings if r.sublattice == 0]
    for species, n in zip(heavy, counts[:2], strict=False):
        specimen.metal.update(dict.fromkeys(pick(n), species))
    specimen.vacancies = pick(counts[2])
    specimen.adatoms = pick(counts[3])
    return specimen


@dataclass
class View:
    """How one frame sees the specimen."""

    drift: tuple[float, float] = (0.0, 0.0)
    turn: int = 0
    flip: bool = False
    angle_deg: float = 10.0
    constant: float = 10.5
    noise: float = 0.02
    miss: float = 0.0
    false: int = 0
    shape: tuple[int, int] = (256, 256)
    jitter: float = 0.0


def detect(specimen: Specimen, view: View, rng: np.random.Generator, jump=(0, 0)) -> Detections:
    """Detections of one frame, in that frame's own gauge."""
    angle = np.radians(view.angle_deg)
    a = view.constant * np.array(
        [
            [np.cos(angle), np.cos(angle + 2 * np.pi / 3)],
            [np.sin(angle), np.sin(angle + 2 * np.pi / 3)],
        ]
    )
    middle = np.array([view.shape[1] / 2.0, view.shape[0] / 2.0])
    origin = middle + np.array(view.drift)
    gauge = np.linalg.matrix_power(TURN, view.turn) * (-1 if view.flip else 1)
    shift = np.rint(np.linalg.solve(a, middle - origin)) + np.array(jump)
    shift = shift + (SITES[1] if view.flip else 0)
    own = a @ gauge
    own = own * (1 + view.jitter * rng.standard_normal((2, 2)))
    lattice = Lattice(
        tuple(own[:, 0]), tuple(own[:, 1]), tuple(origin + a @ shift),
        (1.0, specimen.crystal.host_intensity(1), 0.0), 50.0,
    )  # fmt: skip
    picked = [d for d in specimen.defects() if rng.random() > view.miss]
    for _ in range(view.false):
        cell = tuple(int(v) for v in rng.integers(-8, 9, 2))
        site = int(rng.integers(0, 2))
        if (cell, site) not in picked:
            picked.append((cell, site))
    cells = np.array([c for c, _ in picked], int).reshape(-1, 2)
    sites = np.array([s for _, s in picked], int)
    place = (cells + SITES[sites]) @ a.T + origin
    inside = ((place > 4) & (place < np.array(view.shape[::-1]) - 5)).all(1)
    cells, sites, place = cells[inside], sites[inside], place[inside]
    inverse = np.linalg.inv(gauge)
    own_sites = np.array([1, 0, 2])[sites] if view.flip else sites
    own_cells = (cells + SITES[sites] - shift) @ inverse.T - SITES[own_sites]
    centre, neighbours, patches, turns = measure(specimen, cells, sites, view, rng)
    n = len(cells)
    place = place + 0.3 * rng.standard_normal((n, 2))
    probability = np.sort(rng.uniform(0.8, 0.99, n))[::-1].copy()
    return Detections(
        lattice=lattice, x_px=place[:, 0], y_px=place[:, 1], probability=probability,
        cells=np.rint(own_cells).astype(np.int32), sublattice=own_sites.astype(np.int8),
        centre=centre, neighbours=np.roll(neighbours, -view.turn, axis=1),
        noise=np.full(3, view.noise),
        patches=patches[:, ::-1, ::-1] if view.flip else patches,
        turns=((turns - view.turn) % 3).astype(np.int8),
        fractions=np.array([0.95, 0.05, 0.0]), in_hole=np.zeros(n, bool),
    )  # fmt: skip


def neighbour_list(cell, site):
    i, j = cell
    if site == 0:
        return [((i + s[0], j + s[1]), 1) for s in NEIGHBOUR_CELLS[0]]
    if site == 1:
        return [((i - s[0], j - s[1]), 0) for s in NEIGHBOUR_CELLS[0]]
    return [((i, j), 0), ((i + 1, j), 0), ((i + 1, j + 1), 0)]


def measure(specimen, cells, sites, view, rng):
    """Column intensities, patches turned to the darkest neighbour."""
    n = len(cells)
    side = (np.arange(PATCH_SIZE) + 0.5) / PATCH_SIZE * PATCH_SPAN - PATCH_SPAN / 2
    x, y = np.meshgrid(side, side)
    place = [(tuple(cell), site) for cell, site in zip(cells.tolist(), sites.tolist(), strict=True)]
    seen = {p: [specimen.intensity(c, s) for c, s in [p, *neighbour_list(*p)]] for p in set(place)}
    values = np.array([seen[p] for p in place]).reshape(n, 4)
    centre = values[:, 0] + view.noise * rng.standard_normal(n)
    neighbours = values[:, 1:] + view.noise * rng.standard_normal((n, 3))
    turns = neighbours.argmin(axis=1).astype(np.int8)
    turned = np.take_along_axis(neighbours, (turns[:, None] + np.arange(3)) % 3, axis=1)
    reach, sign = 1 / np.sqrt(3), np.where(sites == 1, 1, 0)
    columns = np.zeros((2, 4, PATCH_SIZE**2))
    for which, direction in enumerate((1.0, -1.0)):
        columns[which, 0] = np.exp(-(x**2 + y**2) / 0.04).ravel()
        for k in range(3):
            angle = np.pi / 2 + 2 * np.pi * k / 3
            dx, dy = direction * reach * np.cos(angle), direction * reach * np.sin(angle)
            columns[which, k + 1] = np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / 0.04).ravel()
    heights = np.hstack([centre[:, None], turned])
    patches = np.where(sign[:, None] == 1, heights @ columns[1], heights @ columns[0])
    patches = patches.reshape(n, PATCH_SIZE, PATCH_SIZE).astype(np.float32)
    patches += (2 * view.noise * rng.standard_normal(patches.shape)).astype(np.float32)
    return centre.astype(np.float32), neighbours.astype(np.float32), patches, turns


def info(frame: int, dt: float = 1.0, pixel: float | None = 0.03, shape=(256, 256)) -> FrameInfo:
    return FrameInfo(frame, frame * dt, shape, pixel, dt)
