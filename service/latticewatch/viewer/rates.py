"""Rates per second and per dose as a table."""

from __future__ import annotations

from collections.abc import Sequence

import rerun as rr

from latticewatch.viewer.drawing import Entry
from latticewatch.viewer.motion import Rate
from latticewatch.viewer.words import banded


def rates_entry(rates: Sequence[Rate]) -> Entry:
    """Return the table; a rate that is not known is a dash."""
    rows = [
        f"| {rate.name}{rate.of} | {banded(rate.per_s, digits=2)} "
        f"| {banded(rate.per_dose, digits=2)} |"
        for rate in rates
    ]
    lines = ["| | per second | per e/Å² |", "|---|---|---|", *rows]
    return ("rates", rr.TextDocument("\n".join(lines), media_type="text/markdown"))
