"""What the viewer remembers between messages: message in, drawings out, no I/O and no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from latticewatch.client.messages import (
    Alert,
    Defects,
    Health,
    Message,
    Overlay,
    PartialOverlay,
    Statistics,
)
from latticewatch.viewer import series
from latticewatch.viewer.blueprint import Sizes
from latticewatch.viewer.chain import chain_entries, matrix_size
from latticewatch.viewer.classes import class_entries, montage_size
from latticewatch.viewer.drawing import Drawing, Entry
from latticewatch.viewer.facts import Facts, read_facts
from latticewatch.viewer.pace import per_second
from latticewatch.viewer.pairing import Pairing
from latticewatch.viewer.rows import preview_shape, rows_entries
from latticewatch.viewer.scene import frame_entries
from latticewatch.viewer.session_views import SessionViews
from latticewatch.viewer.spectrum import spectrum_entries
from latticewatch.viewer.status import (
    Losses,
    alert_entry,
    health_entry,
    memory_entry,
    status_entry,
)
from latticewatch.viewer.trails import Trails, extend

#: Frames over which rate and latency are told.
WINDOW = 50

#: Seconds of the service's time between two Fourier planes: one takes 31 ms at 512 x 512, and
#: focus and drift are not read off it faster.
SPECTRUM_EVERY_S = 1.0

#: A batch of waiting messages whose first is older than this is caught up with: of its frames the
#: last two are drawn. A frame is drawn in some 10 ms, so this means that the viewer was
#: stopped, or that the frames come faster than it can draw.
BEHIND_S = 1.0


class Live:
    """One session on the screen.

    Parameters
    ----------
    stream
        Its name, or ``*`` for that of the first message.
    """

    def __init__(self, stream: str = "*") -> None:
        self.stream = stream
        self.losses = Losses()
        self.sizes = Sizes()
        self._frame = -1
        self._time_s: float | None = None
        self._run: int | None = None
        self._facts = Facts()
        self._pairing = Pairing()
        self._trails: Trails = {}
        self._styled: set[str] = set()
        self._session = SessionViews()
        self._arrivals: deque[float] = deque(maxlen=WINDOW)
        self._drawn_s: deque[float] = deque(maxlen=WINDOW)
        self._spectrum_s: float | None = None
        self._health = "ok"
        self._memory: str | None = None

    def begins_anew(self, message: Message) -> bool:
        """Whether the message is of another session: the service runs anew, with other data."""
        if self._run is None or isinstance(message, Health) or not self._shows(message):
            return False
        return message.run != self._run and message.frame < self._frame

    def take(self, message: Message) -> list[Drawing]:
        """Take a message in; gives what is to be drawn."""
        if isinstance(message, Health):
            return self._take_health(message)
        if not self._shows(message):
            self.lost(other_streams=1)
            return []
        if isinstance(message, PartialOverlay):
            return self._take_rows(message)
        self.stream, self._run = message.stream, message.run
        self.lost(missed=message.missed)
        if isinstance(message, (Overlay, Defects)):
            return self._take_half(message)
        if isinstance(message, Statistics):
            return self._take_statistics(message)
        if isinstance(message, Alert):
            return [Drawing(message.frame, message.time_s, (alert_entry(message),))]
        return []

    def drawn(self, drawing: Drawing, now_s: float) -> list[Drawing]:
        """Note when a frame was drawn, Unix time; gives what is drawn after it.

        That is its latency and, where the last is old enough, its Fourier plane.
        """
        entries: list[Entry] = []
        if drawing.sent_s is not None:
            self._drawn_s.append(now_s - drawing.sent_s)
            entries.append(series.latency_entry("drawn", now_s - drawing.sent_s))
        if drawing.overlay is not None and self._spectrum_due(drawing.overlay):
            entries += spectrum_entries(drawing.overlay)
        return [Drawing(drawing.frame, drawing.time_s, tuple(entries))] if entries else []

    def _spectrum_due(self, overlay: Overlay) -> bool:
        now, last = overlay.published_s or 0.0, self._spectrum_s
        if last is not None and 0 <= now - last < SPECTRUM_EVERY_S:
            return False
        self._spectrum_s = now
        return True

    def lost(self, **counts: int) -> None:
        """Count what was not drawn, by the names of `Losses`."""
        added = {name: getattr(self.losses, name) + count for name, count in counts.items()}
        self.losses = replace(self.losses, **added)

    def _shows(self, message: Message) -> bool:
        return self.stream in ("*", message.stream)

    def _take_half(self, half: Overlay | Defects) -> list[Drawing]:
        before = self._pairing.unpaired
        self._pairing, whole = self._pairing.take(half)
        self.lost(unpaired=self._pairing.unpaired - before)
        if whole is None:
            return []
        overlay, defects = whole
        starting = self._frame < 0
        self._frame, self._time_s = overlay.frame, overlay.time_s
        rows, columns = overlay.image.shape
        self.sizes = replace(self.sizes, frame=(rows, columns))
        self._trails = extend(self._trails, overlay.frame, defects.table, starting=starting)
        entries = frame_entries(
            overlay,
            defects,
            self._trails,
            constant_px=self._facts.constant_px,
            pixel_size_nm=self._facts.pixel_size_nm,
        )
        fresh = not (overlay.snapshot or defects.snapshot)
        entries += self._pace(overlay) if fresh else []
        sent_s = overlay.sent_s if fresh else None
        return [
            Drawing(overlay.frame, overlay.time_s, tuple(entries), overlay=overlay, sent_s=sent_s)
        ]

    def _take_rows(self, partial: PartialOverlay) -> list[Drawing]:
        """Draw what there is of a frame that is being acquired, unless it is there as a whole."""
        if self._run in (None, partial.run) and partial.frame <= self._frame:
            return []
        self.stream, self._run = partial.stream, partial.run
        self.sizes = replace(self.sizes, frame=preview_shape(partial))
        entries = rows_entries(partial, self._facts.constant_px)
        return [Drawing(partial.frame, partial.time_s, tuple(entries))]

    def _pace(self, overlay: Overlay) -> list[Entry]:
        if overlay.published_s is None:
            return []
        self._arrivals.append(overlay.published_s)
        entries = []
        if overlay.sent_s is not None:
            entries.append(series.latency_entry("published", overlay.published_s - overlay.sent_s))
        rate = per_second(self._arrivals)
        return entries if rate is None else [*entries, series.rate_entry(rate)]

    def _take_statistics(self, message: Statistics) -> list[Drawing]:
        facts = self._facts = read_facts(message.data)
        fresh = set(facts.populations or ()) - self._styled
        self._styled |= fresh
        entries = series.series_entries(facts)
        if facts.chain is not None:
            self.sizes = replace(self.sizes, transitions=matrix_size(facts.chain))
            entries += chain_entries(facts.chain)
        if facts.classes:
            self.sizes = replace(self.sizes, classes=montage_size(facts.classes))
            entries += class_entries(facts.classes)
        entries += self._session.entries(facts)
        # the end of a stream belongs to no frame, and a missing frame has no time of its own
        frame = self._frame if facts.ended and self._frame >= 0 else message.frame
        told = tuple(self._drawn_s)
        entries.append(
            status_entry(self.stream, frame, facts, self.losses, told, per_second(self._arrivals))
        )
        if facts.memory is not None and facts.memory != self._memory:
            entries.append(memory_entry(facts.memory))
            self._memory = facts.memory
        static = tuple(series.species_style(name) for name in sorted(fresh))
        changes = self._session.changes(facts, frame, self._time_s)
        return [Drawing(frame, self._time_s, tuple(entries), static), *changes]

    def _take_health(self, health: Health) -> list[Drawing]:
        if health.state == self._health:
            return []
        self._health = health.state
        return [Drawing(self._frame, self._time_s, (health_entry(health),))]


def left_to_draw(batch: Sequence[Message], now_s: float) -> tuple[list[Message], int]:
    """Leave out what only delays the newest frame; gives what remains and how many frames do not.

    Parameters
    ----------
    batch
        Messages that wait, oldest first.
    now_s
        Unix time.
    """
    stamps = [message.published_s for message in batch if message.published_s is not None]
    if not stamps or now_s - min(stamps) < BEHIND_S:
        return list(batch), 0
    # of the newest frame only a part may have come: the one before it is whole
    newest: dict[tuple[str, int], int] = {}
    whole = [message for message in batch if not isinstance(message, PartialOverlay)]
    for message in whole:
        key = (message.stream, message.run)
        newest[key] = max(newest.get(key, -1), message.frame)
    kept: list[Message] = []
    left_out = set()
    for message in whole:
        if (
            isinstance(message, (Alert, Health))
            or message.frame >= newest[message.stream, message.run] - 1
        ):
            kept.append(message)
        else:
            left_out.add((message.stream, message.run, message.frame))
    return kept, len(left_out)
