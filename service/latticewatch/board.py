"""The terminal's view of a stream: what `watch` and `demo` show, built from messages alone."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from latticewatch.client.messages import Alert, Defects, Health, Message, Statistics
from latticewatch.palette import style_of

#: Frames over which rate and latency are told.
_WINDOW = 100


class Board:
    """Keeps the newest of each kind of message and renders them."""

    def __init__(self) -> None:
        self._statistics: Statistics | None = None
        self._defects: Defects | None = None
        self._health: Health | None = None
        self._alerts: deque[Alert] = deque(maxlen=5)
        self._arrivals: deque[float] = deque(maxlen=_WINDOW)
        self._latencies_ms: deque[float] = deque(maxlen=_WINDOW)
        self._missed = 0

    def take(self, message: Message) -> None:
        """Note a message."""
        self._missed += message.missed
        if isinstance(message, Statistics):
            self._statistics = message
        elif isinstance(message, Defects):
            self._defects = message
            if not message.snapshot:
                now = time.time()
                self._arrivals.append(now)
                if message.sent_s is not None:
                    self._latencies_ms.append(1000 * (now - message.sent_s))
        elif isinstance(message, Health):
            self._health = message
        elif isinstance(message, Alert):
            self._alerts.append(message)

    def render(self) -> RenderableType:
        """Return the whole board."""
        if self._statistics is None:
            return Panel("waiting for a stream ...", title="latticewatch")
        data = self._statistics.data
        upper = Columns([self._overview(data), _population(data, self._now())])
        parts: list[RenderableType] = [upper, class_table(data)]
        matrix = transition_table(data)
        if matrix is not None:
            parts.append(matrix)
        parts += [alert_line(alert) for alert in self._alerts]
        return Panel(Group(*parts), title=f"latticewatch: {self._statistics.stream}")

    def latency_ms(self, quantile: float) -> float | None:
        """Quantile of the latency from `send` to this subscriber over the last frames."""
        ordered = sorted(self._latencies_ms)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else None

    def _now(self) -> Counter[str]:
        return Counter([] if self._defects is None else self._defects.table.species.tolist())

    def _overview(self, data: Mapping[str, Any]) -> Table:
        table = Table.grid(padding=(0, 2))
        lattice = data.get("lattice") or {}
        constant = _number(lattice.get("constant_nm", {}).get("mean"), "{:.4f} nm")
        deviation = _number(lattice.get("deviation", {}).get("mean"), "{:+.1%}")
        source = data.get("pixel_size_source", "")
        fractions = data.get("fractions") or {}
        rows = [
            ("frames", f"{data.get('frames', 0)} ({data.get('missing', 0)} missing)"),
            ("rate", _number(self._rate(), "{:.1f} frames/s")),
            ("latency", self._latency()),
            ("lattice", f"{constant} ({deviation} off literature; pixel size: {source})"),
            ("defect density", interval(data.get("defect_density_nm2"), "/nm²")),
            ("agreement", agreement_line(data.get("calibration"))),
            *((f"{name} area", interval(part)) for name, part in fractions.items()),
            ("lost here", f"{self._missed} messages"),
        ]  # fmt: skip
        for name, value in rows:
            table.add_row(f"[dim]{name}[/]", value)
        return table

    def _latency(self) -> str:
        median, p99 = (_number(self.latency_ms(q), "{:.0f} ms") for q in (0.5, 0.99))
        return f"{median} median, {p99} p99"

    def _rate(self) -> float | None:
        if len(self._arrivals) < 2:
            return None
        span = self._arrivals[-1] - self._arrivals[0]
        return (len(self._arrivals) - 1) / span if span > 0 else None


def alert_line(alert: Alert) -> str:
    """Say what an alert says, loud while it is raised."""
    style = "bold red" if alert.active else "dim"
    return f"frame {alert.frame} [{style}]{escape(alert.rule)}[/]: {escape(alert.text)}"


def agreement_line(calibration: Mapping[str, Any] | None) -> str:
    """Say how segmenter and labels agree, and whether that is low."""
    if not calibration or not calibration.get("checks"):
        return "-"
    text = f"{interval(calibration['agreement'])} in {calibration['checks']} checks"
    return f"[bold red]LOW[/] {text}" if calibration.get("low") else text


def class_table(data: Mapping[str, Any]) -> Table:
    """Return the mixture's classes with what each was read as, and on what evidence."""
    table = Table(title="classes", title_justify="left", box=None, header_style="dim")
    for name in ("class", "species", "posterior", "weight", "column intensity", "expected"):
        table.add_column(name, justify="right" if name != "species" else "left")
    for row in data.get("classes") or ():
        species = row.get("species", "unknown")
        expected = (row.get("expected") or {}).get(species)
        table.add_row(
            str(row.get("class_id")),
            f"[{style_of(species)[0]}]{species}[/]",
            _number((row.get("posterior") or {}).get(species), "{:.2f}"),
            _number(row.get("weight"), "{:.2f}"),
            f"{_number(row.get('intensity'), '{:.3f}')} ± "
            f"{_number(row.get('intensity_standard_error'), '{:.3f}')}",
            _number(expected, "{:.3f}"),
        )
    return table


def transition_table(data: Mapping[str, Any]) -> Table | None:
    """Return the dopant's transition probabilities with their credible intervals, if it has any.

    Those behind the wrong labels, as soon as there are some; below, what the memory test says.
    """
    transitions = data.get("transitions") or {}
    states: Sequence[str] = transitions.get("states") or ()
    if not states:
        return None
    matrix = transitions.get("hidden") or transitions
    table = Table(
        title=f"transitions from frame to frame, {data.get('credible', 0.95):.0%} intervals",
        caption=(transitions.get("memory") or {}).get("verdict"),
        caption_justify="left",
        title_justify="left",
        box=None,
        header_style="dim",
    )
    table.add_column("from")
    for name in (*states, "counted"):
        table.add_column(name, justify="right")
    for k, name in enumerate(states):
        rows = (matrix[key][k] for key in ("probabilities", "low", "high"))
        cells = [
            f"{_number(p, '{:.3f}')} [dim]{low:.2f}-{high:.2f}[/]"
            for p, low, high in zip(*rows, strict=True)
        ]
        # counts are kept by lag; the first is one frame
        table.add_row(name, *cells, str(sum(transitions["counts"][0][k])))
    return table


def _population(data: Mapping[str, Any], now: Counter[str]) -> Table:
    table = Table(box=None, header_style="dim")
    for name in ("species", "now", "mean"):
        table.add_column(name, justify="left" if name == "species" else "right")
    for species, row in (data.get("populations") or {}).items():
        if row.get("mean") or now[species]:
            table.add_row(f"[{style_of(species)[0]}]{species}[/]", str(now[species]), interval(row))
    return table


def interval(row: Mapping[str, Any] | None, unit: str = "") -> str:
    """Write a mean with its interval."""
    if not row or row.get("mean") is None:
        return "-"
    text = f"{row['mean']:.3g}{unit}"
    if row.get("low") is None or row.get("high") is None:
        return text
    return f"{text} [dim]{row['low']:.3g}-{row['high']:.3g}[/]"


def _number(value: Any, form: str) -> str:
    return "-" if value is None else form.format(value)
