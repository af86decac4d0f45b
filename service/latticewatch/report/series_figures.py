"""Figures of what changes in the course of a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from latticewatch.client.table import DefectTable
from latticewatch.palette import style_of

_Scale = Callable[[np.ndarray], np.ndarray]

_FRACTIONS = {"crystalline": "#0072B2", "disordered": "#E69F00", "hole": "#000000"}


def series(
    frames: np.ndarray,
    time_s: np.ndarray,
    table: DefectTable,
    fractions: Mapping[str, np.ndarray],
    marks: Sequence[tuple[int, str]],
    frame_dose: float,
) -> Figure:
    """Draw counts by species and area fractions over time, alerts and changes as lines.

    Parameters
    ----------
    frames, time_s
        Frame numbers and times (s), (n,).
    table
        All defects.
    fractions
        Area fractions by name, each (n,).
    marks
        Frame and kind, "alert" or "change".
    frame_dose
        Electrons per square angstrom in each frame; NaN where not known.
    """
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 1])
    timed = bool(np.isfinite(time_s).all())
    x = time_s if timed else frames
    for species in sorted(set(table.species.tolist())):
        mine = table.frame[table.species == species]
        counts = np.searchsorted(mine, frames, "right") - np.searchsorted(mine, frames, "left")
        colour, marker = style_of(species)
        top.plot(x, counts, marker=marker, ms=4, color=colour, lw=1.2, label=species)
    for name, colour in _FRACTIONS.items():
        bottom.plot(x, 100 * fractions[name], color=colour, label=name)
    colours = {"alert": "#D55E00", "change": "#009E73"}
    for frame, kind in marks:
        at = float(np.interp(frame, frames, x))
        for ax in (top, bottom):
            ax.axvline(at, color=colours[kind], ls="--" if kind == "alert" else ":")
    top.set(ylabel="defects in the frame")
    bottom.set(ylabel="area (%)", xlabel="time (s)" if timed else "frame", ylim=(-3, 103))
    for ax in (top, bottom):
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    if np.isfinite(frame_dose) and len(x) > 1:
        # the dose of a frame is there once the frame is complete
        step = (x[-1] - x[0]) / (frames[-1] - frames[0])
        onto, back = _dose_axis(float(x[0]), float(frames[0]), float(step), frame_dose)
        top.secondary_xaxis("top", functions=(onto, back)).set_xlabel("dose (e/Å²)")
    return figure


def _dose_axis(x0: float, frame0: float, step: float, dose: float) -> tuple[_Scale, _Scale]:
    """From the axis to the dose and back."""

    def onto(x: np.ndarray) -> np.ndarray:
        return ((np.asarray(x) - x0) / step + frame0 + 1) * dose

    def back(total: np.ndarray) -> np.ndarray:
        return (np.asarray(total) / dose - frame0 - 1) * step + x0

    return onto, back
