"""Figures of what changes in the course of a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from latticewatch.client.table import DefectTable
from latticewatch.palette import style_of
from latticewatch.report.parts import WIDTH

_Scale = Callable[[np.ndarray], np.ndarray]

_FRACTIONS = {"crystalline": "#0072B2", "disordered": "#E69F00", "hole": "#000000"}
_STYLES = {"crystalline": "-", "disordered": "--", "hole": ":"}

_MARKS = {"alert": ("#D55E00", "--"), "change": ("#009E73", ":")}


@dataclass(frozen=True)
class Mark:
    """Something that came with a frame, by its number in the list."""

    frame: float
    kind: str
    label: str


def series(
    frames: np.ndarray,
    time_s: np.ndarray,
    table: DefectTable,
    columns: Mapping[str, np.ndarray],
    marks: Sequence[Mark],
    frame_dose: float,
) -> Figure:
    """Draw counts, area fractions and lattice constant over time, with alerts and changes.

    Parameters
    ----------
    frames, time_s
        Frame numbers and times (s), (n,).
    table
        All defects.
    columns
        Area fractions and ``constant_nm`` by name, each (n,).
    marks
        Alerts and change points.
    frame_dose
        Electrons per square angstrom in each frame; NaN where not known.
    """
    constant = columns.get("constant_nm")
    measured = constant is not None and bool(np.isfinite(constant).any())
    ratios = [1.7, 1.0, 0.8][: 2 + measured]
    figure = Figure(figsize=(WIDTH, 4.6 + 1.3 * measured), layout="constrained")
    axes = figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios)
    timed = bool(np.isfinite(time_s).all())
    x = time_s if timed else frames.astype(float)
    _counts(axes[0], x, frames, table)
    for name, colour in _FRACTIONS.items():
        axes[1].plot(x, 100 * columns[name], _STYLES[name], color=colour, label=name)
    axes[1].set(ylabel="area (%)", ylim=(-3, 103))
    if measured:
        axes[2].plot(x, 1000 * np.asarray(constant), color="#0072B2", label="lattice constant")
        axes[2].set(ylabel="constant (pm)")
    _mark(axes, marks, frames, x)
    for ax in axes[:2]:
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    axes[-1].set_xlabel("time (s)" if timed else "frame")
    if np.isfinite(frame_dose) and len(x) > 1:
        # the dose of a frame is there once the frame is complete
        step = (x[-1] - x[0]) / (frames[-1] - frames[0])
        onto, back = _dose_axis(float(x[0]), float(frames[0]), float(step), frame_dose)
        axes[0].secondary_xaxis("top", functions=(onto, back)).set_xlabel("dose (e/Å²)")
    return figure


def _counts(ax: Any, x: np.ndarray, frames: np.ndarray, table: DefectTable) -> None:
    # markers on every point of a long session would be a band
    every = max(1, len(frames) // 25)
    for species in sorted(set(table.species.tolist())):
        mine = table.frame[table.species == species]
        counts = np.searchsorted(mine, frames, "right") - np.searchsorted(mine, frames, "left")
        colour, marker = style_of(species)
        style = {"marker": marker, "ms": 4, "markevery": every, "mec": "black", "mew": 0.3}
        ax.plot(x, counts, color=colour, lw=1.2, label=species, **style)
    ax.set(ylabel="defects in the frame", ylim=(0, None))


def _mark(axes: Sequence[Any], marks: Sequence[Mark], frames: np.ndarray, x: np.ndarray) -> None:
    for mark in marks:
        at = float(np.interp(mark.frame, frames, x))
        colour, style = _MARKS[mark.kind]
        for ax in axes:
            ax.axvline(at, color=colour, ls=style, lw=1.3)
        place = (at, 0.97)
        box = {"fc": "white", "ec": colour, "pad": 1.2, "lw": 0.6}
        axes[0].annotate(
            mark.label, place, xycoords=("data", "axes fraction"), ha="center", va="top",
            fontsize=7.5, color=colour, bbox=box,
        )  # fmt: skip


def _dose_axis(x0: float, frame0: float, step: float, dose: float) -> tuple[_Scale, _Scale]:
    """From the axis to the dose and back."""

    def onto(x: np.ndarray) -> np.ndarray:
        return ((np.asarray(x) - x0) / step + frame0 + 1) * dose

    def back(total: np.ndarray) -> np.ndarray:
        return (np.asarray(total) / dose - frame0 - 1) * step + x0

    return onto, back
