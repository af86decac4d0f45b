"""A report as a PDF: pages of text, and a page for each figure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from latticewatch.report.sections import Section, numbered

#: A4 upright, inches; characters to a line and lines to a page at 9 points.
_PAGE, _WIDTH, _LINES = (8.27, 11.69), 95, 62


def save_pdf(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the text, then the figures with their captions."""
    lines = [title, ""]
    for section in sections:
        lines += [section.title.upper(), ""]
        for paragraph in section.text:
            lines += [*textwrap.wrap(paragraph, _WIDTH), ""]
        for name, value in section.rows:
            lines += textwrap.wrap(f"{name}: {value}", _WIDTH, subsequent_indent="    ")
        lines.append("")
    with PdfPages(path) as pages:
        for first in range(0, len(lines), _LINES):
            page = Figure(figsize=_PAGE)
            text = "\n".join(lines[first : first + _LINES])
            page.text(0.08, 0.95, text, va="top", size=9, family="monospace", parse_math=False)
            pages.savefig(page)
        for at, plate in numbered(sections):
            width = plate.figure.get_figwidth()
            # a caption below, on a page that is as wide as the figure
            caption = textwrap.fill(f"Figure {at}. {plate.caption}", int(width * 13))
            plate.figure.text(0, -0.02, caption, va="top", size=9, parse_math=False)
            pages.savefig(plate.figure, bbox_inches="tight", pad_inches=0.4)
