"""Rates per second and per dose as a table."""

from __future__ import annotations

from collections.abc import Sequence

import rerun as rr

from latticewatch.viewer.drawing import Entry
from latticewatch.viewer.keys import Band
from latticewatch.viewer.motion import Rate


def rates_entry(rates: Sequence[Rate]) -> Entry:
    """Return the table; a rate that is not known is a dash."""
    rows = [
        f"| {rate.name}{rate.of} | {_told(rate.per_s)} | {_told(rate.per_dose)} |" for rate in rates
    ]
    lines = ["| | per second | per e/Å² |", "|---|---|---|", *rows]
    return ("rates", rr.TextDocument("\n".join(lines), media_type="text/markdown"))


def _told(band: Band | None) -> str:
    return "-" if band is None else f"{band.value:.2g} [{band.low:.2g}, {band.high:.2g}]"
