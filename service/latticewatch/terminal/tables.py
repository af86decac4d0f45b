"""What the session has taught so far, as small tables: rates, transitions, classes."""

from __future__ import annotations

import math

from latticewatch.palette import style_of
from latticewatch.terminal.glyphs import Line, Span, width_of
from latticewatch.viewer.facts import Facts
from latticewatch.viewer.words import banded

#: Widths of the columns of rates, and of a cell of the transition matrix.
_RATE_NAME, _RATE, _CELL = 17, 24, 13


def rate_lines(facts: Facts) -> list[Line]:
    """Rates per second and per dose with their intervals."""
    if not facts.rates:
        return []
    head = f"{'':{_RATE_NAME}}{'per second':{_RATE}}per e/Å²"
    lines: list[Line] = [((head, "dim"),)]
    for rate in facts.rates:
        name = f"{rate.name}{rate.of}"
        per_s, per_dose = (banded(one, digits=2) for one in (rate.per_s, rate.per_dose))
        lines.append(((f"{name:{_RATE_NAME}}", ""), (f"{per_s:{_RATE}}{per_dose}", "")))
    known = facts.directions
    if known is not None and known.ratio is not None and known.p_value is not None:
        name = f"{'D fast over slow':{_RATE_NAME}}"
        text = f"{banded(known.ratio, digits=2)}; isotropic: p {known.p_value:.2g}"
        lines.append(((name, ""), (text, "")))
    return lines


def transition_lines(facts: Facts) -> list[Line]:
    """Probabilities of steps from row to column in one frame, with their intervals."""
    chain = facts.chain
    if chain is None:
        return []
    width = max(len(name) for name in chain.states) + 1
    of = "states behind the labels" if chain.hidden else "labels"
    head = "".join(f"{name:{_CELL}}" for name in chain.states)
    lines: list[Line] = [
        ((f"steps in a frame, % ({of})", "dim"),),
        ((f"{'':{width}}{head}".rstrip(), "dim"),),
    ]
    for k, name in enumerate(chain.states):
        cells = zip(chain.probabilities[k], chain.low[k], chain.high[k], strict=True)
        texts = [_percent(*(float(part) for part in cell)) for cell in cells]
        lines.append(
            ((f"{name:{width}}", ""), ("".join(f"{text:{_CELL}}" for text in texts).rstrip(), ""))
        )
    if facts.memory is not None:
        lines.append(((facts.memory, "dim"),))
    return lines


def _percent(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{100 * value:.1f} {100 * low:.0f}-{100 * high:.0f}"


def class_lines(facts: Facts, width: int) -> list[Line]:
    """Classes with species, its probability and their shares, as many on a line as fit."""
    lines: list[list[Span]] = []
    for fact in facts.classes:
        sure = "" if fact.posterior is None else f" p {fact.posterior:.2f}"
        name = (f"{fact.number} {fact.species}", style_of(fact.species)[0])
        spans = [name, (f"{sure} {100 * fact.weight:.0f} %   ", "")]
        if not lines or width_of((*lines[-1], *spans)) > width:
            lines.append([("classes  " if not lines else " " * 9, "dim")])
        lines[-1] += spans
    return [tuple(line) for line in lines]
