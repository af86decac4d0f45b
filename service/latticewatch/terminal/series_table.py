"""The table of what changes from frame to frame: now, mean with interval, and a sparkline."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from latticewatch.palette import style_of
from latticewatch.terminal.glyphs import Glyphs, Line, Span, shown
from latticewatch.terminal.readout import Readout, bound
from latticewatch.terminal.sparkline import extent, sparkline
from latticewatch.viewer.words import banded, brief, interval

#: Widths of the columns: name, value, mean with interval, and the sparkline's ends.
_NAME, _NOW, _MEAN, _EXTENT = 16, 9, 18, 17

#: A sparkline shorter than this tells nothing; where there is no room for it, it is left out.
_LEAST_DRAWN = 8


@dataclass(frozen=True)
class Row:
    """A series: its name and style, its newest value, what the session says, and its past."""

    name: str
    style: str
    now: float | None
    told: str
    past: list[float]


def table_rows(readout: Readout) -> Iterator[Row]:
    """Every series that the stream tells; species that were never seen are left out."""
    facts, past = readout.facts, readout.past
    density = banded(facts.means.get("defect_density_nm2"), digits=2)
    yield Row("defects /nm²", "", facts.density, density, past("density"))
    yield from _counts(readout)
    for name, label in (("hole", "holes %"), ("disordered", "disordered %")):
        share = (facts.fractions or {}).get(name)
        if share is not None:
            place = f"fractions.{name}"
            mean = banded(facts.means.get(place), factor=100.0, digits=2)
            yield Row(label, "", 100 * share, mean, [100 * value for value in past(place)])
    for label, key, found in (
        ("D nm²/s", "D", facts.diffusion),
        ("hops /s", "hops", facts.hop_rate),
    ):
        if found is not None:
            yield Row(label, "", found.value, interval(found, digits=2), past(key))
    for label, key in (("frames/s", "rate"), ("sent to here ms", "here")):
        values = past(key)
        if values and math.isfinite(values[-1]):
            yield Row(label, "", values[-1], "", values)


def _counts(readout: Readout) -> Iterator[Row]:
    facts, past = readout.facts, readout.past
    for name, count in (facts.populations or {}).items():
        place = f"populations.{name}"
        if count or any(value > 0 for value in past(place)):
            mean = banded(facts.means.get(place), digits=2)
            yield Row(name, style_of(name)[0], count, mean, past(place))
    if bound(facts) is not None:
        style = style_of("", "+")[0]
        yield Row("dopant + vacancy", style, bound(facts), "", past("bound"))
    if facts.expected_vacancies is not None:
        yield Row("vacancies, sum p", "", facts.expected_vacancies, "", past("vacancies"))


def series_lines(readout: Readout, width: int, glyphs: Glyphs) -> list[Line]:
    """Return the table, in lines of this width."""
    space = width - _NAME - _NOW - 2 - _MEAN - _EXTENT
    space = space if space >= _LEAST_DRAWN else 0
    title = f"last {len(readout.past('density'))} frames" if space else ""
    head = f"{'':{_NAME}}{'now':>{_NOW}}  {'mean [interval]':{_MEAN}}{title}"
    return [((head.rstrip(), "dim"),), *(_line(row, space, glyphs) for row in table_rows(readout))]


def _line(row: Row, space: int, glyphs: Glyphs) -> Line:
    name = shown(row.name, glyphs)[:_NAME]
    line: list[Span] = [(f"{name:{_NAME}}", row.style), (f"{brief(row.now):>{_NOW}}", "")]
    line.append((f"  {row.told:{_MEAN}}", "dim"))
    if space:
        ends = extent(row.past, space)
        told = "" if ends is None else f" {brief(ends[0], 2)} to {brief(ends[1], 2)}"
        drawn = sparkline(row.past, space, glyphs)
        line += [(f"{drawn:{space}}", row.style or "cyan"), (told, "dim")]
    return tuple(line)
