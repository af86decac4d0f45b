"""What one frame came to: the unit that the store commits and publishing announces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from latticewatch.client.table import DefectTable
from latticewatch.computed import Computed
from latticewatch.receiving.deliveries import Gap, Refusal
from latticewatch.storage.pictures import Picture

if TYPE_CHECKING:
    from latticewatch.alerting.reading import Alarm
    from latticewatch.segmenters import ModelRecord
    from latticewatch.tracker.update import ClosedTrack, Event

Status = Literal["ok", "missing", "rejected"]


@dataclass(frozen=True)
class FrameResult:
    """Result of one frame, or the note that it was missing or rejected.

    Attributes
    ----------
    frame, epoch, seq, time_s
        Number in the session, identity on the wire, acquisition time (None where it is not known).
    status, reason
        ``ok``, ``missing`` or ``rejected``, and why.
    lattice
        Numbers of the lattice, the area fractions and the drift, by the names of
        `schema.LATTICE_COLUMNS`.
    table
        Its defects.
    closed, events
        Tracks that ended with it, and what happened to tracks.
    check
        Its segmenter against its labels, where that was looked at: columns of
        `schema.CHECK_COLUMNS` but for the frame.
    model
        The model that it was analysed with, where that is another than before.
    computed
        What it was computed on, where that is another than before.
    alerts
        Alerts that were raised or have ceased with it.
    picture
        What may be kept of its image.
    """

    frame: int
    epoch: int
    seq: int
    time_s: float | None = None
    status: Status = "ok"
    reason: str = ""
    lattice: Mapping[str, float] = field(default_factory=dict)
    table: DefectTable | None = None
    closed: tuple[ClosedTrack, ...] = ()
    events: tuple[Event, ...] = ()
    check: Mapping[str, Any] | None = None
    model: ModelRecord | None = None
    computed: Computed | None = None
    alerts: tuple[Alarm, ...] = ()
    picture: Picture | None = None


@dataclass(frozen=True)
class SessionEnd:
    """An epoch's end: the numbers that would have come next, and the tracks that it closed."""

    frame: int
    epoch: int
    seq: int
    closed: tuple[ClosedTrack, ...] = ()
    events: tuple[Event, ...] = ()


def missing_frames(gap: Gap) -> Iterator[FrameResult]:
    """One result for each frame of a gap."""
    for k in range(gap.count):
        yield FrameResult(
            gap.frame + k, gap.epoch, gap.seq + k, status="missing", reason="never came"
        )


def refused_frame(refusal: Refusal) -> FrameResult:
    """Give the result of a frame that was refused on arrival."""
    return FrameResult(
        refusal.frame,
        refusal.epoch,
        refusal.seq,
        status="rejected",
        reason=str(refusal.error),
    )
