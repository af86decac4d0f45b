"""The numbers that an operator reads first, and the log of what should be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import rerun as rr

from latticewatch.client.messages import Alert, Health
from latticewatch.published import Estimate
from latticewatch.viewer.drawing import Entry
from latticewatch.viewer.facts import Facts

#: Rerun's levels by an alert's severity; any other severity is a warning.
_LEVELS = {"info": "INFO", "warning": "WARN", "error": "ERROR", "critical": "CRITICAL"}

#: Colours of the lines by level, Okabe and Ito's; the page has no room for the level's name.
_COLOURS = {
    "INFO": (200, 200, 200), "WARN": (230, 159, 0), "ERROR": (213, 94, 0), "CRITICAL": (213, 94, 0),
}  # fmt: skip


@dataclass(frozen=True)
class Losses:
    """What was not drawn, counted.

    Attributes
    ----------
    missed
        Messages lost on the way to the viewer.
    unpaired
        Overlays without their defects, or the reverse.
    skipped
        Frames that were left out to catch up.
    other_streams
        Messages of streams that are not shown.
    unreadable
        Messages that could not be decoded.
    """

    missed: int = 0
    unpaired: int = 0
    skipped: int = 0
    other_streams: int = 0
    unreadable: int = 0

    def __str__(self) -> str:
        told = {name.replace("_", " "): count for name, count in vars(self).items() if count}
        return ", ".join(f"{count} {name}" for name, count in told.items()) or "nothing"


def status_entry(
    stream: str,
    frame: int,
    facts: Facts,
    losses: Losses,
    drawn_s: Sequence[float] = (),
    rate: float | None = None,
) -> Entry:
    """Return the table of numbers.

    Parameters
    ----------
    stream, frame
        What is shown.
    facts
        The newest statistics.
    losses
        What was not drawn.
    drawn_s
        Latencies of the last frames, from send to drawn, seconds.
    rate
        Frames a second.
    """
    lattice = "-"
    if facts.constant_px is not None:
        lattice = f"{facts.constant_px:.2f} px"
        if facts.pixel_size_nm:
            lattice = f"{facts.constant_px * facts.pixel_size_nm:.4f} nm, {lattice}"
    rows = [
        ("defects", _defects(facts)),
        ("D of vacancies", _banded(facts.diffusion, " nm²/s")),
        ("hops", _banded(facts.hop_rate, " /s")),
        ("transitions", _transitions(facts)),
        ("lattice", lattice),
        ("agreement", _agreement(facts)),
        ("sent to drawn", _latency(drawn_s, rate)),
        ("not drawn", str(losses)),
    ]
    missing = f", {facts.missing} missing" if facts.missing else ""
    ended = "; ended" if facts.ended else ""
    head = f"| {stream} | frame {frame}: {facts.frames} counted{missing}{ended} |"
    lines = [head, "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return ("status", rr.TextDocument("\n".join(lines), media_type="text/markdown"))


def alert_entry(alert: Alert) -> Entry:
    """Return an alert's line in the log."""
    level = _LEVELS.get(alert.severity, "WARN") if alert.active else "INFO"
    over = "" if alert.active else " (over)"
    return _line(f"{alert.rule}{over}: {alert.text}", level)


def health_entry(health: Health) -> Entry:
    """Return the line that says that the service's state has changed."""
    if health.state == "ok":
        return _line("service: ok again", "INFO")
    texts = [
        str(text)
        for name in ("unavailable", "disagreeing")
        for text in _texts(health.values.get(name))
    ]
    return _line(f"service {health.state}: {'; '.join(texts)}", "WARN")


def memory_entry(verdict: str) -> Entry:
    """Return the line that says what the memory test says now."""
    return _line(f"transitions: {verdict}", "INFO")


def _line(text: str, level: str) -> Entry:
    return ("alerts", rr.TextLog(text, level=level, color=_COLOURS[level]))


def _texts(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, Mapping) else []


def _defects(facts: Facts) -> str:
    count = sum((facts.populations or {}).values())
    density = "" if facts.density is None else f", {facts.density:.2f} /nm²"
    expected = facts.expected_vacancies
    return f"{count:.0f}{density}" + ("" if expected is None else f"; vacancies {expected:.1f}")


def _banded(band: Estimate | None, unit: str) -> str:
    return "-" if band is None else f"{band.value:.2g} [{band.low:.2g}, {band.high:.2g}]{unit}"


def _transitions(facts: Facts) -> str:
    if facts.chain is None:
        return "-"
    return "of the states behind the labels" if facts.chain.hidden else "of the labels"


def _agreement(facts: Facts) -> str:
    band = facts.agreement
    if band is None:
        return "-"
    low = "**LOW** " if facts.disagreeing else ""
    return f"{low}{band.value:.2f} [{band.low:.2f}, {band.high:.2f}]"


def _latency(drawn_s: Sequence[float], rate: float | None) -> str:
    if not drawn_s:
        return "-"
    p50, p99 = 1000 * np.percentile(drawn_s, [50, 99])
    pace = "" if rate is None else f"; {rate:.1f} frames/s"
    return f"{p50:.0f} ms, p99 {p99:.0f} ms{pace}"
