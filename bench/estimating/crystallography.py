"""Displacements around dopants against those that the simulated specimen was given.

Every Mo that holds a vacancy is moved toward it, and nothing else is. `single_frames` measures
given dopants in their true states: the kernel alone. `movie` is the whole service: it finds the
dopants, tells their states and adds them up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from latticewatch.analysis import Analyser
from latticewatch.detections import FrameInfo
from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.tracker.anchor import Alignment
from latticewatch.tracker.crystallography import to_session
from latticewatch.tracker.displacement_modes import turned_by
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.displacements import column_displacements
from latticewatch_kernels.labelling import label
from latticewatch_kernels.lattice import Lattice
from latticewatch_kernels.registration import register
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import ImagingConfig, Microscope, SpecimenConfig
from latticewatch_models.runtime import Segmenter
from latticewatch_models.truth import Truth

WS2 = CRYSTALS["WS2"]
#: Side of a frame, pixels: 80 dopants in each.
SIDE = 512
#: Dopants nearer to the border than this, pixels, have no six neighbours in the frame.
RIM = 16.0
STILL = Alignment(np.eye(2), np.zeros(2), 0, flipped=False)


@dataclass(frozen=True)
class Case:
    """One condition: imposed displacement, pm, and what differs from the default imaging."""

    name: str
    shift_pm: float
    imaging: dict[str, float] = field(default_factory=dict)


CLEAN = {"jitter_px": 0.0, "contamination": 0.0, "drift_nm_per_frame": 0.0}
CASES = tuple(
    Case(name, shift, imaging)
    for name, imaging in (
        ("clean", CLEAN),
        ("default", {}),
        ("contaminated", {"contamination": 0.3, "amorphous": 0.3, "jitter_px": 0.5}),
        ("wide probe", {"probe_fwhm_nm": 0.12, "tail_share": 0.4}),
        ("800 e/px", {"dose_e_per_pixel": 800.0}),
        ("6,400 e/px", {"dose_e_per_pixel": 6400.0}),
        ("0.05 nm/px", {"pixel_size_nm": 0.05}),
    )
    for shift in (0.0, 10.0)
)

HEADINGS = (
    "imaging",
    "imposed",
    "dopants",
    "found toward the vacancy",
    "bias toward",
    "bias across",
    "greatest mean of a neighbour",
    "scatter of the dopant, told",
    "of a neighbour, told",
)


def single_frames(case: Case, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Measure at least ``number`` dopants with a vacancy, turned so that it lies along +y.

    Returns
    -------
    ndarray, ndarray
        (n, 7, 2) displacements in pm and their standard errors as told; whole ones only.
    """
    shifts: list[np.ndarray] = []
    errors: list[np.ndarray] = []
    while sum(map(len, shifts)) < number:
        shift, error = _one_frame(case, seed)
        shifts.append(shift)
        errors.append(error)
        seed += 1
    return np.concatenate(shifts), np.concatenate(errors)


def _one_frame(case: Case, seed: int) -> tuple[np.ndarray, np.ndarray]:
    specimen = SpecimenConfig(dopant_shift_pm=case.shift_pm, bound_share=1.0, margin_nm=0.3)
    imaging = ImagingConfig(**case.imaging)
    frame = Microscope("WS2", (SIDE, SIDE), seed, specimen, imaging).acquire()
    truth, image = frame.truth, condition(frame.image)
    lattice = register(image)
    labels = label(image, lattice)
    inside = ((truth.points > RIM) & (truth.points < SIDE - RIM)).all(axis=1)
    rows = np.flatnonzero(np.char.startswith(truth.state, "MoW+VS") & inside)
    points = truth.points[rows] - labels.order.displacement_at(truth.points[rows])
    cells, sublattice, _ = lattice.nearest_site(points)
    if (sublattice != 0).any():
        raise RuntimeError(f"frame of seed {seed} was registered on the wrong sublattice")
    found = column_displacements(labels, lattice, cells)
    turn = to_session(lattice, STILL, 1000.0 * WS2.lattice_constant_nm)
    directions = _directions(truth, rows, lattice)
    vectors = (found.shift @ turn.T).reshape(-1, 14)
    vectors = np.stack([turned_by(int(k)) @ v for k, v in zip(directions, vectors, strict=True)])
    error = found.error * np.sqrt(abs(np.linalg.det(turn)))
    whole = np.isfinite(vectors).all(axis=1)
    return vectors.reshape(-1, 7, 2)[whole], error[whole]


def _directions(truth: Truth, rows: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Direction of each dopant's vacancy in the measured lattice, from the true one."""
    bonds = np.array([[1, 2], [-2, -1], [1, -1]]) / 3.0
    own = bonds @ truth.lattice.matrix.T @ np.linalg.inv(lattice.matrix).T
    nearest = ((own[:, None] - bonds[None]) ** 2).sum(axis=2).argmin(axis=1)
    return nearest[[int(state[-1]) for state in truth.state[rows]]]


def row(case: Case, number: int, seed: int) -> list[str]:
    """Bias, scatter and told errors of one case, as cells of a table."""
    shift, error = single_frames(case, number, seed)
    place = shift[:, 0] - shift[:, 1:].mean(axis=1)
    around = shift[:, 1:].mean(axis=0)
    told = np.sqrt((error[:, 0] ** 2).mean())
    gap = place.mean(axis=0) - [0.0, case.shift_pm]
    limit = place.std(axis=0) / np.sqrt(len(place))
    return [
        case.name,
        f"{case.shift_pm:g}",
        f"{len(place)}",
        f"{place[:, 1].mean():.2f}",
        f"{gap[1]:+.2f} +- {limit[1]:.2f}",
        f"{gap[0]:+.2f} +- {limit[0]:.2f}",
        f"{np.abs(around).max():.2f}",
        f"{shift[:, 0].std(axis=0).mean():.2f}, {told:.2f}",
        f"{shift[:, 1:].std(axis=0).mean():.2f}, {np.sqrt((error[:, 1:] ** 2).mean()):.2f}",
    ]


def table(cases: tuple[Case, ...], number: int) -> str:
    """Table of single frames, in pm."""
    lines = [
        f"| {' | '.join(HEADINGS)} |",
        "|---" * len(HEADINGS) + "|",
    ]
    lines += ["| " + " | ".join(row(case, number, 1000)) + " |" for case in cases]
    return "\n".join(lines)


def movie(shift_pm: float, frames: int, seed: int, side: int = SIDE) -> Tracker:
    """Take a simulated movie through the whole analysis and the tracker."""
    analyse = Analyser(segmenter=Segmenter(threads=1), crystal=WS2)
    specimen = SpecimenConfig(dopant_shift_pm=shift_pm)
    tracker = Tracker(TrackerSettings(), WS2)
    for frame in Microscope("WS2", (side, side), seed, specimen).frames(frames):
        info = FrameInfo(frame.seq, frame.time_s, (side, side), **frame.header)
        tracker.apply(info, analyse(frame.image))
    return tracker


def movie_table(shifts: tuple[float, ...], frames: int, seeds: range) -> str:
    """Table of whole movies: displacement toward the vacancy, pm, with its interval."""
    lines = [
        "| imposed | seed | looks | told MoW+VS | believed MoW+VS | believed MoW |",
        "|---" * 6 + "|",
    ]
    for shift in shifts:
        for seed in seeds:
            found: Any = movie(shift, frames, seed).statistics()["crystallography"]
            told, believed = found["told"]["MoW+VS"], found["believed"]
            cells = [f"{shift:g}", f"{seed}", f"{told['looks']}", _interval(told)]
            cells += [_interval(believed[name]) for name in ("MoW+VS", "MoW")]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _interval(values: dict[str, dict[str, float]]) -> str:
    toward = values["toward_pm"]
    return f"{toward['value']:.2f} [{toward['low']:.2f}, {toward['high']:.2f}]"


def main_table(quick: bool) -> str:
    """Single frames, 300 dopants a case or 1,000, and movies."""
    single = table(CASES, 300 if quick else 1000)
    seeds, frames = (range(1), 20) if quick else (range(4), 40)
    return f"{single}\n\n{movie_table((0.0, 10.0), frames, seeds)}"
