"""What a report is made of: sections with text, tables and figures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

#: Width of every figure, inches: the text of an A4 page, so that letters are printed in the size
#: that they are drawn in.
WIDTH = 7.1

#: Dots to an inch: sharp in print, and some 200 kB a figure.
DPI = 200

#: Letters of the figures, points, as they come in print.
FONTS: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
}


@dataclass(frozen=True)
class Table:
    """A table; the first cell of every row names it.

    Attributes
    ----------
    rows
        Cells, all rows of one length.
    head
        Names of the columns; none for names and values.
    title
        Says what it holds; may be empty.
    """

    rows: tuple[tuple[str, ...], ...]
    head: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True, eq=False)
class Plate:
    """A figure, its name in the page, and its caption."""

    name: str
    figure: Figure
    caption: str

    @cached_property
    def png(self) -> bytes:
        """The figure, rendered; ticks are made only then, so that their letters are chosen here."""
        buffer = io.BytesIO()
        with mpl.rc_context(FONTS):
            self.figure.savefig(buffer, format="png", dpi=DPI)
        return buffer.getvalue()

    @property
    def height(self) -> float:
        """Of the figure at `WIDTH`, inches."""
        wide, high = self.figure.get_size_inches()
        return float(high * WIDTH / wide)


@dataclass(frozen=True, eq=False)
class Section:
    """A section of the report; its figures come after the text, its tables after these."""

    name: str
    title: str
    text: tuple[str, ...] = ()
    plates: tuple[Plate, ...] = ()
    tables: tuple[Table, ...] = ()


def numbered(sections: Sequence[Section]) -> dict[str, int]:
    """Count the figures through the report, by name."""
    plates = (plate.name for one in sections for plate in one.plates)
    return {name: at for at, name in enumerate(plates, 1)}
