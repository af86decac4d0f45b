"""What the terminal remembers of a stream: message in, numbers kept; no I/O and no clock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping

import numpy as np

from latticewatch.client.messages import Alert, Defects, Health, Message, Statistics
from latticewatch.viewer.facts import Facts, read_facts
from latticewatch.viewer.pace import per_second
from latticewatch.viewer.turns import Turn

#: Frames that sparklines reach back.
HISTORY = 240

#: Frames over which latencies and the rate are told.
WINDOW = 100

#: Alerts and change points that are shown.
LAST = 4

#: Seconds without a message after which the service is called silent: it tells its health every
#: two.
SILENT_S = 7.0


class Readout:
    """The newest numbers of one stream, and a bounded past of those that are drawn.

    Parameters
    ----------
    stream
        Its name, or ``*`` for that of the first message.
    """

    def __init__(self, stream: str = "*") -> None:
        self.stream = stream
        self.frame = -1
        self.facts = Facts()
        self.health: Health | None = None
        self.alerts: deque[Alert] = deque(maxlen=LAST)
        self.missed = self.other_streams = self.unreadable = 0
        self.heard_s: float | None = None
        self.told = False
        self._run: int | None = None
        self._past: deque[dict[str, float]] = deque(maxlen=HISTORY)
        self._latencies: dict[str, deque[float]] = {
            name: deque(maxlen=WINDOW) for name in ("published", "lag", "here")
        }
        self._arrivals: deque[float] = deque(maxlen=WINDOW)

    def begins_anew(self, message: Message) -> bool:
        """Whether the message is of another session: the service runs anew, with other data."""
        if self._run is None or isinstance(message, Health):
            return False
        mine = message.stream == self.stream
        return mine and message.run != self._run and message.frame < self.frame

    def take(self, message: Message, now_s: float) -> list[Alert | Turn]:
        """Take a message in that came now, Unix time; gives what it tells anew.

        That is an alert, or the change points that the last statistics did not have.
        """
        self.heard_s = now_s
        if isinstance(message, Health):
            self.health = message
            return []
        if self.stream not in ("*", message.stream):
            self.other_streams += 1
            return []
        self.stream, self._run = message.stream, message.run
        self.missed += message.missed
        if isinstance(message, Defects):
            self._take_defects(message, now_s)
        elif isinstance(message, Statistics):
            return self._take_statistics(message)
        elif isinstance(message, Alert):
            self.alerts.append(message)
            return [message]
        return []

    @property
    def rate(self) -> float | None:
        """Frames a second."""
        return per_second(self._arrivals)

    def latency_ms(self, which: str) -> tuple[float, float] | None:
        """Return median and p99 of one of three times.

        ``published``: from sent to published; ``lag``: from then to here; ``here``: both.
        """
        values = self._latencies[which]
        if not values:
            return None
        p50, p99 = 1000 * np.percentile(values, [50, 99])
        return float(p50), float(p99)

    def past(self, name: str) -> list[float]:
        """Return the series of a name as far as it is remembered, NaN where it was not told."""
        return [row.get(name, math.nan) for row in self._past]

    def silent_s(self, now_s: float) -> float | None:
        """Return the seconds since the last message, None while they are few."""
        silence = 0.0 if self.heard_s is None else now_s - self.heard_s
        return silence if silence > SILENT_S else None

    def _take_defects(self, message: Defects, now_s: float) -> None:
        published, sent = message.published_s, message.sent_s
        if message.snapshot or published is None:
            return
        self._arrivals.append(now_s)
        self._latencies["lag"].append(now_s - published)
        if sent is not None:
            self._latencies["published"].append(published - sent)
            self._latencies["here"].append(now_s - sent)

    def _take_statistics(self, message: Statistics) -> list[Alert | Turn]:
        before = {(turn.series, turn.reported) for turn in self.facts.turns}
        self.facts = read_facts(message.data)
        # the end of a stream comes with the number that the next frame would have
        self.frame = max(self.frame, message.frame - self.facts.ended)
        self._past.append({name: value for name, value in self._values() if value is not None})
        fresh = [t for t in self.facts.turns if (t.series, t.reported) not in before]
        # those of the past are on the page, but they are no news
        known, self.told = self.told, True
        return [*fresh] if known else []

    def _values(self) -> Iterator[tuple[str, float | None]]:
        facts = self.facts
        yield "defects", None if facts.populations is None else sum(facts.populations.values())
        yield "density", facts.density
        yield "vacancies", facts.expected_vacancies
        yield from _prefixed("populations", facts.populations)
        yield from _prefixed("fractions", facts.fractions)
        yield "bound", bound(facts)
        yield "D", None if facts.diffusion is None else facts.diffusion.value
        yield "hops", None if facts.hop_rate is None else facts.hop_rate.value
        yield "rate", self.rate
        for name, values in self._latencies.items():
            yield name, 1000 * values[-1] if values else None


def bound(facts: Facts) -> float | None:
    """Dopants with a vacancy beside them in the last frame."""
    held = [count for name, count in (facts.states or {}).items() if "+" in name]
    return sum(held) if held else None


def _prefixed(group: str, values: Mapping[str, float] | None) -> Iterator[tuple[str, float]]:
    for name, value in (values or {}).items():
        yield f"{group}.{name}", value
