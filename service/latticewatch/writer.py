"""The one writer of a stream: applies frames in order to the tracker, and commits what they bring.

The live service and ``latticewatch analyze`` both go through here, which is why they agree.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from latticewatch.alerting import Alarm, AlertRule, Watch
from latticewatch.alerting.numbers import held
from latticewatch.announce import (
    alert_message,
    alert_messages,
    frame_info,
    frame_messages,
    frame_result,
    statistics_message,
)
from latticewatch.applied import Applied, holes_of
from latticewatch.calibration import Calibration, history
from latticewatch.client.messages import DefectTable, Message, Statistics
from latticewatch.config import Settings
from latticewatch.detections import FrameInfo
from latticewatch.operator_log import OperatorLog
from latticewatch.pace import OVERDUE_FRAMES, is_estimated, is_told
from latticewatch.receiving.deliveries import End
from latticewatch.receiving.reorder import Position
from latticewatch.results import FrameResult, SessionEnd
from latticewatch.segmenters import ModelRecord
from latticewatch.standing import Rule, Standing
from latticewatch.steps import Analysed, Outcome, Step
from latticewatch.stopwatch import Stopwatch
from latticewatch.storage.schema import Fsync, StoreError
from latticewatch.storage.session import SESSION_FILE
from latticewatch.storage.store import Store
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
    rule
        When the agreement of segmenter and labels is low.
    alerts
        Rules that every frame is held against.

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
        rule: Rule | None = None,
        alerts: tuple[AlertRule, ...] = (),
    ) -> None:
        self.stream = stream
        self.directory = directory
        self._about = dict(about or {})
        self._store = Store.open(directory / SESSION_FILE, fsync=fsync)
        try:
            state = self._store.state()
            self._tracker = (
                Tracker(settings, crystal)
                if state is None
                else Tracker.restore(state, settings, crystal)
            )
            self._calibration = Calibration.resumed(self._store, rule or Rule())
            self._watch = Watch.resumed(alerts, self._store.alert_state())
            self._log = OperatorLog(stream, self._calibration.rule.limit)
            self._told = self._store.statistics_frame()
            self._catch_up()
        except BaseException:
            self._store.close()
            raise

    @property
    def position(self) -> Position:
        """Where the session stands."""
        return self._store.position()

    @property
    def standing(self) -> Standing:
        """How segmenter and labels agree, by what was processed."""
        return self._calibration.standing

    @property
    def watch(self) -> Watch:
        """Which alert rules hold, by what was processed."""
        return self._watch

    def models(self) -> list[ModelRecord]:
        """Return the records of the models that the session had, in order."""
        return [record for _, record in history(self._store)]

    def latest(self) -> tuple[Message, ...]:
        """Return the last statistics and alert, for subscribers that come before the next frame."""
        data, place, alert = self._store.statistics(), self._store.place(), self._store.last_alert()
        common: dict[str, Any] = {"stream": self.stream, "epoch": place[0] if place else 0}
        messages: list[Message] = []
        if data:
            messages.append(Statistics(**common, frame=self._store.statistics_frame(), data=data))
        if alert is not None:
            messages.append(alert_message(Alarm(**alert), common))
        return tuple(messages)

    def record(self, settings: Mapping[str, Any]) -> None:
        """Keep what the frames from the next one on are analysed with; raises StoreError."""
        self._store.record_settings(settings)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def process(self, steps: Iterable[Step], more: bool = False) -> list[Outcome]:
        """Apply steps in order and commit them; what is returned is on the disk.

        Parameters
        ----------
        steps
            What comes next.
        more
            Whether further steps are in hand: statistics may then wait for a later commit, see
            `pace`.

        Raises
        ------
        StoreError
            The last transaction was not committed. The tracker stands past it, so the writer must
            be made anew.
        """
        outcomes: list[Outcome] = []
        pending: list[Applied] = []
        for step in steps:
            pending.append(self._apply(step))
            if isinstance(step, End):
                outcomes += self._commit(pending, more)
                pending = []
        return outcomes + (self._commit(pending, more) if pending else [])

    def is_due(self, more: bool) -> bool:
        """Whether `estimate` should be called before the next steps are processed."""
        return is_estimated(self._tracker.frame, self._tracker.inferred_at, more)

    def estimate(self) -> None:
        """Make the costly estimates anew, for the statistics of the next frames.

        Between two commits it delays no frame whose turn has not come.
        """
        self._tracker.infer()

    def _apply(self, step: Step) -> Applied:
        before = self._calibration
        if isinstance(step, Analysed):
            self._calibration = before.after(step)
        applied = self._watched(self._track(step))
        if not isinstance(step, Analysed):
            return applied
        now = self._calibration
        check = now.check_row(step.arrival.frame)
        model, computed = now.begun(step.arrival.frame)
        (result,) = applied.results
        return replace(
            applied,
            results=[replace(result, check=check, model=model, computed=computed)],
            standing=None if check is None else now.standing,
            was_low=before.standing.low,
        )

    def _track(self, step: Step) -> Applied:
        watch = Stopwatch()
        with watch.stage("track"):
            if isinstance(step, End):
                update = self._tracker.finish()
                end = SessionEnd(step.frame, step.epoch, step.seq, update.closed, update.events)
                return Applied(step, [], watch.timings_ms, end=end)
            if isinstance(step, Analysed) and step.detections is not None:
                update = self._tracker.apply(frame_info(step.arrival), step.detections)
                result = frame_result(step, step.detections, update)
                messages = frame_messages(step, result.table or DefectTable.empty())
                return Applied(step, [result], watch.timings_ms, messages)
            return Applied(step, self._hole(holes_of(step)), watch.timings_ms)

    def _watched(self, applied: Applied) -> Applied:
        """Hold the alert rules against each of a step's frames."""
        watch, tracker = Stopwatch(), self._tracker
        with watch.stage("alert"):
            wanted = self._watch.learnt and applied.has_result
            learnt = tracker.statistics(OVERDUE_FRAMES) if wanted else None
            facts = (tracker.newest(), self._calibration.standing, learnt)
            self._watch, results = held(self._watch, applied.step, applied.results, *facts)
        alarms = (alarm for result in results for alarm in result.alerts)
        return replace(
            applied,
            results=results,
            messages=(*alert_messages(applied.step, alarms), *applied.messages),
            timings_ms={**applied.timings_ms, **watch.timings_ms},
            learnt=learnt,
        )

    def _hole(self, results: list[FrameResult]) -> list[FrameResult]:
        """Tell the tracker that frames without detections have passed."""
        last = results[-1]
        time_s = self._tracker.time_s if last.time_s is None else last.time_s
        update = self._tracker.apply(FrameInfo(last.frame, time_s, (0, 0)), None)
        return [*results[:-1], replace(last, closed=update.closed, events=update.events)]

    def _commit(self, pending: list[Applied], more: bool) -> list[Outcome]:
        """Write what was applied in one transaction; the statistics are those after the last."""
        last = pending[-1]
        # a session that is resumed reads the facts about its model from its statistics
        switched = any(result.model for applied in pending for result in applied.results)
        more = more and last.end is None and not switched
        told = is_told(self._tracker.frame, self._told, more)
        watch = Stopwatch()
        with watch.stage("commit"):
            results = [result for applied in pending for result in applied.results]
            statistics = self._statistics_after(last) if told else None
            self._store.commit(
                results, self._tracker.save(), statistics, last.end, self._watch.state()
            )
            if last.end is not None and statistics is not None:
                self._write_statistics(statistics)
        now = time.time()
        messages = last.messages
        if statistics is not None:
            self._told = self._tracker.frame
            messages = (*messages, statistics_message(last.step, statistics))
        for applied in pending:
            unknown = self._watch.unknown() if applied.has_result else []
            self._log.say(applied, unknown)
        timings = {**last.timings_ms, **watch.timings_ms}
        return [
            *(applied.outcome(now) for applied in pending[:-1]),
            replace(last, messages=messages, timings_ms=timings).outcome(now),
        ]

    def _catch_up(self) -> None:
        """Do what a process that was killed between two writes has left undone."""
        place = self._store.place()
        if place is None:
            return
        epoch, _, frame, ended = place
        if ended:
            # between the commit of an end and the writing of this file
            self._write_statistics(self._store.statistics())
        elif self._told < frame - 1:
            self._store.tell(self._statistics(epoch, False, None))
            self._told = frame - 1

    def _statistics_after(self, last: Applied) -> dict[str, Any]:
        epoch = last.step.arrival.epoch if isinstance(last.step, Analysed) else last.step.epoch
        return self._statistics(epoch, last.end is not None, last.learnt)

    def _statistics(
        self, epoch: int, ended: bool, learnt: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        kept = 0 if ended else OVERDUE_FRAMES
        return {
            "stream": self.stream,
            "epoch": epoch,
            "ended": ended,
            **(self._tracker.statistics(kept) if learnt is None else learnt),
            **self._about,
            **self._calibration.statistics(),
            "alerts": self._watch.summary(),
        }

    def _write_statistics(self, statistics: Mapping[str, Any]) -> None:
        fresh = self.directory / (STATISTICS_FILE + ".new")
        try:
            fresh.write_text(json.dumps(statistics, indent=1), encoding="utf-8")
            fresh.replace(self.directory / STATISTICS_FILE)
        except OSError as error:
            # the end is committed; this file is written when the session is opened next
            raise StoreError(f"{fresh} cannot be written ({error}): make room") from error


def tracker_settings(settings: Settings) -> TrackerSettings:
    """Return the tracker's share of the settings."""
    least = settings.analysis.vacancy_threshold
    return TrackerSettings(**settings.tracker.model_dump(), vacancy_threshold=least)
