"""A report as a PDF: text, tables and figures that flow over A4 pages."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.image import imread

from latticewatch.report.parts import WIDTH, Plate, Section, Table, numbered, png
from latticewatch.report.setting import column_widths, wrapped

#: A4 upright, and the margins above and below, inches.
_PAGE = (8.27, 11.69)
_TOP, _BOTTOM = 0.7, 0.75
_LEFT = (_PAGE[0] - WIDTH) / 2

#: Sizes of letters, points, and lines' distance in units of the size.
_TITLE, _HEADING, _TEXT, _SMALL = 17.0, 12.5, 9.5, 8.5
_LINE = 1.4

#: Between the columns of a table, inches.
_GUTTER = 0.18

#: Dots to an inch of the figures.
_DPI = 200


def save_pdf(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write title, and section by section text, figures with their captions, and tables."""
    numbers = numbered(sections)
    with PdfPages(path, metadata={"Title": title}) as pages:
        sheet = _Sheet(pages, title)
        sheet.lines([title], _TITLE, weight="bold")
        sheet.skip(0.1)
        for section in sections:
            sheet.need(1.2)
            sheet.skip(0.12)
            sheet.lines([section.title], _HEADING, weight="bold")
            sheet.rule()
            for paragraph in section.text:
                sheet.lines(wrapped(paragraph, _TEXT, WIDTH), _TEXT)
                sheet.skip(0.08)
            for plate in section.plates:
                _put_plate(sheet, plate, numbers[plate.name])
            for table in section.tables:
                _put_table(sheet, table)
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

    def need(self, inches: float) -> bool:
        """Turn the page unless there is so much room; says whether it was turned."""
        full = self._at + inches > _PAGE[1] - _BOTTOM
        if full and self._at > _TOP:
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
                y = 1 - (self._at + down * step) / _PAGE[1]
                self._page.text(
                    x, y, line, va="top", size=size, weight=weight, color=color, parse_math=False
                )
        self._at += step * max(len(lines) for _, lines in cells)

    def rule(self, color: str = "#999999") -> None:
        """Draw a line over the whole width."""
        from matplotlib.lines import Line2D

        y = 1 - (self._at + 0.015) / _PAGE[1]
        ends = [_LEFT / _PAGE[0], 1 - _LEFT / _PAGE[0]]
        self._page.add_artist(Line2D(ends, [y, y], lw=0.5, color=color))
        self._at += 0.06

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


def _put_plate(sheet: _Sheet, plate: Plate, at: int) -> None:
    wide, high = plate.figure.get_size_inches()
    height = float(high * WIDTH / wide)
    caption = wrapped(f"Figure {at}. {plate.caption}", _SMALL, WIDTH)
    sheet.need(height + 0.15 + len(caption) * _SMALL * _LINE / 72)
    sheet.skip(0.05)
    sheet.image(png(plate.figure, _DPI), height)
    sheet.lines(caption, _SMALL, color="#444444")
    sheet.skip(0.12)


def _put_table(sheet: _Sheet, table: Table) -> None:
    every = [table.head, *table.rows] if table.head else list(table.rows)
    widths = column_widths(every, _SMALL, WIDTH, _GUTTER)
    lefts = [sum(widths[:k]) + k * _GUTTER for k in range(len(widths))]
    rows = list(_set_rows(table.rows, widths))
    sheet.need(0.5 + max(len(lines) for lines in rows[0]) * _SMALL * _LINE / 72)
    sheet.skip(0.06)
    if table.title:
        sheet.lines(wrapped(table.title, _SMALL, WIDTH, bold=True), _SMALL, weight="bold")
    _put_head(sheet, table, widths, lefts)
    for row in rows:
        if sheet.need(max(len(lines) for lines in row) * _SMALL * _LINE / 72):
            _put_head(sheet, table, widths, lefts)
        sheet.cells(list(zip(lefts, row, strict=True)), _SMALL)
    sheet.skip(0.1)


def _put_head(sheet: _Sheet, table: Table, widths: Sequence[float], lefts: Sequence[float]) -> None:
    if table.head:
        (head,) = _set_rows((table.head,), widths, bold=True)
        sheet.cells(list(zip(lefts, head, strict=True)), _SMALL, weight="bold")
    sheet.rule("#cccccc")


def _set_rows(
    rows: Sequence[Sequence[str]], widths: Sequence[float], *, bold: bool = False
) -> Iterator[list[list[str]]]:
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield [wrapped(cell, _SMALL, width, bold=bold) for cell, width in cells]
