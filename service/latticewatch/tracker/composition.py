"""What the members of a class are: one species, or a mixture that no single name fits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from latticewatch.vacancies import SUBLATTICE, lost_shares
from latticewatch_models.crystal import Crystal

from .column_evidence import dark_levels
from .column_ratio import Measured
from .fusion import amounts_of
from .species import UNKNOWN, Readings, by_species

#: Least part of a class that must be one species for the class to be named after it.
PURE = 0.75


def held(measured: Measured | None, site: int, crystal: Crystal) -> dict[str, float] | None:
    """Part of the looks that is each reading; None where they were not read one by one."""
    if measured is None or not measured.held:
        return None
    names = [*dark_levels(crystal)]
    if site == SUBLATTICE:
        lost = lost_shares(crystal)
        names = [crystal.readings[lost.index(amount)].species for amount in amounts_of(crystal)]
    return dict(zip(names, measured.held, strict=True))


def composition(
    table: Readings,
    posterior: np.ndarray,
    shares: np.ndarray,
    looks: Sequence[Mapping[str, float] | None],
) -> dict[str, float]:
    """Parts of a class by species, the greatest first; they add up to one.

    Parameters
    ----------
    table
        Readings.
    posterior
        (1 + entries,), of the class by its columns' intensity (`species.class_posterior`).
    shares
        (3,), how its members spread over sublattices.
    looks
        What is `held` on each sublattice; where that is None all its members are taken for what
        their mean is read as.
    """
    parts: defaultdict[str, float] = defaultdict(float)
    for site, (share, read) in enumerate(zip(shares.tolist(), looks, strict=True)):
        here = np.where(table.sublattice == site, posterior[1:], 0.0)
        found = {_likeliest(table, here, share): 1.0} if read is None else read
        for name, part in found.items():
            parts[name] += share * part
    parts[UNKNOWN] += max(1.0 - sum(parts.values()), 0.0)
    return dict(sorted(parts.items(), key=lambda item: -item[1]))


def _likeliest(table: Readings, posterior: np.ndarray, share: float) -> str:
    """Species of greatest posterior; what the entries (n,) leave of `share` is "unknown"."""
    named = by_species(table, np.append(share - posterior.sum(), posterior)[None])[0]
    return table.names[int(named.argmax())]


def as_one(posterior: dict[str, float], parts: Mapping[str, float]) -> dict[str, float]:
    """Posterior of what a class is, the likeliest first: "unknown" if it is no single thing."""
    species = next(iter(posterior), None)
    if species is None or (species != UNKNOWN and parts.get(species, 0.0) < PURE):
        return {UNKNOWN: 1.0}
    return posterior
