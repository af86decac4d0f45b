"""A report as a PDF: text, tables and figures that flow over A4 pages."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.image import imread

from latticewatch.report.parts import WIDTH, Plate, Section, Table, numbered
from latticewatch.report.setting import column_widths, wrapped

#: A4 upright, and the margins above and below, inches.
_PAGE = (8.27, 11.69)
_TOP, _BOTTOM = 0.7, 0.75
_LEFT = (_PAGE[0] - WIDTH) / 2

#: Sizes of letters, points, and lines' distance in units of the size.
_TITLE, _HEADING, _TEXT, _SMALL = 17.0, 12.5, 9.5, 8.5
_LINE = 1.4

#: Where in a line the baseline is, from its top.
_BASE = 0.72

#: A table may be broken off where at least this much of it fits, inches.
_LEAST_PART = 1.6

#: Between the columns of a table, inches.
_GUTTER = 0.18


def save_pdf(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write title, and section by section text, figures with their captions, and tables."""
    numbers = numbered(sections)
    with PdfPages(path, metadata={"Title": title}) as pages:
        sheet = _Sheet(pages, title)
        sheet.lines([title], _TITLE, weight="bold")
        sheet.skip(0.1)
        for section in sections:
            _put_section(sheet, section, numbers)
        sheet.turn()


class _Sheet:
    """The page that is being filled, and the place on it, inches from the top."""

    def __init__(self, pages: Any, title: str) -> None:
        self._pages, self._title, self._number = pages, title, 0
        self._begin()

    def _begin(self) -> None:
        self._page, self._at = Figure(figsize=_PAGE), _TOP
        self._number += 1
        foot: dict[str, Any] = {"size": 7.5, "color": "#666666", "parse_math": False}
        self._page.text(_LEFT / _PAGE[0], 0.035, self._title, **foot)
        right = 1 - _LEFT / _PAGE[0]
        self._page.text(right, 0.035, f"{self._number}", ha="right", **foot)

    def turn(self) -> None:
        """End the page."""
        self._pages.savefig(self._page)
        self._begin()

    @property
    def room(self) -> float:
        """What is left of the page, inches."""
        return _PAGE[1] - _BOTTOM - self._at

    def need(self, inches: float) -> bool:
        """Turn the page unless there is so much room; says whether it was turned."""
        if inches > self.room and self._at > _TOP:
            self.turn()
            return True
        return False

    def skip(self, inches: float) -> None:
        """Leave room, but not at the top of a page."""
        self._at += inches if self._at > _TOP else 0.0

    def lines(
        self, lines: Sequence[str], size: float, *, weight: str = "normal", color: str = "#222222"
    ) -> None:
        """Set lines below one another."""
        for line in lines:
            self.need(size * _LINE / 72)
            self.cells([(0.0, [line])], size, weight=weight, color=color)

    def cells(
        self,
        cells: Sequence[tuple[float, Sequence[str]]],
        size: float,
        *,
        weight: str = "normal",
        color: str = "#222222",
    ) -> None:
        """Set columns of lines side by side, each so many inches from the left."""
        step = size * _LINE / 72
        for left, lines in cells:
            for down, line in enumerate(lines):
                x = (_LEFT + left) / _PAGE[0]
                # by the baseline: the top of a line depends on its letters
                y = 1 - (self._at + (down + _BASE) * step) / _PAGE[1]
                self._page.text(
                    x, y, line, va="baseline", size=size, weight=weight, color=color,
                    parse_math=False,
                )  # fmt: skip
        self._at += step * max(len(lines) for _, lines in cells)

    def rule(self, color: str = "#999999") -> None:
        """Draw a line over the whole width."""
        from matplotlib.lines import Line2D

        y = 1 - (self._at + 0.02) / _PAGE[1]
        ends = [_LEFT / _PAGE[0], 1 - _LEFT / _PAGE[0]]
        self._page.add_artist(Line2D(ends, [y, y], lw=0.5, color=color))
        self._at += 0.07

    def image(self, data: bytes, height: float) -> None:
        """Put an image over the whole width."""
        place = (
            _LEFT / _PAGE[0], 1 - (self._at + height) / _PAGE[1],
            WIDTH / _PAGE[0], height / _PAGE[1],
        )  # fmt: skip
        axes = self._page.add_axes(place)
        axes.imshow(imread(io.BytesIO(data)), aspect="auto", interpolation="none")
        axes.set_axis_off()
        self._at += height


def _put_section(sheet: _Sheet, section: Section, numbers: Mapping[str, int]) -> None:
    """Set heading and text, then figures and tables, each where it fits first."""
    text = [wrapped(paragraph, _TEXT, WIDTH) for paragraph in section.text]
    lines = sum(len(one) * _TEXT * _LINE / 72 + 0.08 for one in text)
    plates, tables = list(section.plates), list(section.tables)
    below = [_plate_height(one) for one in plates[:1]] + [_table_height(one) for one in tables[:1]]
    sheet.need(0.12 + _HEADING * _LINE / 72 + 0.15 + lines + min(below, default=0.0))
    sheet.skip(0.12)
    sheet.lines([section.title], _HEADING, weight="bold")
    sheet.rule()
    sheet.skip(0.04)
    for one in text:
        sheet.lines(one, _TEXT)
        sheet.skip(0.08)
    while plates or tables:
        if plates and _plate_height(plates[0]) <= sheet.room:
            first_plate = True
        else:
            first_plate = not (tables and _table_height(tables[0]) <= sheet.room) and bool(plates)
        if first_plate:
            plate = plates.pop(0)
            _put_plate(sheet, plate, numbers[plate.name])
        else:
            _put_table(sheet, tables.pop(0))


def _plate_height(plate: Plate) -> float:
    """Of a figure with its caption, inches."""
    caption = wrapped(f"Figure 99. {plate.caption}", _SMALL, WIDTH)
    return plate.height + 0.17 + len(caption) * _SMALL * _LINE / 72


def _put_plate(sheet: _Sheet, plate: Plate, at: int) -> None:
    sheet.need(_plate_height(plate))
    sheet.skip(0.05)
    sheet.image(plate.png, plate.height)
    caption = wrapped(f"Figure {at}. {plate.caption}", _SMALL, WIDTH)
    sheet.lines(caption, _SMALL, color="#444444")
    sheet.skip(0.12)


def _widths(table: Table) -> list[float]:
    every = [table.head, *table.rows] if table.head else list(table.rows)
    return column_widths(every, _SMALL, WIDTH, _GUTTER)


def _height(row: Sequence[Sequence[str]]) -> float:
    return max(len(lines) for lines in row) * _SMALL * _LINE / 72


def _table_height(table: Table) -> float:
    """Of a table with its title and head, inches."""
    widths = _widths(table)
    head = _set_rows((table.head,), widths, bold=True) if table.head else ()
    rows = (*head, *_set_rows(table.rows, widths))
    title = _SMALL * _LINE / 72 if table.title else 0.0
    return 0.06 + title + 0.07 + sum(map(_height, rows)) + 0.1


def _put_table(sheet: _Sheet, table: Table) -> None:
    widths = _widths(table)
    lefts = [sum(widths[:k]) + k * _GUTTER for k in range(len(widths))]
    sheet.need(min(_table_height(table), _LEAST_PART))
    sheet.skip(0.06)
    if table.title:
        sheet.lines(wrapped(table.title, _SMALL, WIDTH, bold=True), _SMALL, weight="bold")
    _put_head(sheet, table, widths, lefts)
    for row in _set_rows(table.rows, widths):
        if sheet.need(_height(row)):
            _put_head(sheet, table, widths, lefts)
        sheet.cells(list(zip(lefts, row, strict=True)), _SMALL)
    sheet.skip(0.1)


def _put_head(sheet: _Sheet, table: Table, widths: Sequence[float], lefts: Sequence[float]) -> None:
    if table.head:
        (head,) = _set_rows((table.head,), widths, bold=True)
        sheet.cells(list(zip(lefts, head, strict=True)), _SMALL, weight="bold")
    if table.head or table.title:
        sheet.rule("#cccccc")


def _set_rows(
    rows: Sequence[Sequence[str]], widths: Sequence[float], *, bold: bool = False
) -> Iterator[list[list[str]]]:
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield [wrapped(cell, _SMALL, width, bold=bold) for cell, width in cells]
