"""A report as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from latticewatch.report.parts import Plate, Section, Table, numbered

_STYLE = """
@page { size: A4; margin: 15mm }
body { font: 1rem/1.5 system-ui, sans-serif; color: #222 }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ccc }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; min-width: 24rem }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem }
th, td { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top }
thead th { border-bottom: 1px solid #888 } tbody tr + tr { border-top: 1px solid #eee }
th { font-weight: 600 } tbody th { white-space: nowrap } td { overflow-wrap: anywhere }
figure { margin: 1rem 0; break-inside: avoid } img { width: 100%; max-width: 56rem }
figcaption { font-size: .9rem; color: #444 }
@media print {
  html { font-size: 10pt } body { margin: 0; padding: 0; max-width: none }
  h2 { break-after: avoid } tr { break-inside: avoid } caption { break-after: avoid }
}
"""


def html(title: str, sections: Sequence[Section]) -> str:
    """Assemble the page."""
    numbers = numbered(sections)
    body = "\n".join(_section(section, numbers) for section in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>"
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _section(section: Section, numbers: dict[str, int]) -> str:
    parts = [f'<section id="{escape(section.name)}"><h2>{escape(section.title)}</h2>']
    parts += [f"<p>{escape(line)}</p>" for line in section.text]
    parts += [_plate(plate, numbers[plate.name]) for plate in section.plates]
    parts += [_table(table) for table in section.tables]
    return "\n".join(parts) + "</section>"


def _table(table: Table) -> str:
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    heads = "".join(f"<th>{escape(name)}</th>" for name in table.head)
    head = f"<thead><tr>{heads}</tr></thead>" if heads else ""
    rows = (
        f"<tr><th>{escape(first)}</th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in table.rows
    )
    return f"<table>{caption}{head}<tbody>{''.join(rows)}</tbody></table>"


def _plate(plate: Plate, at: int) -> str:
    data = base64.b64encode(plate.png).decode()
    caption = escape(plate.caption)
    return (
        f'<figure id="figure-{escape(plate.name)}"><img alt="{caption}" '
        f'src="data:image/png;base64,{data}"><figcaption><b>Figure {at}.</b> {caption}'
        "</figcaption></figure>"
    )
