"""The sections of a report: text, tables and figures with their captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from latticewatch.report import (
    class_figures,
    defect_figures,
    motion_figures,
    series_figures,
    state_figures,
    tables,
)
from latticewatch.report.contents import Contents
from latticewatch.report.keys import Absent

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Plate:
    """A figure, its name in the page, and its caption."""

    name: str
    figure: Figure
    caption: str


@dataclass(frozen=True, eq=False)
class Section:
    """A section of the report."""

    name: str
    title: str
    text: tuple[str, ...] = ()
    rows: Rows = ()
    plates: tuple[Plate, ...] = ()


def build(contents: Contents, read: Callable[[int], np.ndarray] | None = None) -> list[Section]:
    """Write and draw all sections.

    Parameters
    ----------
    contents
        The session.
    read
        Gives a frame's image (rows, columns) by its number; None without the movie.
    """
    return [
        Section("summary", "Summary", rows=tables.summary(contents)),
        _frames(contents, read),
        _classes(contents),
        _space_time(contents),
        _motion(contents),
        _displacements(contents),
        _states(contents),
        _series(contents),
        Section("methods", "Methods", tables.methods(contents), tables.parameters(contents)),
    ]


def _frames(contents: Contents, read: Callable[[int], np.ndarray] | None) -> Section:
    found = contents.frames
    chosen = sorted({int(found[0]), int(found[len(found) // 2]), int(found[-1])})
    maps = Plate(
        "maps",
        defect_figures.maps([(frame, contents.rows_of(frame)) for frame in chosen]),
        "Defects of the first, the middle and the last analysed frame by species, corrected for "
        "drift; nm, or pixels where the pixel size is not known.",
    )
    if read is None:
        note = "The session keeps no images: add --movie FILE for the frames with their marks."
        return Section("frames", "Frames and defects", (note,), plates=(maps,))
    images = [(frame, read(frame), contents.rows_of(frame)) for frame in chosen]
    caption = "The same frames as acquired, with their marks; pixels, intensity 0.5 to 99.5 %."
    overlay = Plate("overlays", defect_figures.overlays(images), caption)
    return Section("frames", "Frames and defects", plates=(overlay, maps))


def _classes(contents: Contents) -> Section:
    title = "Classes"
    if isinstance(contents.classes, Absent):
        return _without("classes", title, contents.classes)
    caption = (
        "Mean difference from the perfect crystal for every class, on one scale (0 is the "
        "host, units of the host column). Looks: weighted count of defects. Ratio: intensity "
        "of what most of the class is over that of a host column, with the interval in "
        "brackets; expected: the same from atomic numbers."
    )
    plate = Plate("class-images", class_figures.mean_images(contents.classes), caption)
    return Section("classes", title, plates=(plate,))


def _space_time(contents: Contents) -> Section:
    title = "Defects in space and time"
    if not len(contents.defects):
        return _without("space-time", title, Absent("no defect was found"))
    caption = (
        "Every defect, coloured by species; a defect at rest is a vertical line. At most the "
        "newest 20,000 are drawn."
    )
    plate = Plate("space-time", defect_figures.space_time(contents.defects), caption)
    return Section("space-time", title, plates=(plate,))


def _motion(contents: Contents) -> Section:
    title = "Motion of vacancies"
    if isinstance(contents.motion, Absent):
        return _without("motion", title, contents.motion)
    caption = (
        "Left: the 40 longest paths, nm, corrected for drift. Middle: D of all vacancies and of "
        "those that are not beside a dopant (free); bars are 95 % intervals. The cross, where "
        "there is one, is the median over windows of the original paper's estimator (variance of "
        "unlinked detections). It is biased and given for comparison only. Right: hop rates along "
        "the three lines of the lattice with 95 % intervals."
    ).replace("95 %", tables.level(contents))
    plate = Plate("motion", motion_figures.motion(contents.motion, contents.defects), caption)
    return Section("motion", title, rows=tables.motion(contents.motion), plates=(plate,))


def _displacements(contents: Contents) -> Section:
    title = "Displacements around dopants"
    if isinstance(contents.fields, Absent):
        return _without("displacements", title, contents.fields)
    caption = (
        "Mean displacement of the dopant and its six neighbours from their lattice sites (circles) "
        "by the state that was told; axes in lattice constants, arrows enlarged: see the bar. "
        "Ellipses: one standard error (jackknife over tracks). With a vacancy, the vacancy lies "
        "upwards."
    )
    plate = Plate("displacement-fields", class_figures.displacements(contents.fields), caption)
    text = tables.modes(contents)
    if isinstance(contents.modes, Absent):
        reason = f"Modes not shown: {contents.modes.reason}."
        return Section("displacements", title, (*text, reason), plates=(plate,))
    told = (
        "First mode of the displacements by state, at one standard deviation, less the "
        "measurement's noise; drawn as the figure before, ellipses one standard error."
    )
    modes = Plate("displacement-modes", class_figures.displacements(contents.modes), told)
    return Section("displacements", title, text, plates=(plate, modes))


def _states(contents: Contents) -> Section:
    title = "States of the dopants"
    if isinstance(contents.matrices, Absent):
        return _without("states", title, contents.matrices)
    level = tables.level(contents)
    matrices = Plate(
        "matrices",
        state_figures.matrices(contents.matrices),
        f"Chance of each state in the next frame, with {level} intervals below. The matrix counted "
        "from labels holds the labels' errors; that of hidden states, where it is given, does not.",
    )
    graph = Plate(
        "graph",
        state_figures.graph_and_dwell(contents.matrices[0]),
        "Left: chances from frame to frame; those below 0.005 are left out. Right: mean stay in "
        f"every state, frames; bars are {level} intervals.",
    )
    return Section("states", title, tables.states(contents), plates=(matrices, graph))


def _series(contents: Contents) -> Section:
    marks = [(int(row["frame"]), "alert") for row in contents.alerts if row["active"]]
    marks += [(int(row["frame"]), "change") for row in contents.changes]
    plate = Plate(
        "series",
        series_figures.series(
            contents.frames,
            contents.time_s,
            contents.defects,
            contents.columns,
            marks,
            contents.frame_dose,
        ),
        "Defects by species and area fractions of every frame, without smoothing or error bars. "
        "Dashed: alerts raised; dotted: change points. The upper axis, where there is one, is the "
        "dose (e/Å²).",
    )
    return Section("series", "Populations and areas", tables.marks(contents), plates=(plate,))


def _without(name: str, title: str, absent: Absent) -> Section:
    return Section(name, title, (f"Not shown: {absent.reason}.",))


def numbered(sections: Sequence[Section]) -> list[tuple[int, Plate]]:
    """Count the figures through the report."""
    return list(enumerate((plate for one in sections for plate in one.plates), 1))
