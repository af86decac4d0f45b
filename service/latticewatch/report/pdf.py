"""A report as a PDF: pages of text, and a page for each figure."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.image import imread

from latticewatch.report.sections import Plate, Section, numbered

#: A4 upright, inches; characters to a line and lines to a page at 9 points.
_PAGE, _WIDTH, _LINES = (8.27, 11.69), 88, 62

#: Dots to an inch of the figures before they are fitted to the page.
_DPI = 200


def save_pdf(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the text, then the figures with their captions."""
    numbers = {plate.name: at for at, plate in numbered(sections)}
    lines = [title, ""]
    for section in sections:
        lines += [section.title.upper(), ""]
        for paragraph in section.text:
            lines += [*textwrap.wrap(paragraph, _WIDTH), ""]
        for name, value in section.rows:
            lines += textwrap.wrap(f"{name}: {value}", _WIDTH, subsequent_indent="    ")
        lines += [f"See figure {numbers[plate.name]}." for plate in section.plates]
        lines.append("")
    with PdfPages(path) as pages:
        for first in range(0, len(lines), _LINES):
            page = Figure(figsize=_PAGE)
            text = "\n".join(lines[first : first + _LINES])
            page.text(0.08, 0.95, text, va="top", size=9, family="monospace", parse_math=False)
            pages.savefig(page)
        for at, plate in numbered(sections):
            pages.savefig(_figure_page(at, plate))


def _figure_page(at: int, plate: Plate) -> Figure:
    """Lay a figure on a page with its caption below."""
    buffer = io.BytesIO()
    plate.figure.savefig(buffer, format="png", dpi=_DPI)
    buffer.seek(0)
    image = imread(buffer)
    page = Figure(figsize=_PAGE)
    # as wide as the text, from the top
    high = 0.86 * _PAGE[0] / _PAGE[1] * image.shape[0] / image.shape[1]
    axes = page.add_axes((0.07, 0.95 - high, 0.86, high))
    axes.imshow(image, aspect="auto", interpolation="none")
    axes.set_axis_off()
    caption = textwrap.fill(f"Figure {at}. {plate.caption}", _WIDTH)
    page.text(0.08, 0.93 - high, caption, va="top", size=9, parse_math=False)
    return page
