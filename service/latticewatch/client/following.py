"""What a subscriber has not had yet, told from the store: every frame once, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from latticewatch.client.errors import QueryError
from latticewatch.client.messages import Alert, Defects, Message, Statistics
from latticewatch.client.table import DefectTable

#: Where to begin: the number of a frame in the session, or epoch and sequence number.
Since = int | tuple[int, int]


class Following:
    """Makes messages of the answers to ``since``; without sockets.

    Parameters
    ----------
    stream
        Name of the stream.
    since
        First frame that is wanted.
    """

    def __init__(self, stream: str, since: Since) -> None:
        self.stream = stream
        self._since = since
        self._told: Mapping[str, Any] | None = None

    def question(self) -> dict[str, Any]:
        """Fields of the next query."""
        if isinstance(self._since, tuple):
            epoch, seq = self._since
            return {"stream": self.stream, "epoch": epoch, "seq": seq}
        return {"stream": self.stream, "first": self._since}

    def take(self, answer: Mapping[str, Any]) -> Iterator[Message]:
        """Give what the answer holds: each frame's alerts and defects, then the statistics.

        The place moves on with each frame, so that who stops in between loses the rest of it alone.
        """
        table = DefectTable.from_wire(answer["table"])
        alerts: dict[int, list[Mapping[str, Any]]] = {}
        for row in answer["alerts"]:
            alerts.setdefault(row["frame"], []).append(row)
        row = None
        for row in answer["frames"]:
            yield from self._frame(row, table, alerts.get(row["frame"], []))
            self._since = row["frame"] + 1
        if row is None:
            self._since = answer["first"]
        data = answer["statistics"]
        if data and data != self._told:
            self._told = data
            frame = answer["statistics_frame"]
            place = {"epoch": answer["epoch"], "frame": frame}
            times = {row["frame"]: row["time_s"] for row in answer["frames"]}
            time_s = times.get(frame) or 0.0
            yield Statistics(stream=self.stream, **place, time_s=time_s, data=data)

    def _frame(
        self, row: Mapping[str, Any], table: DefectTable, alerts: list[Mapping[str, Any]]
    ) -> Iterator[Message]:
        frame, time_s = row["frame"], row["time_s"]
        place = {"stream": self.stream, "epoch": row["epoch"], "frame": frame}
        if time_s is not None:
            place["time_s"] = time_s
        for alert in alerts:
            names = ("rule", "text", "severity", "active", "values")
            yield Alert(**place, **{name: alert[name] for name in names})
        if row["status"] == "ok":
            mine = np.flatnonzero(table.frame == frame)
            yield Defects(**place, table=table.select(mine))


def lasting(error: QueryError) -> bool:
    """Whether asking again cannot help: the question itself is refused."""
    return error.field not in (None, "stream")
