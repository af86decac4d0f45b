"""What the tracker has learnt, as plain JSON-able values; each estimate with its interval."""

from __future__ import annotations

import numpy as np

from latticewatch_models.crystal import Crystal

from . import clustering, diffusion, displacement_modes, fusion, inferred, transitions, watching
from .beliefs import state_matrix
from .class_changes import chosen_counts
from .interpretation import choice_statistics, class_statistics
from .memory import CONSTANT, CRYSTALLINE, DENSITY, DISORDERED, HEIGHT, HOLE, NOISE, Memory
from .series import Series
from .settings import TrackerSettings
from .species import Readings, species_names

#: Names of the sublattices, in the order of their numbers.
SUBLATTICES = ("metal", "chalcogen", "empty")
SUBLATTICES_ALIKE = ("A", "B", "empty")

Plain = dict[str, object]


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
        "window_variance": clustering.summary(memory.windows.all(), constant, credible),
    }


def infer(memory: Memory, settings: TrackerSettings, crystal: Crystal) -> Plain:
    """Make the costly estimates: states behind single frames' labels, columns around dopants."""
    credible = settings.credible
    return {
        "transitions": inferred.summary(memory.kinetics.words, crystal.states, credible),
        "crystallography": displacement_modes.summary(memory.displacements, crystal, credible),
        "inferred_at_frame": memory.frame,
    }


def statistics(
    memory: Memory,
    settings: TrackerSettings,
    crystal: Crystal,
    table: Readings,
    slow: Plain,
) -> Plain:
    """Assemble the statistics, `slow` from `infer`; see docs/tracker.md for every key."""
    credible, names, kinetics = settings.credible, species_names(crystal), memory.kinetics
    numbers = np.sort(memory.classifier.roster.numbers)
    if not len(numbers) and isinstance(settings.classes, int):  # those that there will be
        numbers = np.arange(settings.classes)
    class_names = tuple(str(k) for k in numbers)
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
        "classes": class_statistics(memory, table, settings, crystal),
        "class_choice": choice_statistics(memory, settings),
        "residual_share": {"warm_up": residual[0], "now": residual[1]} if warm else None,
        "populations": _named(memory.defects, names, 0, credible),
        "states": _named(memory.defects, crystal.states, len(names), credible),
        "transitions": {
            **transitions.summary(kinetics.states, crystal.states, credible),
            **slow["transitions"],  # type: ignore[dict-item]
            "label_error": memory.doubt.summary(0, credible),
            "filter": state_matrix(memory.soft_steps, settings.state_change).tolist(),
        },
        "class_transitions": transitions.summary(
            chosen_counts(kinetics.classes, numbers), class_names, credible
        ),
        "diffusion": _diffusion(memory, crystal, credible),
        "fusion": fusion.summary(memory.sites, memory.vacancies, credible),
        "crystallography": slow["crystallography"],
        "inferred_at_frame": slow["inferred_at_frame"],
        "changes": watching.summary(memory.watch, crystal),
        "tracks": {"open": len(memory.tracks), "closed": memory.closed},
        "fractions": {
            "crystalline": memory.optics.summary(CRYSTALLINE, credible, 1.0),
            "disordered": memory.optics.summary(DISORDERED, credible, 1.0),
            "hole": memory.optics.summary(HOLE, credible, 1.0),
        },
        "defect_density_nm2": memory.optics.summary(DENSITY, credible),
    }
