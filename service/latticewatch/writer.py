"""The one writer of a stream: applies frames in order to the tracker, and commits what they bring.

The live service and ``latticewatch analyze`` both go through here, which is why they agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latticewatch.analysis import Stopwatch
from latticewatch.announce import (
    frame_info,
    frame_messages,
    frame_result,
    refused_result,
    statistics_message,
)
from latticewatch.client.messages import DefectTable, Message, Statistics
from latticewatch.config import Settings
from latticewatch.deliveries import End, Gap, Refusal
from latticewatch.detections import FrameInfo
from latticewatch.reorder import Position
from latticewatch.results import FrameResult, SessionEnd, missing_frames, refused_frame
from latticewatch.schema import Fsync
from latticewatch.steps import Analysed, Outcome, Step
from latticewatch.store import Store
from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch_models.crystal import Crystal

STATISTICS_FILE = "statistics.json"


class StreamWriter:
    """Tracker and store of one stream; call it from one thread at a time.

    Parameters
    ----------
    stream
        Name of the stream.
    directory
        Its folder: ``session.sqlite`` and, after an end, ``statistics.json``.
    settings, crystal
        The tracker's.
    fsync
        When a commit reaches the disk; see `Store.open`.
    about
        Put into the statistics as it stands: versions, the model, the settings.

    Raises
    ------
    StoreError
        The session's file cannot be opened.
    ValueError
        It was written with another crystal or other tracker settings.
    """

    def __init__(
        self,
        stream: str,
        directory: Path,
        settings: TrackerSettings,
        crystal: Crystal,
        *,
        fsync: Fsync = "always",
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.stream = stream
        self.directory = directory
        self._about = dict(about or {})
        self._store = Store.open(directory, fsync=fsync)
        try:
            state = self._store.state()
            self._tracker = (
                Tracker(settings, crystal)
                if state is None
                else Tracker.restore(state, settings, crystal)
            )
            if self.position.ended:
                # a crash may have come between the commit of an end and the writing of this file
                self._write_statistics(self._store.statistics())
        except BaseException:
            self._store.close()
            raise

    @property
    def position(self) -> Position:
        """Where the session stands."""
        return self._store.position()

    def latest(self) -> tuple[Statistics, ...]:
        """Return the last statistics, for subscribers that come before the next frame."""
        data = self._store.statistics()
        position = self.position
        if not data:
            return ()
        return (
            Statistics(
                stream=self.stream, epoch=position.epoch or 0, frame=position.frame - 1, data=data
            ),
        )

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def process(self, steps: Iterable[Step]) -> list[Outcome]:
        """Apply steps in order and commit them; what is returned is on the disk.

        Raises
        ------
        StoreError
            The last transaction was not committed. The tracker stands past it, so the writer must
            be made anew.
        """
        outcomes: list[Outcome] = []
        pending: list[_Applied] = []
        for step in steps:
            pending.append(self._apply(step))
            if isinstance(step, End):
                outcomes += self._commit(pending)
                pending = []
        return outcomes + (self._commit(pending) if pending else [])

    def _apply(self, step: Step) -> _Applied:
        watch = Stopwatch()
        with watch.stage("track"):
            if isinstance(step, End):
                update = self._tracker.finish()
                end = SessionEnd(step.frame, step.epoch, step.seq, update.closed, update.events)
                return _Applied(step, [], watch.timings_ms, end=end)
            if isinstance(step, Analysed) and step.detections is not None:
                update = self._tracker.apply(frame_info(step.arrival), step.detections)
                result = frame_result(step.arrival, step.detections, update)
                messages = frame_messages(step, result.table or DefectTable.empty())
                return _Applied(step, [result], watch.timings_ms, messages)
            return _Applied(step, self._hole(_holes_of(step)), watch.timings_ms)

    def _hole(self, results: list[FrameResult]) -> list[FrameResult]:
        """Tell the tracker that frames without detections have passed."""
        last = results[-1]
        time_s = self._tracker.time_s if last.time_s is None else last.time_s
        update = self._tracker.apply(FrameInfo(last.frame, time_s, (0, 0)), None)
        return [*results[:-1], replace(last, closed=update.closed, events=update.events)]

    def _commit(self, pending: list[_Applied]) -> list[Outcome]:
        """Write what was applied in one transaction; the statistics are those after the last."""
        last = pending[-1]
        watch = Stopwatch()
        with watch.stage("commit"):
            results = [result for applied in pending for result in applied.results]
            statistics = self._statistics(last)
            self._store.commit(results, self._tracker.save(), statistics, last.end)
            if last.end is not None:
                self._write_statistics(statistics)
        messages = (*last.messages, statistics_message(last.step, statistics))
        outcomes = [Outcome(one.step, one.messages, one.timings_ms) for one in pending[:-1]]
        return [*outcomes, Outcome(last.step, messages, {**last.timings_ms, **watch.timings_ms})]

    def _statistics(self, last: _Applied) -> dict[str, Any]:
        epoch = last.step.arrival.epoch if isinstance(last.step, Analysed) else last.step.epoch
        return {
            "stream": self.stream,
            "epoch": epoch,
            "ended": last.end is not None,
            **self._tracker.statistics(),
            **self._about,
        }

    def _write_statistics(self, statistics: Mapping[str, Any]) -> None:
        fresh = self.directory / (STATISTICS_FILE + ".new")
        fresh.write_text(json.dumps(statistics, indent=1), encoding="utf-8")
        fresh.replace(self.directory / STATISTICS_FILE)


@dataclass(frozen=True)
class _Applied:
    """A step that the tracker has taken and that is not committed yet."""

    step: Step
    results: list[FrameResult]
    timings_ms: dict[str, float]
    messages: tuple[Message, ...] = ()
    end: SessionEnd | None = None


def tracker_settings(settings: Settings) -> TrackerSettings:
    """Return the tracker's share of the settings."""
    return TrackerSettings(**settings.tracker.model_dump())


def _holes_of(step: Analysed | Refusal | Gap) -> list[FrameResult]:
    if isinstance(step, Gap):
        return list(missing_frames(step))
    return [refused_frame(step) if isinstance(step, Refusal) else refused_result(step)]
