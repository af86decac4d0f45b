"""Lines and columns of text set to a width, by the letters' own widths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

_POINTS_PER_INCH = 72.0


@lru_cache(maxsize=4096)
def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """Width of a line in the font of the figures, inches, at a size in points."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, False)
    return float(width) / _POINTS_PER_INCH


def wrapped(text: str, size: float, width: float, *, bold: bool = False) -> list[str]:
    """Break a text into lines of at most `width` inches; a word that is longer is broken too."""
    lines = [""]
    for word in _pieces(text, size, width, bold=bold):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if width_of(longer, size, bold=bold) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def column_widths(
    rows: Sequence[Sequence[str]], size: float, width: float, gutter: float
) -> list[float]:
    """Share a width among the columns of a table, inches.

    Columns that need no more than an equal share of what is left get what they need, the others
    share the rest.
    """
    columns = list(zip(*rows, strict=True))
    # bold, so that a head fits as well
    needed = [max(width_of(cell, size, bold=True) for cell in column) for column in columns]
    left, widths = width - gutter * (len(columns) - 1), [0.0] * len(columns)
    open_columns = sorted(range(len(columns)), key=needed.__getitem__)
    for done, column in enumerate(open_columns):
        share = left / (len(open_columns) - done)
        widths[column] = min(needed[column], share)
        left -= widths[column]
    return widths


def _pieces(text: str, size: float, width: float, *, bold: bool) -> Iterator[str]:
    """Words, those that are too long in pieces."""
    for word in text.split():
        rest = word
        while width_of(rest, size, bold=bold) > width and len(rest) > 1:
            fits = len(rest) - 1
            while fits > 1 and width_of(rest[:fits], size, bold=bold) > width:
                fits -= 1
            yield rest[:fits]
            rest = rest[fits:]
        yield rest
