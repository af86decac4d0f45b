"""Writes down the truth of each frame, and what changed since the frame before."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from latticewatch_models.crystal import EMPTY_SITE
from latticewatch_models.kinetics import Kinetics
from latticewatch_models.specimen import BONDS, dopant_states, in_discs
from latticewatch_models.truth import Hop, Transition, Truth
from latticewatch_models.view import View

#: Lost columns are told as discs of this radius in bond lengths: just over half of one, so that
#: discs of neighbouring lost columns meet and the kept columns at the edge stay outside.
HOLE_RADIUS_BONDS = 0.8


class Displacements(Protocol):
    """The part of the specimen's settings that moves columns off their sites."""

    @property
    def dopant_shift_pm(self) -> float:
        """Shift of a dopant toward its vacancy."""

    @property
    def edge_disorder_pm(self) -> float:
        """Random shift of columns at a hole's edge."""

    @property
    def disordered_fraction(self) -> float:
        """Share of the area without order."""

    @property
    def disorder_radius_cells(self) -> float:
        """Radius of each such patch."""

    @property
    def disorder_pm(self) -> float:
        """Random shift of columns there."""


class Recorder:
    """Truth of one frame after the other.

    Parameters
    ----------
    kinetics
        The specimen, read at each call.
    rng
        Draws the displacements at edges, once.
    config
        Displacements in picometres.
    pixel_size_nm
        Distance between pixels.
    """

    def __init__(
        self,
        kinetics: Kinetics,
        rng: np.random.Generator,
        config: Displacements,
        pixel_size_nm: float,
    ) -> None:
        self._kinetics = kinetics
        self._shift_nm = config.dopant_shift_pm / 1000.0
        self._pixel = pixel_size_nm
        sites = len(kinetics.kind)
        self._edge_px = rng.standard_normal((sites, 2)) * config.edge_disorder_pm / 1000.0
        self._edge_px /= pixel_size_nm
        self._disordered = np.zeros(sites, bool)
        if config.disordered_fraction > 0.0:
            share, radius = config.disordered_fraction, config.disorder_radius_cells
            self._disordered = in_discs(kinetics.table, share, radius, rng)
            scatter = rng.standard_normal((sites, 2)) * config.disorder_pm / 1000.0 / pixel_size_nm
            self._scatter_px = scatter * self._disordered[:, None]
        self._states: dict[int, int] = {}
        self._vacancies: dict[int, int] = {}

    def displaced(self, view: View) -> np.ndarray:
        """Positions (n, 2) in pixels with dopants and edge columns off their sites."""
        points = view.points.copy()
        direction = self._direction()[view.site]
        held = np.flatnonzero(direction >= 0)
        if len(held) and self._shift_nm:
            bonds = np.array(BONDS[0, 1]) + np.array([1 / 3, 2 / 3])
            towards = bonds @ view.lattice.matrix.T
            towards *= (self._shift_nm / self._pixel) / np.hypot(*towards.T)[:, None]
            points[held] += towards[direction[held]]
        edge = np.flatnonzero(self._at_edge()[view.site])
        points[edge] += self._edge_px[view.site[edge]]
        if self._disordered.any():
            points += self._scatter_px[view.site]
        return points

    def _direction(self) -> np.ndarray:
        """State of each site: -2 no dopant, -1 dopant alone, 0..2 direction of its vacancy."""
        kinetics = self._kinetics
        direction = np.full(len(kinetics.kind), -2, np.int8)
        if kinetics.kinds.stateful >= 0:
            sites = np.flatnonzero(kinetics.kind == kinetics.kinds.stateful)
            direction[sites] = dopant_states(kinetics.kind, kinetics.table, kinetics.kinds)
        return direction

    def _at_edge(self) -> np.ndarray:
        edge = np.zeros(len(self._kinetics.kind), bool)
        edge[self._kinetics.edges.sites] = True
        return edge

    def record(
        self, view: View, points: np.ndarray, frame: int, time_s: float, shape: tuple[int, int]
    ) -> Truth:
        """Truth of the frame that shows ``view`` with its columns at ``points``."""
        kinetics = self._kinetics
        names, kind = kinetics.kinds.species, kinetics.kind[view.site]
        inside = ((points >= 0) & (points <= np.array(shape[::-1]) - 1)).all(axis=1)
        held = np.zeros(len(kinetics.kind), bool)
        held[kinetics.bound.sites] = True
        lost = kind == kinetics.kinds.removed
        rows = np.flatnonzero(inside & (kind != 0) & ~lost & ~held[view.site])
        direction = self._direction()
        states = np.array([*kinetics.kinds.crystal.states[1:], *self._plain_states()])
        ident = kinetics.ident[view.site]
        transitions, hops = self._changes(frame, direction, set(ident[inside].tolist()))
        scattered = inside & self._disordered[view.site] & (view.sublattice != EMPTY_SITE) & ~lost
        share = view.lattice.cell_area / 2.0 / (shape[0] * shape[1])
        hole, disordered = (share * np.count_nonzero(part) for part in (lost & inside, scattered))
        return Truth(
            frame=frame,
            time_s=time_s,
            shape=shape,
            lattice=view.lattice,
            ident=ident[rows],
            species=np.array(names)[kind[rows]],
            state=states[direction[view.site[rows]]],
            cell_i=view.cell[rows, 0].astype(np.int32),
            cell_j=view.cell[rows, 1].astype(np.int32),
            sublattice=view.sublattice[rows].astype(np.int8),
            x_px=points[rows, 0],
            y_px=points[rows, 1],
            fractions=np.array([max(0.0, 1.0 - hole - disordered), disordered, hole]),
            hole_points=view.points[lost | self._amid_lost(view)],
            hole_radius_px=float(HOLE_RADIUS_BONDS * view.lattice.constant / np.sqrt(3.0)),
            transitions=transitions,
            hops=hops,
        )

    def _amid_lost(self, view: View) -> np.ndarray:
        """Empty sites with lost columns around, all six or all but one: a hole has no gaps."""
        kinetics = self._kinetics
        around = kinetics.kind[kinetics.table.around[view.site]] == kinetics.kinds.removed
        return np.asarray((view.sublattice == EMPTY_SITE) & (around.sum(axis=1) >= 5))

    def _plain_states(self) -> tuple[str, str]:
        """Names for -2 (no dopant) and -1 (a dopant alone), at the end of the list of states."""
        states = self._kinetics.kinds.crystal.states
        return "", states[0] if states else ""

    def _changes(
        self, frame: int, direction: np.ndarray, shown: set[int]
    ) -> tuple[tuple[Transition, ...], tuple[Hop, ...]]:
        kinetics = self._kinetics
        names = (*kinetics.kinds.crystal.states[1:], *self._plain_states())
        dopants = np.flatnonzero(direction > -2)
        states = dict(
            zip(kinetics.ident[dopants].tolist(), direction[dopants].tolist(), strict=True)
        )
        mobile = kinetics.free.sites + kinetics.bound.sites
        vacancies = {int(kinetics.ident[site]): site for site in mobile}
        transitions = tuple(
            Transition(frame, ident, names[self._states[ident]], names[state])
            for ident, state in states.items()
            if ident in shown and self._states.get(ident, state) != state
        )
        hops = tuple(
            self._hop(frame, ident, self._vacancies[ident], site)
            for ident, site in vacancies.items()
            if ident in shown and self._vacancies.get(ident, site) != site
        )
        self._states, self._vacancies = states, vacancies
        return transitions, hops

    def _hop(self, frame: int, ident: int, before: int, after: int) -> Hop:
        n = self._kinetics.table.cells
        _, cells = self._kinetics.table.place(np.array([before, after]))
        di, dj = (cells[1] - cells[0] + n // 2) % n - n // 2
        return Hop(frame, ident, int(di), int(dj), after in self._kinetics.bound)
