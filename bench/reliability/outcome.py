"""What a session came to, so that two of them can be held against each other byte for byte."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

from latticewatch.storage.session import Session
from latticewatch.writer import STATISTICS_FILE


@dataclass(frozen=True)
class Outcome:
    """A finished session: its statistics as written, and its tables with every digit.

    Attributes
    ----------
    statistics
        The bytes of ``statistics.json``.
    frames, defects, tracks, events, checks
        The rows as text.
    state
        Digest of the tracker's saved state.
    """

    statistics: bytes
    frames: str
    defects: str
    tracks: str
    events: str
    checks: str
    state: str

    @classmethod
    def of(cls, folder: Path) -> Outcome:
        """Read a stream's folder; raises OSError where its epoch has not ended."""
        with Session.open_read(folder) as session:
            return cls(
                statistics=(folder / STATISTICS_FILE).read_bytes(),
                frames=_text(session.frames()),
                defects=_text(session.defects().to_rows()),
                tracks=_text(session.tracks()),
                events=_text(session.events()),
                checks=_text(session.checks()),
                state=hashlib.sha256(session.state() or b"").hexdigest(),
            )

    def differences(self, other: Outcome) -> list[str]:
        """Names of what is not the same, to the byte."""
        names = (field.name for field in fields(self))
        return [name for name in names if getattr(self, name) != getattr(other, name)]


def _text(rows: list[object]) -> str:
    return "\n".join(map(repr, rows))
