"""Column intensity of each class over the undisturbed column, measured and expected."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
from judging.frames import SPECIMEN, judged
from scipy.spatial import cKDTree

from estimating.fusion import CRYSTAL, SHAPE, movie
from latticewatch.analysis import Analyser
from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.labelling import label, site_intensity
from latticewatch_kernels.registration import register
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.imaging import Detector
from latticewatch_models.kinetics import Rates
from latticewatch_models.microscope import ImagingConfig, Microscope
from latticewatch_models.scoring import match

#: Apart from all seeds of training and of the other benches.
FIRST_SEED = 1_670_000_000

DOSES = (1600.0, 8000.0)

#: Probes of which the tails' effect is told, as settings of the microscope.
PROBES: dict[str, dict[str, float]] = {
    "default, 30 % in the tails": {},
    "no tails": {"tail_share": 0.0},
    "15 %": {"tail_share": 0.15},
    "40 %": {"tail_share": 0.4},
    "40 %, core of 0.12 nm": {"tail_share": 0.4, "probe_fwhm_nm": 0.12},
    "default, 0.05 nm a pixel": {"pixel_size_nm": 0.05},
    "default, contamination 0.3": {"contamination": 0.3},
}

HEADINGS = (
    "dose, e/px", "seed", "class", "members", "their mean", "held", "measured by", "ratio",
    "expected", "inside",
)  # fmt: skip

#: A class tells something with so many members, its truth with so many of them matched.
LEAST_MEMBERS, LEAST_MATCHED = 30.0, 20
#: Parts of a class that are one species by truth, by which its naming is told: half-open ranges.
PARTS = ((0.9, 1.01), (0.75, 0.9), (0.0, 0.75))


def true_columns(
    dose: float, seeds: range, settings: dict[str, float] | None = None
) -> dict[str, np.ndarray]:
    """Measure the columns of true defects on frames of 512 x 512, those of a hole's rim left out.

    By species (n, 2): intensity over the frame's undisturbed column as the service measures it, and
    whether the frame alone reported the site. The detector is never saturated.
    """
    analyser, found = Analyser(crystal=CRYSTALS[CRYSTAL]), defaultdict(list)
    for seed in seeds:
        rotation = float(np.random.default_rng(seed).uniform(-60, 60))
        detector = Detector(dtype="float32")
        imaging = ImagingConfig(dose_e_per_pixel=dose, rotation_deg=rotation, detector=detector)
        imaging = replace(imaging, **(settings or {}))
        frame = Microscope(CRYSTAL, (512, 512), seed, SPECIMEN, imaging).acquire()
        truth, image = judged(frame.truth), condition(frame.image)
        lattice = register(image)
        labels, reported = label(image, lattice), analyser(frame.image)
        places = cKDTree(np.stack([reported.x_px, reported.y_px], axis=-1))
        points, species = truth.points[truth.counts], truth.species[truth.counts]
        cells, sublattice, _ = lattice.nearest_site(points - labels.order.displacement_at(points))
        told = places.query(points)[0] <= truth.reach_px
        own = site_intensity(labels, lattice, cells, sublattice)
        ratio = own / np.array([*labels.columns.host[:2], 1.0])[sublattice]
        for name, site, *values in zip(species, sublattice, ratio, told, strict=True):
            found[f"{name}, sublattice {site}"].append(values)
    return {name: np.array(rows, float) for name, rows in sorted(found.items())}


def classes(seed: int, dose: float, frames: int) -> list[dict[str, Any]]:
    """Run a movie of default rates through the service; its classes, with the members' own mean.

    And with the members' true species, ``true``; those without a truth are left out: the simulator
    lists no columns at the rims of holes.
    """
    tracker, true = Tracker(TrackerSettings(), CRYSTALS[CRYSTAL]), defaultdict(Counter)
    for frame in movie(Analyser(crystal=CRYSTALS[CRYSTAL]), seed, dose, Rates(), frames):
        table, truth = tracker.apply(frame.info, frame.detections).table, frame.truth
        points = np.stack([table["x_px"], table["y_px"]], axis=-1)
        for row, one in zip(*match(points, truth.points, truth.reach_px), strict=True):
            name = truth.species[one]
            true[int(table["class_id"][row])]["VS" if name == "bound" else str(name)] += 1
    sums, told = tracker._memory.classifier.sums, tracker.statistics()["classes"]
    for one in told:
        place = one["class_id"], one["sublattice"]
        one["members_ratio"] = sums.centre[place] / max(sums.weight[place], 1e-12)
        one["members_ratio"] /= one["host"] or 1.0
        one["true"] = true[one["class_id"]]
    return told


def measured(one: dict[str, Any]) -> bool:
    """Whether a class has a ratio and members enough to tell something."""
    return one["ratio"] is not None and one["members"] >= LEAST_MEMBERS


def agrees(one: dict[str, Any]) -> bool | None:
    """Whether the expected ratio of a class's species lies inside the measured one's interval.

    None if the class is named after nothing that expects one.
    """
    expected = one["expected_ratio"].get(one["species"])
    return None if expected is None else bool(one["ratio_low"] <= expected <= one["ratio_high"])


def class_row(dose: float, seed: int, one: dict[str, Any]) -> str:
    """Line of the table of classes."""
    inside, name = agrees(one), one["species"]
    row = [
        f"{dose:.0f}", str(seed), f"{one['class_id']}: {one['reading']}",
        f"{one['members']:.0f}", f"{one['members_ratio']:.3f}",
        ", ".join(f"{k} {v:.2f}" for k, v in (one["held"] or {}).items()),
        f"{one['looks']:.0f} {one['measured_by'].replace('_', ' ')}",
        f"{one['ratio']:.3f} [{one['ratio_low']:.3f}, {one['ratio_high']:.3f}]",
        "" if inside is None else f"{name} {one['expected_ratio'][name]:.3f}",
        {None: "", True: "yes", False: "no"}[inside],
    ]  # fmt: skip
    return "| " + " | ".join(row) + " |"


def naming(found: list[dict[str, Any]]) -> list[str]:
    """Tell how classes are named, by how much of them is one species."""
    lines = [
        "| part that is one species | classes | named after it | unknown | named after another |",
        "| --- | --- | --- | --- | --- |",
    ]
    told = []
    for one in found:
        if one["members"] >= LEAST_MEMBERS and one["true"].total() >= LEAST_MATCHED:
            (name, most), *_ = one["true"].most_common(1)
            kind = {name: 0, "unknown": 1}.get(one["species"], 2)
            told.append((most / one["true"].total(), kind))
    for low, high in PARTS:
        kinds = [kind for part, kind in told if low <= part < high]
        counts = " | ".join(str(n) for n in np.bincount(kinds, minlength=3))
        lines.append(f"| {low:.2f} to {min(high, 1.0):.2f} | {len(kinds)} | {counts} |")
    return lines


def _probes(frames: int) -> list[str]:
    """Tell how much too large the contrast of metal columns reads, by probe."""
    lines = [
        "Measured contrast over true, 20,000 e/px at 0.03 nm:",
        "| probe | MoW | VW |",
        "| --- | --- | --- |",
    ]
    readings = {
        r.species: CRYSTALS[CRYSTAL].reading_intensity(r) for r in CRYSTALS[CRYSTAL].readings
    }
    for name, probe in PROBES.items():
        found = true_columns(20_000.0, range(FIRST_SEED, FIRST_SEED + frames), probe)
        cells = []
        for species in ("MoW", "VW"):
            gain = (1.0 - found[f"{species}, sublattice 0"][:, 0]) / (1.0 - readings[species])
            cells.append(f"{gain.mean():.3f} +- {gain.std() / np.sqrt(len(gain)):.3f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main_table(quick: bool = False) -> str:
    """Tell what true columns measure, reported or not, and the classes of whole movies."""
    lines = [
        "| dose, e/px | defect | columns | mean over the host | reported alone: columns | mean |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for dose in (*DOSES, 100_000.0):
        for name, rows in true_columns(
            dose, range(FIRST_SEED, FIRST_SEED + (2 if quick else 8))
        ).items():
            told = rows[rows[:, 1] > 0, 0]
            parts = (
                f"{len(v)} | {v.mean():.3f}" if len(v) else "0 | -" for v in (rows[:, 0], told)
            )
            lines.append(f"| {dose:.0f} | {name} | {' | '.join(parts)} |")
    lines += ["", *_probes(2 if quick else 4), ""]
    frames, seeds, shown = (40, 1, 1) if quick else (80, 8, 3)
    every = []
    lines += [
        f"Classes after {frames} frames of {SHAPE[0]} x {SHAPE[1]}, default rates:",
        f"| {' | '.join(HEADINGS)} |",
        "|" + " --- |" * len(HEADINGS),
    ]
    for dose in DOSES:
        for seed in range(seeds):
            found = classes(FIRST_SEED + seed, dose, frames)
            every += found
            if seed < shown:
                lines += [class_row(dose, seed, one) for one in filter(measured, found)]
    lines += ["", f"All classes of {2 * seeds} such movies:", *naming(every)]
    return "\n".join(lines)
