"""The one writer of a stream: applies frames in order to the tracker, and commits what they bring.

The live service and ``latticewatch analyze`` both go through here, which is why they agree.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latticewatch.alerting import Alarm, AlertRule, Watch
from latticewatch.alerting.numbers import held
from latticewatch.analysis import Stopwatch
from latticewatch.announce import (
    alert_message,
    alert_messages,
    frame_info,
    frame_messages,
    frame_result,
    refused_result,
    statistics_message,
)
from latticewatch.calibration import Calibration, history
from latticewatch.client.messages import DefectTable, Message, Statistics
from latticewatch.config import Settings
from latticewatch.deliveries import End, Gap, Refusal
from latticewatch.detections import FrameInfo
from latticewatch.reorder import Position
from latticewatch.results import FrameResult, SessionEnd, missing_frames, refused_frame
from latticewatch.schema import Fsync, StoreError
from latticewatch.segmenters import ModelRecord
from latticewatch.session import SESSION_FILE
from latticewatch.standing import Rule, Standing, describe
from latticewatch.steps import Analysed, Outcome, Step
from latticewatch.store import Store
from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch_models.crystal import Crystal

log = logging.getLogger(__name__)

STATISTICS_FILE = "statistics.json"

#: Frames for which the costly estimates (`tracker.statistics.infer`) are published again: they take
#: 10 to 20 ms, and ten frames more change them by a fraction of their intervals. At an end they are
#: made anew.
KEPT_FRAMES = 10


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
            self._dose_told = False
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
        data, position, alert = self._store.statistics(), self.position, self._store.last_alert()
        common: dict[str, Any] = {"stream": self.stream, "epoch": position.epoch or 0}
        messages: list[Message] = []
        if data:
            messages.append(Statistics(**common, frame=position.frame - 1, data=data))
        if alert is not None:
            messages.append(alert_message(Alarm(**alert), common))
        return tuple(messages)

    def record(self, settings: Mapping[str, Any]) -> None:
        """Keep what the frames from the next one on are analysed with; raises StoreError."""
        self._store.record_settings(settings)

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

    def _track(self, step: Step) -> _Applied:
        watch = Stopwatch()
        with watch.stage("track"):
            if isinstance(step, End):
                update = self._tracker.finish()
                end = SessionEnd(step.frame, step.epoch, step.seq, update.closed, update.events)
                return _Applied(step, [], watch.timings_ms, end=end)
            if isinstance(step, Analysed) and step.detections is not None:
                update = self._tracker.apply(frame_info(step.arrival), step.detections)
                result = frame_result(step, step.detections, update)
                messages = frame_messages(step, result.table or DefectTable.empty())
                return _Applied(step, [result], watch.timings_ms, messages)
            return _Applied(step, self._hole(_holes_of(step)), watch.timings_ms)

    def _watched(self, applied: _Applied) -> _Applied:
        """Hold the alert rules against each of a step's frames."""
        watch, tracker = Stopwatch(), self._tracker
        with watch.stage("alert"):
            wanted = self._watch.learnt and applied.has_result
            learnt = tracker.statistics(KEPT_FRAMES) if wanted else None
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

    def _commit(self, pending: list[_Applied]) -> list[Outcome]:
        """Write what was applied in one transaction; the statistics are those after the last."""
        last = pending[-1]
        watch = Stopwatch()
        with watch.stage("commit"):
            results = [result for applied in pending for result in applied.results]
            statistics = self._statistics(last)
            self._store.commit(
                results, self._tracker.save(), statistics, last.end, self._watch.state()
            )
            if last.end is not None:
                self._write_statistics(statistics)
        now = time.time()
        for applied in pending:
            self._say(applied)
        messages = (*last.messages, statistics_message(last.step, statistics))
        timings = {**last.timings_ms, **watch.timings_ms}
        return [
            *(applied.outcome(now) for applied in pending[:-1]),
            replace(last, messages=messages, timings_ms=timings).outcome(now),
        ]

    def _say(self, applied: _Applied) -> None:
        """Log what an operator should know of segmenter and alerts, once, when it is committed."""
        self._say_alerts(applied)
        for result in applied.results:
            if result.model is not None:
                why = f"{result.model.origin} model {result.model.digest[:12]}"
                text = "stream %s: from frame %d on the %s: %s"
                log.info(text, self.stream, result.frame, why, result.model.reason)
            if result.computed is not None:
                text = "stream %s: from frame %d on %s: %s"
                on = result.computed
                log.info(text, self.stream, result.frame, on, on.reason)
        standing = applied.standing
        if standing is None or standing.low == applied.was_low:
            return
        text = describe(standing.estimate, self._calibration.rule.limit)
        if standing.low:
            log.warning(
                "stream %s: %s; see whether specimen, magnification or focus have changed, or "
                "train a segmenter on these frames (serve --self-train)", self.stream, text,
            )  # fmt: skip
        else:
            log.info("stream %s: agreement is back: %s", self.stream, text)

    def _say_alerts(self, applied: _Applied) -> None:
        for alarm in (alarm for result in applied.results for alarm in result.alerts):
            loud = alarm.active and alarm.severity != "info"
            level = logging.WARNING if loud else logging.INFO
            said = f"alert {alarm.rule!r}" + ("" if alarm.active else " is over")
            log.log(
                level, "stream %s: %s: frame %d: %s", self.stream, said, alarm.frame, alarm.text
            )
        unknown = self._watch.unknown() if applied.has_result else []
        if unknown and not self._dose_told:
            self._dose_told = True
            log.warning(
                "stream %s: frames do not tell their dose, so that %s cannot come true: give "
                "dose_e_per_A2 to Publisher.send", self.stream, " and ".join(map(repr, unknown)),
            )  # fmt: skip

    def _statistics(self, last: _Applied) -> dict[str, Any]:
        epoch = last.step.arrival.epoch if isinstance(last.step, Analysed) else last.step.epoch
        # between two checks of the segmenter (every tenth frame), which cost as much again
        due = self._tracker.frame % KEPT_FRAMES == KEPT_FRAMES // 2
        kept = 0 if due or last.end is not None else KEPT_FRAMES
        return {
            "stream": self.stream,
            "epoch": epoch,
            "ended": last.end is not None,
            **(self._tracker.statistics(kept) if last.learnt is None else last.learnt),
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


@dataclass(frozen=True)
class _Applied:
    """A step that the tracker has taken and that is not committed yet."""

    step: Step
    results: list[FrameResult]
    timings_ms: dict[str, float]
    messages: tuple[Message, ...] = ()
    end: SessionEnd | None = None
    standing: Standing | None = None
    was_low: bool = False
    learnt: Mapping[str, Any] | None = None

    @property
    def has_result(self) -> bool:
        """Whether it is an analysed frame that could be used."""
        return isinstance(self.step, Analysed) and self.step.detections is not None

    def outcome(self, committed_s: float) -> Outcome:
        """Give what it came to, once it is committed."""
        model = self.results[-1].model if self.results else None
        return Outcome(self.step, self.messages, self.timings_ms, self.standing, model, committed_s)


def tracker_settings(settings: Settings) -> TrackerSettings:
    """Return the tracker's share of the settings."""
    least = settings.analysis.vacancy_threshold
    return TrackerSettings(**settings.tracker.model_dump(), vacancy_threshold=least)


def _holes_of(step: Analysed | Refusal | Gap) -> list[FrameResult]:
    if isinstance(step, Gap):
        return list(missing_frames(step))
    return [refused_frame(step) if isinstance(step, Refusal) else refused_result(step)]
