"""What each class is, with the evidence: site, column intensity, neighbours, mean image."""

from __future__ import annotations

import numpy as np

from latticewatch.detections import PATCH_SIZE
from latticewatch.vacancies import SUBLATTICE
from latticewatch_models.crystal import Crystal

from .column_ratio import LATER_LOOKS, MEMBERS, Measured, of_looks, of_members
from .composition import as_one, composition, held
from .memory import Memory
from .samples import ClassSums
from .settings import TrackerSettings
from .species import HOLE_EDGE, UNKNOWN, Readings, by_species, class_posterior
from .surroundings import Surroundings, surroundings

Plain = dict[str, object]


def class_moments(sums: ClassSums) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shares over sublattices, mean column intensity, its standard error, spread; each (K, 3)."""
    weight, centre, squares = sums.columns[:, :3].transpose(1, 0, 2).copy()
    shares = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
    # With fewer than one member's worth of weight there is no mean to speak of.
    known, safe = weight >= 1.0, np.maximum(weight, 1.0)
    mean = centre / safe
    spread = np.sqrt(np.maximum(squares / safe - mean**2, 0.0)) * known
    return shares * known, np.where(known, mean, np.nan), spread / np.sqrt(safe), spread


def joint_readings(
    own: dict[str, float], around: Surroundings | None, crystal: Crystal
) -> dict[str, float]:
    """Posterior of what a class is as a whole, most probable first.

    A dopant with a vacant neighbour is ``dopant+vacancy``; what has columns missing on two sides is
    the edge of a hole, whatever its own column; odd surroundings make anything unknown. A vacancy
    or a dopant beside any other defect does not change its name.
    """
    result: dict[str, float] = {}
    sides = {"": 1.0} if around is None else around.posterior
    for species, p in own.items():
        for side, q in sides.items():
            name = species
            if side == UNKNOWN:
                name = UNKNOWN
            elif side == HOLE_EDGE:
                name = HOLE_EDGE
            elif crystal.dopant and species == crystal.dopant:
                vacant = side in (crystal.vacancy, f"{crystal.vacancy}2")
                name = f"{species}+{side}" if vacant else species
            result[name] = result.get(name, 0.0) + p * q
    return dict(sorted(result.items(), key=lambda item: -item[1]))


def _around(evidence: Surroundings | None, host: np.ndarray) -> Plain | None:
    if evidence is None:
        return None
    return {
        "sublattice": evidence.sublattice,
        "intensity": evidence.intensity.tolist(),
        "intensity_standard_error": evidence.error.tolist(),
        "host": float(host[evidence.sublattice]),
        "expected": {name: values.tolist() for name, values in evidence.expected.items()},
        "posterior": evidence.posterior,
    }


def _ratio(value: float | None, host: float) -> float | None:
    """Relative to the undisturbed column; None on the empty site."""
    return None if value is None or host <= 0 else value / host


def _measured(
    memory: Memory, number: int, moments: np.ndarray, hosts: np.ndarray, repeat_share: float
) -> list[Measured | None]:
    """Measure the columns of a class on each sublattice; `moments` (3, 3) are its members'.

    Where looks are read one by one, what most of them are is measured, else the members' mean.
    """
    columns, result = memory.columns, []
    read = {0: (columns.own, MEMBERS), SUBLATTICE: (columns.later, LATER_LOOKS)}
    for site, host in enumerate(map(float, hosts)):
        told = None
        if moments[0, site] >= 1.0 and site in read:
            told = of_looks(read[site][0], number, host, repeat_share, read[site][1])
        if told is None:
            told = of_members(columns, number, site, moments[:, site], host, repeat_share)
        result.append(told)
    return result


def _intensity(measured: Measured | None, host: float, credible: float) -> Plain:
    """Publish a class's column intensity, also over the undisturbed column, with its interval."""
    if measured is None:
        names = ("intensity", "intensity_standard_error", "ratio", "ratio_low", "ratio_high")
        return {**dict.fromkeys((*names, "measured_by")), "looks": 0.0}
    value, half = measured.value, measured.half_width(host, credible)
    return {
        "intensity": value,
        "intensity_standard_error": measured.error,
        "ratio": _ratio(value, host),
        "ratio_low": _ratio(value - half, host),
        "ratio_high": _ratio(value + half, host),
        "measured_by": measured.by,
        "looks": measured.looks,
    }


def _remeasured(
    memory: Memory, moments: list[np.ndarray], hosts: np.ndarray, repeat_share: float
) -> tuple[list[list[Measured | None]], np.ndarray, np.ndarray, np.ndarray]:
    """Measure every class anew; with it mean, error and spread (K, 3), as measured where they are.

    `moments` are the members' mean, its standard error and their spread, each (K, 3).
    """
    mean, error, spread = (values.copy() for values in moments)
    each = np.stack([memory.classifier.sums.weight, mean, error], axis=1)
    measured = [_measured(memory, k, m, hosts, repeat_share) for k, m in enumerate(each)]
    for k, site in np.ndindex(mean.shape):
        one = measured[k][site]
        if one is not None:
            mean[k, site], error[k, site] = one.value, one.error
            # later looks were not chosen by their noise: their mean is what it is
            spread[k, site] *= one.by == MEMBERS
    return measured, mean, error, spread


def _expected(table: Readings, site: int) -> dict[str, float]:
    """Give the intensity expected of a column on a sublattice, by the species on it."""
    return {
        table.names[table.code[e]]: float(table.expected[e])
        for e in np.flatnonzero((table.sublattice == site) & ~table.host)
    }


def class_statistics(
    memory: Memory, table: Readings, settings: TrackerSettings, crystal: Crystal
) -> list[Plain]:
    """Each class that there is: size, site, evidence for its reading, mean image."""
    sums, roster, mixture = (
        memory.classifier.sums, memory.classifier.roster, memory.classifier.mixture
    )  # fmt: skip
    if mixture is None:
        return []
    shares, *moments = class_moments(sums)
    hosts = table.expected[table.host]
    measured, mean, error, spread = _remeasured(memory, moments, hosts, settings.repeat_share)
    posterior = class_posterior(table, shares, mean, error, spread)
    named = by_species(table, posterior)
    result: list[Plain] = []
    for place in np.argsort(roster.numbers):
        k = int(roster.numbers[place])
        site = int(sums.weight[k].argmax())
        members = float(sums.weight[k].sum())
        order = [i for i in np.argsort(-named[k], kind="stable") if named[k, i] > 0]
        looks = [held(one, site, crystal) for site, one in enumerate(measured[k])]
        parts = composition(table, posterior[k], shares[k], looks)
        own = as_one({table.names[i]: float(named[k, i]) for i in order}, parts)
        around = surroundings(
            table,
            site,
            (members, sums.around[k], sums.around_squares[k]),
            settings.intensity_systematic,
        )
        expected = _expected(table, site)
        host = float(hosts[site])
        readings = joint_readings(own, around, crystal)
        image = sums.image[k] / max(members, 1e-12)
        result.append(
            {
                "class_id": k,
                "since_frame": int(roster.since[k]),
                "weight": float(mixture.weights[place]),
                "members": members,
                "species": next(iter(own)),
                "posterior": own,
                "reading": next(iter(readings)),
                "readings": readings,
                "sublattice": site,
                "sublattice_shares": shares[k].tolist(),
                **_intensity(measured[k][site], host, settings.credible),
                "held": looks[site],
                "composition": parts,
                "expected": expected,
                "host": host,
                "expected_ratio": {n: _ratio(v, host) for n, v in expected.items()},
                "neighbours": _around(around, hosts),
                "population": memory.members.summary(k, settings.credible),
                "mean_image": np.round(image.reshape(PATCH_SIZE, PATCH_SIZE), 4).tolist(),
            }
        )
    return result


def choice_statistics(memory: Memory, settings: TrackerSettings) -> Plain:
    """How the number of classes came about, and what became of class numbers."""
    roster = memory.classifier.roster
    given = np.flatnonzero(roster.since >= 0)
    return {
        "chosen_by": "bic" if isinstance(settings.classes, str) else "settings",
        "bic": {str(k): value for k, value in roster.bic.items()},
        "merged": {str(k): int(roster.into[k]) for k in given if roster.into[k] >= 0},
        "numbers_left": settings.room - len(given),
    }
