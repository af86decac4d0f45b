"""A report as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from matplotlib.figure import Figure

from latticewatch.report.sections import Plate, Section, numbered

#: Dots to an inch: sharp in print at the width of a page, and some 100 kB a figure.
_DPI = 130

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222 }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ccc }
table { border-collapse: collapse }
th, td { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top }
th { font-weight: 600 } td { overflow-wrap: anywhere }
figure { margin: 1rem 0; break-inside: avoid } img { max-width: 100% }
figcaption { font-size: .9rem; color: #444 }
@media print { body { margin: 0; font-size: 11pt } h2 { break-after: avoid } }
"""


def html(title: str, sections: Sequence[Section]) -> str:
    """Assemble the page."""
    numbers = {plate.name: at for at, plate in numbered(sections)}
    body = "\n".join(_section(section, numbers) for section in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>"
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def png(figure: Figure) -> bytes:
    """Render a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def _section(section: Section, numbers: dict[str, int]) -> str:
    parts = [f'<section id="{escape(section.name)}"><h2>{escape(section.title)}</h2>']
    parts += [f"<p>{escape(line)}</p>" for line in section.text]
    if section.rows:
        rows = (f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in section.rows)
        parts.append("<table>" + "".join(rows) + "</table>")
    parts += [_plate(plate, numbers[plate.name]) for plate in section.plates]
    return "\n".join(parts) + "</section>"


def _plate(plate: Plate, at: int) -> str:
    data = base64.b64encode(png(plate.figure)).decode()
    caption = escape(plate.caption)
    return (
        f'<figure id="figure-{escape(plate.name)}"><img alt="{caption}" '
        f'src="data:image/png;base64,{data}"><figcaption><b>Figure {at}.</b> {caption}'
        "</figcaption></figure>"
    )
