"""What is drawn of the session as a whole, each part only when it has changed."""

from __future__ import annotations

from collections import deque

from latticewatch.viewer.dopants import dopant_entries
from latticewatch.viewer.drawing import Drawing, Entry
from latticewatch.viewer.facts import Facts
from latticewatch.viewer.rates import rates_entry
from latticewatch.viewer.rosette import rosette_entries
from latticewatch.viewer.turn_marks import log_entry, mark_entry
from latticewatch.viewer.turns import Turn

#: Frames whose time of acquisition is remembered: a change point is reported at most 12 frames
#: after it began.
REMEMBERED = 64


class SessionViews:
    """Remembers what was drawn last."""

    def __init__(self) -> None:
        self._looks: tuple[int, ...] = ()
        self._rates: object = None
        self._turns: frozenset[tuple[str, int]] = frozenset()
        self._times: deque[tuple[int, float]] = deque(maxlen=REMEMBERED)

    def entries(self, facts: Facts) -> list[Entry]:
        """Return the dopants' surroundings, the rates and the directions, where they are new."""
        found: list[Entry] = []
        looks = tuple(one.looks for one in facts.surroundings)
        if looks and looks != self._looks:
            self._looks = looks
            found += dopant_entries(facts.surroundings)
        if facts.rates and facts.rates != self._rates:
            self._rates = facts.rates
            found.append(rates_entry(facts.rates))
            if facts.directions is not None:
                found += rosette_entries(facts.directions)
        return found

    def changes(self, facts: Facts, frame: int, time_s: float | None) -> list[Drawing]:
        """Return the change points that were not drawn yet, each at its own frames.

        Parameters
        ----------
        facts
            The newest statistics; a viewer that begins in mid-session finds the last changes there.
        frame, time_s
            The newest frame and its time of acquisition.
        """
        if time_s is not None:
            self._times.append((frame, time_s))
        fresh = [t for t in facts.turns if (t.series, t.reported) not in self._turns]
        self._turns = frozenset((t.series, t.reported) for t in facts.turns)
        return [drawing for turn in fresh for drawing in self._drawn(turn)]

    def _drawn(self, turn: Turn) -> list[Drawing]:
        times = dict(self._times)
        drawings = [Drawing(turn.reported, times.get(turn.reported), (log_entry(turn),))]
        mark = mark_entry(turn)
        if mark is not None:
            drawings.append(Drawing(turn.frame, times.get(turn.frame), (mark,)))
        return drawings
