"""What the tracker has learnt, as plain JSON-able values; each estimate with its interval."""

from __future__ import annotations

import numpy as np

from latticewatch.detections import PATCH_SIZE
from latticewatch_models.crystal import Crystal

from . import clustering, diffusion, displacement_modes, fusion, transitions, watching
from .beliefs import state_matrix
from .classes import ClassSums
from .memory import CONSTANT, CRYSTALLINE, DENSITY, DISORDERED, HEIGHT, HOLE, NOISE, Memory
from .series import Series
from .settings import TrackerSettings
from .species import UNKNOWN, Readings, by_species, class_posterior, species_names

#: Names of the sublattices, in the order of their numbers.
SUBLATTICES = ("metal", "chalcogen", "empty")
SUBLATTICES_ALIKE = ("A", "B", "empty")

Plain = dict[str, object]


def class_moments(sums: ClassSums) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shares over sublattices, mean column intensity, its standard error, spread; each (K, 3)."""
    weight = sums.weight
    shares = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
    safe = np.maximum(weight, 1e-12)
    mean = sums.centre / safe
    spread = np.maximum(sums.squares / safe - mean**2, 0.0)
    # With fewer than one member's worth of weight there is no mean to speak of.
    known = weight >= 1.0
    error = np.sqrt(spread / np.maximum(weight, 1.0))
    error = np.where(known, error, 0.0)
    return shares * known, np.where(known, mean, np.nan), error, np.sqrt(spread) * known


def _classes(memory: Memory, table: Readings, credible: float) -> list[Plain]:
    """Each class: size, site, evidence for its reading, mean image."""
    mixture, sums = memory.classifier.mixture, memory.classifier.sums
    if mixture is None:
        return []
    shares, mean, error, spread = class_moments(sums)
    posterior = class_posterior(table, shares, mean, error, spread)
    named = by_species(table, posterior)
    result: list[Plain] = []
    for k in range(len(mixture.weights)):
        site = int(sums.weight[k].argmax())
        members = float(sums.weight[k].sum())
        order = np.argsort(-named[k], kind="stable")
        top = table.names[order[0]] if named[k, order[0]] > 0 else UNKNOWN
        expected = {
            table.names[table.code[e]]: float(table.expected[e])
            for e in np.flatnonzero((table.sublattice == site) & ~table.host)
        }
        image = sums.image[k] / max(members, 1e-12)
        result.append(
            {
                "class_id": k,
                "weight": float(mixture.weights[k]),
                "members": members,
                "species": top,
                "posterior": {table.names[i]: float(named[k, i]) for i in order if named[k, i] > 0},
                "sublattice": site,
                "sublattice_shares": shares[k].tolist(),
                "intensity": None if np.isnan(mean[k, site]) else float(mean[k, site]),
                "intensity_standard_error": float(error[k, site]),
                "expected": expected,
                "host": float(table.expected[table.host][site]),
                "population": memory.members.summary(k, credible),
                "mean_image": np.round(image.reshape(PATCH_SIZE, PATCH_SIZE), 4).tolist(),
            }
        )
    return result


def _named(series: Series, names: tuple[str, ...], start: int, credible: float) -> Plain:
    return {name: series.summary(start + i, credible) for i, name in enumerate(names)}


def _lattice(memory: Memory, crystal: Crystal, credible: float) -> Plain:
    """Measured lattice constant against the literature's: shows a wrong calibration."""
    pixels = memory.optics.summary(CONSTANT, credible)
    literature = crystal.lattice_constant_nm
    # With a pixel size that came from the lattice itself nothing was measured: the keys stay.
    nm: Plain = dict.fromkeys(pixels)
    deviation: Plain = dict.fromkeys(pixels)
    if memory.pixel_source == "header":
        nm = {k: None if v is None else v * memory.pixel_size_nm for k, v in pixels.items()}
        deviation = {
            k: None if v is None else v * memory.pixel_size_nm / literature - 1.0
            for k, v in pixels.items()
        }
    return {
        "constant_px": pixels,
        "constant_nm": nm,
        "literature_nm": literature,
        "deviation": deviation,
        "rotation_deg": memory.rotation_deg if memory.anchor is not None else None,
        "drift_px": None if memory.anchor is None else memory.anchor.drift.tolist(),
        "host_height": memory.optics.summary(HEIGHT, credible),
        "column_noise": memory.optics.summary(NOISE, credible),
    }


def _diffusion(memory: Memory, crystal: Crystal, credible: float) -> Plain:
    kinetics, constant = memory.kinetics, crystal.lattice_constant_nm
    return {
        "species": crystal.vacancy or None,
        "all": diffusion.summary(kinetics.all_steps, constant, credible),
        "free": diffusion.summary(kinetics.free_steps, constant, credible),
        "window_variance": clustering.summary(memory.windows, constant, credible),
    }


def statistics(
    memory: Memory, settings: TrackerSettings, crystal: Crystal, table: Readings
) -> Plain:
    """Assemble the statistics; see docs/tracker.md for every key."""
    credible, names, kinetics = settings.credible, species_names(crystal), memory.kinetics
    class_names = tuple(str(k) for k in range(settings.classes))
    first = memory.first_time_s if memory.frames else None
    residual = memory.classifier.residual
    warm = memory.classifier.mixture is not None
    return {
        "frames": memory.frames,
        "missing": memory.missing,
        "duplicates": memory.duplicates,
        "time_s": {"first": first, "last": memory.time_s if memory.frame >= 0 else None},
        "credible": credible,
        "pixel_size_nm": memory.pixel_size_nm or None,
        "pixel_size_source": memory.pixel_source or None,
        "lattice": _lattice(memory, crystal, credible),
        "sublattices": list(
            SUBLATTICES_ALIKE if crystal.columns[0] == crystal.columns[1] else SUBLATTICES
        ),
        "classes": _classes(memory, table, credible),
        "residual_share": {"warm_up": residual[0], "now": residual[1]} if warm else None,
        "populations": _named(memory.defects, names, 0, credible),
        "states": _named(memory.defects, crystal.states, len(names), credible),
        "transitions": {
            **transitions.summary(kinetics.states, crystal.states, credible),
            "label_error": memory.doubt.summary(0, credible),
            "filter": state_matrix(memory.soft_steps, settings.state_change).tolist(),
        },
        "class_transitions": transitions.summary(kinetics.classes, class_names, credible),
        "diffusion": _diffusion(memory, crystal, credible),
        "fusion": fusion.summary(memory.sites, memory.vacancies, credible),
        "crystallography": displacement_modes.summary(memory.displacements, crystal, credible),
        "changes": watching.summary(memory.watch, crystal),
        "tracks": {"open": len(memory.tracks), "closed": memory.closed},
        "fractions": {
            "crystalline": memory.optics.summary(CRYSTALLINE, credible, 1.0),
            "disordered": memory.optics.summary(DISORDERED, credible, 1.0),
            "hole": memory.optics.summary(HOLE, credible, 1.0),
        },
        "defect_density_nm2": memory.optics.summary(DENSITY, credible),
    }
