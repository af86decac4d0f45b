"""The page of `latticewatch watch`: what was read out, as lines of a given width."""

from __future__ import annotations

import math

from latticewatch.client.messages import Alert
from latticewatch.terminal.glyphs import Glyphs, Line, Span, beside, fitted, shown
from latticewatch.terminal.readout import LAST, Readout
from latticewatch.terminal.series_table import series_lines
from latticewatch.terminal.tables import class_lines, rate_lines, transition_lines
from latticewatch.viewer.turns import Turn
from latticewatch.viewer.words import banded

#: From this width on what does not change from frame to frame stands beside the series.
WIDE = 130

#: A median lag below this is no lag: two clocks differ, milliseconds.
CLOCK_OFF_MS = -1.0

#: Width of the left column then, and between the two.
LEFT, GAP = 72, 2


def page(readout: Readout, width: int, glyphs: Glyphs, now_s: float) -> list[Line]:
    """Lay everything out.

    Parameters
    ----------
    readout
        What is known.
    width
        Of the terminal, cells; no line is longer.
    glyphs
        What the terminal can show.
    now_s
        Unix time.
    """
    if readout.frame < 0:
        lines = [_head(readout, now_s), (("waiting for a stream ...", "dim"),)]
    else:
        head = [_head(readout, now_s), *_pace(readout), *_specimen(readout)]
        news, wide = news_lines(readout), width >= WIDE
        still = _session(readout, width - LEFT - GAP if wide else width)
        series = series_lines(readout, LEFT if wide else width, glyphs)
        if wide:
            series = beside([fitted(line, LEFT, glyphs) for line in series], still, LEFT, GAP)
            still = []
        lines = [*head, *news, (), *series, (), *still]
    return [fitted(line, width, glyphs) for line in lines]


def _session(readout: Readout, width: int) -> list[Line]:
    """Tell what the session as a whole has taught, parts with an empty line between them."""
    facts = readout.facts
    parts = (rate_lines(facts), transition_lines(facts), class_lines(facts, width))
    return [line for part in parts if part for line in ((), *part)][1:]


def cropped(lines: list[Line], height: int | None, glyphs: Glyphs) -> list[Line]:
    """Keep as many lines as a terminal of this height shows, and say how many are left out."""
    if height is None or len(lines) <= height:
        return lines
    left_out = len(lines) - height + 1
    text = f"… {left_out} more lines in a higher terminal"
    return [*lines[: height - 1], ((shown(text, glyphs), "dim"),)][:height]


def _head(readout: Readout, now_s: float) -> Line:
    facts, silent = readout.facts, readout.silent_s(now_s)
    stream = "latticewatch" if readout.stream == "*" else readout.stream
    line: list[Span] = [(stream, "bold")]
    if silent is not None:
        line.append((f"  service silent for {silent:.0f} s", "bold red"))
    elif readout.health is not None and readout.health.state != "ok":
        line.append((f"  service {readout.health.state}", "bold red"))
    if readout.frame >= 0:
        ended = ", ended" if facts.ended else ""
        line.append((f"  frame {readout.frame}  {facts.frames} counted{ended}", ""))
        style = "yellow" if facts.missing else "dim"
        line.append((f"  {facts.missing} missing or refused", style))
    refused = refused_on_arrival(readout)
    if refused:
        line.append((f"  ({refused} refused on arrival)", "yellow"))
    return tuple(line)


def refused_on_arrival(readout: Readout) -> str:
    """Frames that the service refused on arrival since its start, by the field that was wrong."""
    told = {} if readout.health is None else readout.health.values.get("rejected") or {}
    return ", ".join(f"{count} {name}" for name, count in sorted(told.items()) if count)


def _pace(readout: Readout) -> list[Line]:
    """Latency of service and subscriber, and what was lost on the way."""
    parts = [
        f"{name} {ends[0]:.0f}, {ends[1]:.0f}"
        for name, which in (("to published", "published"), ("lag", "lag"), ("to here", "here"))
        if (ends := readout.latency_ms(which)) is not None
    ]
    lines: list[Line] = []
    if parts:
        lines.append((("latency p50, p99 ms  ", "dim"), ("   ".join(parts), "")))
    lag = readout.latency_ms("lag")
    if lag is not None and lag[0] < CLOCK_OFF_MS:
        text = "this clock is behind the service's: lag and time to here mean nothing"
        lines.append(((text, "yellow"),))
    lost = [
        f"{count} {name}"
        for name, count in (
            ("messages missed", readout.missed),
            ("unreadable", readout.unreadable),
            ("of other streams", readout.other_streams),
        )
        if count
    ]
    if lost:
        lines.append((("not shown  ", "dim"), (", ".join(lost), "yellow")))
    return lines


def _specimen(readout: Readout) -> list[Line]:
    facts = readout.facts
    line: list[Span] = []
    if facts.constant_px is not None:
        nm = facts.constant_px * (facts.pixel_size_nm or math.nan)
        text = f"{facts.constant_px:.2f} px" + (f", {nm:.4f} nm" if math.isfinite(nm) else "")
        line += [("lattice  ", "dim"), (text, "")]
    if facts.agreement is not None:
        style = "bold red" if facts.disagreeing else ""
        low = "LOW " if facts.disagreeing else ""
        line += [("   agreement with labels  ", "dim"), (low + banded(facts.agreement), style)]
    return [tuple(line)] if line else []


def news_lines(readout: Readout) -> list[Line]:
    """Return the last alerts and change points, newest last."""
    lines = [alert_line(alert) for alert in readout.alerts]
    return [*lines, *(turn_line(turn) for turn in readout.facts.turns[-LAST:])]


def alert_line(alert: Alert) -> Line:
    """Say what an alert says, loud while it is raised."""
    style, word = ("bold red", "ALERT") if alert.active else ("dim", "over")
    text = f"{alert.rule}: {alert.text}"
    return ((f"frame {alert.frame}  ", "dim"), (f"{word} ", style), (text, ""))


def turn_line(turn: Turn) -> Line:
    """Say what a change point is."""
    return ((f"frame {turn.reported}  ", "dim"), ("change ", "bold yellow"), (str(turn), ""))
