"""Kinetic Monte Carlo of the defects: an exact continuous-time Markov chain with stated rates.

Events are sorted into classes (a free vacancy's jump, a bound one's, an adatom's, damage, ...), as
in the n-fold way of Bortz, Kalos and Lebowitz, J. Comput. Phys. 17, 10 (1975). Within a class every
candidate is drawn at the class's largest rate and then accepted with the ratio of its own rate to
that (null events), which leaves waiting times exponential with the stated rates and needs no list
of rates to be kept up to date.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from latticewatch_models.crystal import EMPTY_SITE
from latticewatch_models.specimen import HOST, Kinds, SiteTable

#: Square nanometres in a barn (1e-28 m^2).
NM2_PER_BARN = 1e-10


@dataclass(frozen=True)
class Rates:
    """Rates of all processes: thermal or beam-assisted ones per second, damage per dose.

    Rates of jumps are for one jump to one given neighbour: a free vacancy with six free neighbours
    leaves at ``6 * hop_per_s``, so that its diffusion coefficient is ``1.5 * a^2 * hop_per_s``.

    Attributes
    ----------
    hop_per_s
        Free vacancy to a neighbouring free site.
    bind_per_s, unbind_per_s
        Onto a site beside a dopant, and off it. Their ratio is the ratio of the occupations of such
        a site and of a free one in equilibrium (detailed balance).
    rotate_per_s
        Between two sites beside dopants: the dopant's state changes its direction.
    adatom_hop_per_s
        Adatom to one of its neighbouring sites.
    adatom_loss_per_s, adatom_arrival_per_cell_s
        Desorption of each adatom; arrival per unit cell.
    damage_barn
        Cross-section for knocking out one atom of a column of sublattice 1, per atom.
    metal_damage_barn
        The same for sublattice 0.
    hole_nucleation_barn
        Cross-section, per vacancy of sublattice 0, for turning it into a hole.
    hole_growth_barn
        Cross-section of a column at a hole's edge, times its lost neighbours (1 or 2; a column that
        has lost all three goes at once).
    """

    hop_per_s: float = 0.01
    bind_per_s: float = 0.15
    unbind_per_s: float = 0.007
    rotate_per_s: float = 0.03
    adatom_hop_per_s: float = 0.01
    adatom_loss_per_s: float = 0.002
    adatom_arrival_per_cell_s: float = 4e-6
    damage_barn: float = 0.2
    metal_damage_barn: float = 0.02
    hole_nucleation_barn: float = 3.0
    hole_growth_barn: float = 100.0


class Event(NamedTuple):
    """One event: what happened when, to which defect, from which site to which."""

    time_s: float
    name: str
    ident: int
    source: int
    target: int


class Pool:
    """A set of sites to draw from evenly, in constant time and in a reproducible order."""

    __slots__ = ("_place", "_sites")

    def __init__(self) -> None:
        self._sites: list[int] = []
        self._place: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._sites)

    def __contains__(self, site: int) -> bool:
        return site in self._place

    def add(self, site: int) -> None:
        """Put a site in; again has no effect."""
        if site not in self._place:
            self._place[site] = len(self._sites)
            self._sites.append(site)

    def discard(self, site: int) -> None:
        """Take a site out, if it is in; the last one takes its place."""
        place = self._place.pop(site, None)
        if place is None:
            return
        last = self._sites.pop()
        if place < len(self._sites):
            self._sites[place] = last
            self._place[last] = place

    @property
    def sites(self) -> list[int]:
        """The sites, in the order of drawing; a copy."""
        return list(self._sites)

    def draw(self, u: float) -> int:
        """Site for u in [0, 1)."""
        return self._sites[int(u * len(self._sites))]


class Kinetics:
    """The specimen in time.

    Parameters
    ----------
    kind
        int16 (3 n^2,), what stands on each site; changed in place.
    table, kinds
        Neighbours and readings.
    rates
        Rates of all processes.
    flux_e_per_nm2_s
        Beam current density averaged over a frame; damage rates are cross-section times flux.
    rng
        Source of all randomness.
    """

    def __init__(
        self,
        kind: np.ndarray,
        table: SiteTable,
        kinds: Kinds,
        rates: Rates,
        flux_e_per_nm2_s: float,
        rng: np.random.Generator,
    ) -> None:
        self.kind, self.table, self.kinds, self.rates = kind, table, kinds, rates
        self.time_s = 0.0
        self.ident = np.full(len(kind), -1, np.int64)
        self.free, self.bound, self.adatoms = Pool(), Pool(), Pool()
        self.metal_vacancies, self.edges = Pool(), Pool()
        self._random = rng.random
        self._n = table.cells**2
        self._bonds = table.bond_lists
        self._ring = table.ring_lists
        self._next_ident = 0
        self._events: list[Event] = []
        self._adatom_targets = table.around if len(kinds.adatoms) > 1 else table.ring
        for site in np.flatnonzero((kind != HOST) & (kind != kinds.removed)):
            self._born(int(site), int(kind[site]))
        for site in np.flatnonzero(kind == kinds.removed):
            for loose in self._expose(int(site)):
                self._remove(loose, "growth")
        self._classes = self._processes(flux_e_per_nm2_s * NM2_PER_BARN)

    def _processes(
        self, per_barn: float
    ) -> tuple[tuple[Callable[[], float], Callable[[float], None]], ...]:
        """Each class: its total rate (an upper bound) and what is tried when it comes up."""
        r = self.rates
        free, bound = max(r.hop_per_s, r.bind_per_s), max(r.unbind_per_s, r.rotate_per_s)
        atoms = [max(1, int(self.kinds.atoms[HOST, s])) for s in (0, 1)]
        damage = [r.metal_damage_barn * per_barn, r.damage_barn * per_barn]
        return (
            (lambda: len(self.free) * 6 * free, lambda u: self._try_jump(self.free, u, free)),
            (lambda: len(self.bound) * 6 * bound, lambda u: self._try_jump(self.bound, u, bound)),
            (lambda: len(self.adatoms) * 6 * r.adatom_hop_per_s, self._try_adatom_hop),
            (lambda: len(self.adatoms) * r.adatom_loss_per_s, self._lose_adatom),
            (lambda: self._n * r.adatom_arrival_per_cell_s, self._try_arrival),
            (lambda: self._n * atoms[0] * damage[0], lambda u: self._try_damage(0, atoms[0], u)),
            (lambda: self._n * atoms[1] * damage[1], lambda u: self._try_damage(1, atoms[1], u)),
            (
                lambda: len(self.metal_vacancies) * r.hole_nucleation_barn * per_barn,
                lambda u: self._nucleate(self.metal_vacancies.draw(u)),
            ),
            (lambda: len(self.edges) * 2 * r.hole_growth_barn * per_barn, self._try_growth),
        )

    def advance(self, duration_s: float) -> list[Event]:
        """Let ``duration_s`` seconds pass and return what happened, in order."""
        end = self.time_s + duration_s
        self._events = []
        while True:
            totals = [rate() for rate, _ in self._classes]
            total = sum(totals)
            # memoryless: a waiting time that reaches past the end may be drawn anew next time
            step = -np.log1p(-self._random()) / total if total > 0.0 else np.inf
            if self.time_s + step > end:
                self.time_s = end
                return self._events
            self.time_s += step
            pick = self._random() * total
            for (_, attempt), rate in zip(self._classes, totals, strict=True):
                if pick < rate:
                    attempt(pick / rate)
                    break
                pick -= rate

    def _log(self, name: str, ident: int, source: int, target: int) -> None:
        self._events.append(Event(self.time_s, name, ident, source, target))

    def _born(self, site: int, kind: int, ident: int = -1) -> None:
        """Enter a defect into the books; a new one gets the next number."""
        if ident < 0:
            ident = self._next_ident
            self._next_ident += 1
        self.kind[site], self.ident[site] = kind, ident
        if kind == self.kinds.mobile:
            (self.bound if self._dopants_beside(site) else self.free).add(site)
        elif kind == self.kinds.adatoms.get(site // self._n):
            self.adatoms.add(site)
        elif site < self._n and kind == self.kinds.vacancies.get((0, 1)):
            self.metal_vacancies.add(site)

    def _clear(self, site: int, kind: int = HOST) -> int:
        """Take what stands on a site out of the books; its number is returned."""
        for pool in (self.free, self.bound, self.adatoms, self.metal_vacancies):
            pool.discard(site)
        ident = int(self.ident[site])
        self.kind[site], self.ident[site] = kind, -1
        return ident

    def _dopants_beside(self, site: int) -> list[int]:
        stateful = self.kinds.stateful
        return [s for s in self._bonds[site] if self.kind[s] == stateful] if stateful >= 0 else []

    def _may_hold_vacancy(self, site: int, source: int = -1) -> bool:
        """Whether no dopant beside the site holds a vacancy yet: each holds one."""
        return not any(
            other not in (site, source) and self.kind[other] == self.kinds.mobile
            for dopant in self._dopants_beside(site)
            for other in self._bonds[dopant]
        )

    def _try_jump(self, pool: Pool, u: float, largest: float) -> None:
        source = pool.draw(u)
        target = self._ring[source][int(self._random() * 6)]
        if self.kind[target] != HOST or not self._may_hold_vacancy(target, source):
            return
        bound, binds = source in self.bound, bool(self._dopants_beside(target))
        r = self.rates
        if bound:
            name, rate = ("rotate", r.rotate_per_s) if binds else ("unbind", r.unbind_per_s)
        else:
            name, rate = ("bind", r.bind_per_s) if binds else ("hop", r.hop_per_s)
        if self._random() * largest < rate:
            ident = self._clear(source)
            self._born(target, self.kinds.mobile, ident)
            self._log(name, ident, source, target)

    def _holds_adatom(self, site: int) -> bool:
        """Whether a site is free for an adatom: undisturbed, and not over a hole."""
        lost = self.kinds.removed
        near = self.table.around[site] if site >= EMPTY_SITE * self._n else self._bonds[site]
        return self.kind[site] == HOST and not any(self.kind[s] == lost for s in near)

    def _try_adatom_hop(self, u: float) -> None:
        source = self.adatoms.draw(u)
        target = int(self._adatom_targets[source, int(self._random() * 6)])
        kind = self.kinds.adatoms.get(target // self._n)
        if kind is not None and self._holds_adatom(target):
            ident = self._clear(source)
            self._born(target, kind, ident)
            self._log("adatom_hop", ident, source, target)

    def _lose_adatom(self, u: float) -> None:
        site = self.adatoms.draw(u)
        self._log("adatom_loss", self._clear(site), site, -1)

    def _try_arrival(self, u: float) -> None:
        if not self.kinds.adatoms:
            return
        sublattice = max(self.kinds.adatoms)
        site = sublattice * self._n + int(u * self._n)
        if self._holds_adatom(site):
            self._born(site, self.kinds.adatoms[sublattice])
            self._log("adatom_arrival", int(self.ident[site]), -1, site)

    def _try_damage(self, sublattice: int, atoms: int, u: float) -> None:
        site = sublattice * self._n + int(u * self._n)
        before = int(self.kind[site])
        after = int(self.kinds.loss[before, sublattice])
        if after < 0 or self._random() * atoms >= self.kinds.atoms[before, sublattice]:
            return
        if after == self.kinds.mobile and not self._may_hold_vacancy(site):
            return
        self._born(site, after, self._clear(site))
        self._log("damage", int(self.ident[site]), -1, site)

    def _nucleate(self, site: int) -> None:
        """Turn a metal vacancy and its three bonded columns into a hole."""
        for lost in [site, *self._bonds[site]]:
            self._remove(lost, "nucleation")

    def _try_growth(self, u: float) -> None:
        site = self.edges.draw(u)
        lost = sum(self.kind[s] == self.kinds.removed for s in self._bonds[site])
        if self._random() * 2 < lost:
            self._remove(site, "growth")

    def _remove(self, site: int, name: str) -> None:
        """Take a column into a hole, and with it what has lost its last bond."""
        if self.kind[site] == self.kinds.removed:
            return
        was_dopant = self.kind[site] == self.kinds.stateful
        self._log(name, self._clear(site, self.kinds.removed), site, -1)
        for near in self._bonds[site] if was_dopant else ():
            if near in self.bound and not self._dopants_beside(near):
                self.bound.discard(near)
                self.free.add(near)
        for near in self._expose(site):
            self._remove(near, name)

    def _expose(self, site: int) -> list[int]:
        """Make the neighbours of a lost column edges; those without a bond left are returned."""
        self.edges.discard(site)
        loose = []
        for near in self.table.around[site].tolist():
            if near >= EMPTY_SITE * self._n:
                if near in self.adatoms:
                    self._log("adatom_loss", self._clear(near), near, -1)
            elif self.kind[near] != self.kinds.removed:
                self.edges.add(near)
                if all(self.kind[s] == self.kinds.removed for s in self._bonds[near]):
                    loose.append(near)
        return loose
