"""What `latticewatch watch` writes where nothing can be redrawn: a line at a time."""

from __future__ import annotations

from latticewatch.client.messages import Alert
from latticewatch.terminal.glyphs import plain_text
from latticewatch.terminal.page import alert_line, turn_line
from latticewatch.terminal.readout import Readout
from latticewatch.viewer.turns import Turn
from latticewatch.viewer.words import banded, brief


def log_line(readout: Readout) -> str:
    """Tell the newest numbers in one line."""
    facts = readout.facts
    parts = [f"{readout.stream} frame {readout.frame}", f"missing {facts.missing}"]
    if facts.density is not None:
        parts.append(f"density {brief(facts.density)}/nm²")
    parts += [f"{name} {count:.0f}" for name, count in (facts.populations or {}).items() if count]
    for name in ("hole", "disordered"):
        share = (facts.fractions or {}).get(name)
        if share is not None:
            parts.append(f"{name} {brief(100 * share)}%")
    if facts.diffusion is not None:
        parts.append(f"D {banded(facts.diffusion)}nm²/s")
    for name, which in (("published", "published"), ("here", "here")):
        ends = readout.latency_ms(which)
        if ends is not None:
            parts.append(f"{name} {ends[0]:.0f},{ends[1]:.0f}ms")
    if readout.rate is not None:
        parts.append(f"{brief(readout.rate)}/s")
    if readout.missed:
        parts.append(f"missed {readout.missed}")
    return "  ".join([*parts, "ended"] if facts.ended else parts)


def news_line(readout: Readout, news: Alert | Turn) -> str:
    """Tell an alert or a change point in one line."""
    line = alert_line(news) if isinstance(news, Alert) else turn_line(news)
    return f"{readout.stream} {plain_text(line)}"
