"""Characters that a terminal can show, and lines made of styled pieces."""

from __future__ import annotations

from dataclasses import dataclass

#: A piece of a line and its style, as rich names styles; a line is pieces side by side.
Span = tuple[str, str]
Line = tuple[Span, ...]

#: What stands for a character where the encoding lacks it.
_PLAIN = {"²": "^2", "Å": "A", "±": "+-", "→": "->", "…": "...", "≥": ">=", "°": " deg"}


@dataclass(frozen=True)
class Glyphs:
    """What sparklines are made of, lowest first, and whether anything beyond ASCII may be used."""

    levels: str
    ascii_only: bool


BLOCKS = Glyphs("▁▂▃▄▅▆▇█", ascii_only=False)
PLAIN = Glyphs("_.-:=+*#", ascii_only=True)


def glyphs_for(encoding: str | None) -> Glyphs:
    """Blocks where the terminal's encoding has them, else ASCII."""
    try:
        (BLOCKS.levels + "".join(_PLAIN)).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return BLOCKS


def shown(text: str, glyphs: Glyphs) -> str:
    """Text of printable characters that these glyphs allow: what a source sends is not trusted."""
    if glyphs.ascii_only:
        text = "".join(_PLAIN.get(letter, letter) for letter in text)
        text = text.encode("ascii", "replace").decode("ascii")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def width_of(line: Line) -> int:
    """Cells of a line; all that is written here is one cell wide."""
    return sum(len(text) for text, _ in line)


def fitted(line: Line, width: int, glyphs: Glyphs) -> Line:
    """Make a line as wide as this at most; what is cut off leaves an ellipsis."""
    pieces = tuple((shown(text, glyphs), style) for text, style in line)
    if width_of(pieces) <= width:
        return pieces
    mark = shown("…", glyphs)[:width]
    kept: list[Span] = []
    left = width - len(mark)
    for text, style in pieces:
        kept.append((text[:left], style))
        left -= len(kept[-1][0])
    return (*(piece for piece in kept if piece[0]), (mark, "dim"))


def padded(line: Line, width: int) -> Line:
    """Fill a line up to this width."""
    return (*line, (" " * max(0, width - width_of(line)), ""))


def beside(left: list[Line], right: list[Line], width: int, gap: int = 3) -> list[Line]:
    """Put two columns side by side, the left one so wide."""
    lines = []
    for k in range(max(len(left), len(right))):
        first = left[k] if k < len(left) else ()
        second = right[k] if k < len(right) else ()
        lines.append((*padded(first, width + gap), *second) if second else first)
    return lines


def plain_text(line: Line) -> str:
    """Return the text of a line."""
    return "".join(text for text, _ in line)
