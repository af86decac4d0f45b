"""The sections of a report: text, tables and figures with their captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib as mpl
import numpy as np

from latticewatch.report import (
    changes,
    class_figures,
    defect_figures,
    methods,
    motion_figures,
    series_figures,
    state_figures,
    tables,
    values,
)
from latticewatch.report.contents import Contents
from latticewatch.report.parts import FONTS, Plate, Section, Table
from latticewatch.report.values import Absent
from latticewatch.storage.pictures import Picture, picture_of

#: Frames that are drawn: spread over the session, and of alerts.
_MOST_SHOWN = 4


def build(contents: Contents, read: Callable[[int], np.ndarray] | None = None) -> list[Section]:
    """Write and draw all sections.

    Parameters
    ----------
    contents
        The session.
    read
        Gives a frame's image (rows, columns) by its number; None takes the session's pictures.
    """
    with mpl.rc_context(FONTS):
        return [
            Section("summary", "Summary", tables=(tables.summary(contents),)),
            _methods(contents),
            _frames(contents, read),
            _classes(contents),
            _space_time(contents),
            _motion(contents),
            _displacements(contents),
            _states(contents),
            _series(contents),
            _settings(contents),
        ]


def _methods(contents: Contents) -> Section:
    tables = _filled(methods.models(contents), methods.computed(contents))
    return Section("methods", "Methods", methods.paragraphs(contents), tables=tables)


def _settings(contents: Contents) -> Section:
    listed = _filled(*methods.settings(contents))
    if not listed:
        return _without("settings", "Settings", Absent("the session does not hold them"))
    return Section("settings", "Settings", tables=listed)


def _frames(contents: Contents, read: Callable[[int], np.ndarray] | None) -> Section:
    title = "Frames and defects"
    spread, raised = _shown(contents, with_movie=read is not None)
    pictures = _pictures(contents, (*spread, *raised), read)
    if not pictures:
        frames = _evenly(contents.frames.tolist(), 3)
        maps = Plate(
            "maps",
            defect_figures.maps([(frame, contents.rows_of(frame)) for frame in frames]),
            "Defects of the first, the middle and the last analysed frame by species, corrected "
            "for drift; nm, or pixels where the pixel size is not known.",
        )
        note = "The session holds no pictures: add --movie FILE for the frames with their marks."
        return Section("frames", title, (note,), (maps,))
    told = (
        "as acquired (intensity 0.5 to 99.5 %), with the defects that were reported; not corrected "
        "for drift."
    )
    plates = [
        Plate("overlays", _overlays(contents, pictures, spread), f"Frames of the session {told}")
    ]
    if raised:
        caption = f"Frames that raised an alert, {told} The alerts are listed below."
        plates.append(Plate("alert-overlays", _overlays(contents, pictures, raised), caption))
    return Section("frames", title, plates=tuple(plates))


def _shown(contents: Contents, *, with_movie: bool) -> tuple[list[int], list[int]]:
    """Frames that are drawn: spread over the session, and of alerts."""
    have = contents.frames.tolist() if with_movie else sorted(contents.pictures)
    raised = [int(row["frame"]) for row in contents.alerts if row["active"]]
    alerted = sorted(set(raised) & set(have)) if with_movie else sorted(contents.alerted)
    # frames of alerts lie as they come, and have a figure of their own
    others = [frame for frame in have if frame not in alerted]
    return _evenly(others or have, _MOST_SHOWN), alerted[:_MOST_SHOWN]


def _evenly(frames: list[int], most: int) -> list[int]:
    places = np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int)
    return [int(frames[place]) for place in places]


def _pictures(
    contents: Contents, frames: Sequence[int], read: Callable[[int], np.ndarray] | None
) -> Mapping[int, Picture]:
    if read is not None:
        return {frame: picture_of(read(frame)) for frame in frames}
    return {frame: contents.pictures[frame] for frame in frames if frame in contents.pictures}


def _overlays(
    contents: Contents, pictures: Mapping[int, Picture], frames: Sequence[int]
) -> mpl.figure.Figure:
    shots = []
    for frame in frames:
        table, picture = contents.rows_of(frame), pictures[frame]
        at = contents.time_of(frame)
        time = f", {at:.6g} s" if np.isfinite(at) else ""
        name = f"frame {frame}{time}: {len(table)} defects"
        shots.append(defect_figures.Shot(frame, name, picture.image, picture.block, table))
    return defect_figures.overlays(shots, values.number(contents.statistics, "pixel_size_nm"))


def _classes(contents: Contents) -> Section:
    title = "Classes"
    if isinstance(contents.classes, Absent):
        return _without("classes", title, contents.classes)
    caption = (
        "Mean difference from the perfect crystal for every class, on one scale (0 is the "
        "host, units of the host column), in lattice constants a. Looks: weighted count of "
        "detections."
    )
    plate = Plate("class-images", class_figures.mean_images(contents.classes), caption)
    return Section("classes", title, (), (plate,), (tables.classes(contents.classes),))


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
        "Top left: the 40 longest paths, corrected for drift. Top right: D along every direction "
        "of the lattice (distance from the centre; a1, a2 and a1+a2 as named, not as in the "
        "frame), of all vacancies and of those that are not beside a dopant (free); dotted: their "
        "isotropic mean. Bottom left: D; bars are 95 % intervals. The cross, where there is one, "
        "is the median over windows of the original paper's estimator (variance of unlinked "
        "detections): biased, and given for comparison only. Bottom right: hop rates along the "
        "three lines of the lattice with 95 % intervals."
    ).replace("95 %", tables.level(contents))
    plate = Plate("motion", motion_figures.motion(contents.motion, contents.defects), caption)
    text = tables.isotropy(contents.motion)
    return Section("motion", title, text, (plate,), tables.motion(contents.motion))


def _displacements(contents: Contents) -> Section:
    title = "Displacements around dopants"
    if isinstance(contents.fields, Absent):
        return _without("displacements", title, contents.fields)
    ellipses = "Ellipses: one standard error (jackknife over tracks)."
    plates = [
        Plate(
            "displacement-fields",
            class_figures.displacements(contents.fields),
            "Mean displacement of the dopant and its six neighbours from their lattice sites "
            "(circles) by the state that was told; axes in lattice constants a, arrows enlarged: "
            f"see the bar. {ellipses} With a vacancy, the vacancy lies upwards.",
        )
    ]
    text = []
    if isinstance(contents.believed, Absent):
        text.append(f"Fields of pure states not shown: {contents.believed.reason}.")
    else:
        told = (
            "The same for pure states: least squares over the states' probabilities, free of the "
            f"wrong states that dilute the figure before. {ellipses}"
        )
        figure = class_figures.displacements(contents.believed)
        plates.append(Plate("believed-fields", figure, told))
    if isinstance(contents.modes, Absent):
        text.append(f"Modes not shown: {contents.modes.reason}.")
    else:
        told = (
            "First modes of the displacements by state, at one standard deviation (pm, ± one "
            f"standard error), less the measurement's noise. {ellipses}"
        )
        figure = class_figures.displacements(contents.modes)
        plates.append(Plate("displacement-modes", figure, told))
    return Section(
        "displacements", title, tuple(text), tuple(plates), tables.displacements(contents)
    )


def _states(contents: Contents) -> Section:
    title = "States of the dopants"
    if isinstance(contents.matrices, Absent):
        return _without("states", title, contents.matrices)
    level, data = tables.level(contents), contents.statistics
    matrices = Plate(
        "matrices",
        state_figures.matrices(contents.matrices),
        f"Chance of each state in the next frame, with {level} intervals below. The matrix counted "
        "from labels holds the labels' errors; that of hidden states, where it is given, does not.",
    )
    graph = Plate(
        "graph",
        state_figures.graph_and_dwell(contents.matrices),
        "Left: chances from frame to frame; those below 0.005 are left out. Right: mean stay in "
        f"every state, frames; bars are {level} intervals.",
    )
    text, found = [tables.memory(data)], values.rates(data)
    listed = [tables.dwell(data)]
    if isinstance(found, Absent):
        text.append(f"Rates: none ({found.reason}).")
    else:
        listed.append(tables.rates(found))
    return Section("states", title, tuple(text), (matrices, graph), _filled(*listed))


def _series(contents: Contents) -> Section:
    jumps = changes.jumps(contents)
    marks = [series_figures.Mark(one.frame, "change", one.label) for one in jumps]
    marks += [
        series_figures.Mark(int(row["frame"]), "alert", "!")
        for row in contents.alerts
        if row["active"]
    ]
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
        "Defects by species, area fractions and, where the pixel size is known, lattice constant "
        "of every frame, without smoothing or error bars. Dotted and numbered: change points, as "
        "listed; dashed (!): alerts raised. The upper axis, where there is one, is the dose.",
    )
    text = () if jumps else ("No change point was found.",)
    if not contents.alerts:
        text = (*text, "No alert was raised.")
    listed = (tables.populations(contents), tables.jumps(jumps), tables.alerts(contents))
    return Section("series", "Populations and phases", text, (plate,), _filled(*listed))


def _filled(*found: Table) -> tuple[Table, ...]:
    return tuple(table for table in found if table.rows)


def _without(name: str, title: str, absent: Absent) -> Section:
    return Section(name, title, (f"Not shown: {absent.reason}.",))
