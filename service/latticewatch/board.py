"""Tables that `latticewatch demo --headless` prints of what the service published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from latticewatch.palette import style_of


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


def _number(value: Any, form: str) -> str:
    return "-" if value is None else form.format(value)
