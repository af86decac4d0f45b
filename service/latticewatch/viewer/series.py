"""Time series of the statistics, one entity a line."""

from __future__ import annotations

import numpy as np
import rerun as rr

from latticewatch.palette import style_of
from latticewatch.published import Estimate
from latticewatch.viewer.drawing import Entry, path, rgb
from latticewatch.viewer.facts import Facts

#: Okabe and Ito's colours for what is no species; the palette of species is of the same eight.
_BLUE, _VERMILION, _GREEN, _GREY = "#56B4E9", "#D55E00", "#009E73", "#999999"

#: Line widths in points of the interface: estimates, and the edges of their intervals.
_WIDTH, _EDGE_WIDTH = 2.0, 1.0

#: Entity, colour, width and name of the lines that every session has.
LINES = (
    ("fractions/hole", _GREEN, _WIDTH, "holes"),
    ("fractions/disordered", _VERMILION, _WIDTH, "disordered"),
    ("populations/expected_vacancies", _GREY, _WIDTH, "vacancies expected"),
    ("populations/bound", style_of("", "+")[0], _WIDTH, "dopant + vacancy"),
    ("diffusion/D", _BLUE, _WIDTH, "D"),
    ("diffusion/low", _BLUE, _EDGE_WIDTH, "low"),
    ("diffusion/high", _BLUE, _EDGE_WIDTH, "high"),
    ("hops/rate", _VERMILION, _WIDTH, "hops"),
    ("hops/low", _VERMILION, _EDGE_WIDTH, "low"),
    ("hops/high", _VERMILION, _EDGE_WIDTH, "high"),
    ("latency/published", _GREY, _WIDTH, "sent to published"),
    ("latency/drawn", _BLUE, _WIDTH, "sent to drawn"),
    ("rate/frames", _GREEN, _WIDTH, "frames/s"),
)


def line_styles() -> list[Entry]:
    """Colours and names of the lines that every session has; they hold for all times."""
    return [_style(entity, colour, width, name) for entity, colour, width, name in LINES]


def species_style(name: str) -> Entry:
    """Colour and name of a species' line."""
    return _style(path("populations", name), style_of(name)[0], _WIDTH, name)


def series_entries(facts: Facts) -> list[Entry]:
    """Return the values of one moment; what is not known draws nothing."""
    entries: list[Entry] = [
        (path("populations", name), rr.Scalars(count))
        for name, count in (facts.populations or {}).items()
    ]
    bound = [count for name, count in (facts.states or {}).items() if "+" in name]
    if bound:
        entries.append(("populations/bound", rr.Scalars(sum(bound))))
    if facts.expected_vacancies is not None:
        entries.append(("populations/expected_vacancies", rr.Scalars(facts.expected_vacancies)))
    for name in ("hole", "disordered"):
        share = (facts.fractions or {}).get(name)
        if share is not None:
            entries.append((f"fractions/{name}", rr.Scalars(100.0 * share)))
    entries += _band("diffusion/D", "diffusion", facts.diffusion)
    entries += _band("hops/rate", "hops", facts.hop_rate)
    return entries


def latency_entry(which: str, seconds: float) -> Entry:
    """Latency in milliseconds: ``published`` or ``drawn``."""
    return (f"latency/{which}", rr.Scalars(1000.0 * seconds))


def rate_entry(frames_per_s: float) -> Entry:
    """Frames a second."""
    return ("rate/frames", rr.Scalars(frames_per_s))


def _band(entity: str, group: str, band: Estimate | None) -> list[Entry]:
    if band is None:
        return []
    return [
        (entity, rr.Scalars(band.value)),
        (f"{group}/low", rr.Scalars(band.low)),
        (f"{group}/high", rr.Scalars(band.high)),
    ]


def _style(entity: str, colour: str, width: float, name: str) -> Entry:
    line = rr.SeriesLines(colors=np.array([rgb(colour)], np.uint8), widths=width, names=name)
    return (entity, line)
